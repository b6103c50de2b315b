//! The command line. No logic.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod decode;

/// Reads a store's tills, sums up by the minute, buffers, ships.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Decode(decode::DecodeArgs),
}

/// Runs the command that was given.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Decode(args) => decode::run(args),
    }
}
