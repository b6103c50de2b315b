//! The command line. No logic: each command is a few calls into the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod out;
mod stack;

/// The outside world on demand.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A real broker, a real database, certificates and links in one folder
    #[command(subcommand)]
    Stack(stack::Command),
    /// Serves the links of a stack; started by `stack up`
    #[command(hide = true)]
    LinkServe {
        /// The stack's folder
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Runs a command and returns the program's exit code: 0 done, 1 failed.
pub async fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Stack(command) => stack::run(command).await,
        Command::LinkServe { dir } => crate::stack::serve_links(&dir).await.map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::error(&crate::error::causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
