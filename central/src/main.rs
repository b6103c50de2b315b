//! Arguments, configuration, log, the command, the exit status; nothing else.

use std::process::ExitCode;

use anyhow::Context;
use central::cli::{self, Cli};
use central::config::{Config, ConfigError};
use clap::Parser;

// The lake's library catches a panic of its own where an object store fails: a program that aborts
// instead would take all roles down with it.
#[cfg(all(panic = "abort", not(test)))]
compile_error!("central is built with panic = \"unwind\": use `--profile play`");

/// The lake's engine would else start a thread for each file it touches.
const BLOCKING_THREADS_MAX: usize = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    shared::log::start(if cli.log_json {
        shared::log::Format::Json
    } else {
        shared::log::Format::Text
    });
    match start(cli) {
        Ok(code) => code,
        Err(error) if error.is::<ConfigError>() => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(&cli.config)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start the runtime")?
        .block_on(cli::run(config, cli.command))
}
