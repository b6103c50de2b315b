//! `fakes demo`: one simulated hour with everything that goes wrong.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::out;
use crate::demo::{Options, run as play};

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder of its stack; what another demo left there is removed
    #[arg(long)]
    dir: PathBuf,
    /// The folder with edge-agent, central and fakes
    #[arg(long)]
    programs: PathBuf,
    /// Simulated minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=1440))]
    minutes: u32,
}

/// Returns 0 where everything arrived to the cent, 1 where it did not or the demo failed.
pub(super) async fn run(arguments: Demo) -> ExitCode {
    let Demo { dir, programs, minutes } = arguments;
    match play(&Options { dir, programs, minutes }).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            out::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
