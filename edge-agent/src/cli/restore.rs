//! `restore`: what the centre has of this store, for a box whose buffer is gone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{Shape, print, print_json};
use crate::config::Config;
use crate::run;

/// Learns from a file of the centre which receipts it has, so that reading the tills' files again
/// counts nothing twice. Before the agent's first start on a new box.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file of the centre.
    file: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let certificate: &Path = config.centre_certificate.as_deref().context(
        "the configuration names no `centre_certificate`; without it nobody knows who wrote the file",
    )?;
    let delivered = crate::restore::read(&args.file, certificate, &config.store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let remembered = runtime.block_on(run::remember(config, delivered))?;
    match Shape::of(args.json) {
        Shape::Json => print_json(&remembered)?,
        Shape::Text => print(&format!(
            "{} receipts of {} tills and series are known as delivered; read again they are dropped",
            remembered.receipts, remembered.series
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
