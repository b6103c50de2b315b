//! `fakes replay ...`: real receipt lines again.

use std::path::PathBuf;

use clap::Args;
use shared::ids::StoreId;

use super::out;
use crate::replay::{to_folder, to_kafka};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The stack's folder
    #[arg(long)]
    dir: PathBuf,
    /// The file: CSV, perhaps packed with gzip
    #[arg(long, value_name = "FILE")]
    lines: PathBuf,
    /// Only this store, as till files
    #[arg(long, requires = "to")]
    store: Option<StoreId>,
    /// The folder that the till files go to
    #[arg(long, requires = "store", value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(super) async fn run(arguments: Replay) -> Result<(), anyhow::Error> {
    let Replay { dir, lines, store, to } = arguments;
    let issued = match (&store, &to) {
        (Some(store), Some(folder)) => to_folder(&dir, &lines, (store, folder))?,
        (_, _) => to_kafka(&dir, &lines, super::publisher(&dir)?).await?,
    };
    out::line(&serde_json::to_string(&issued)?)?;
    Ok(())
}
