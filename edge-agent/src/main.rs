//! The program: arguments, run, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser;

fn main() -> anyhow::Result<ExitCode> {
    edge_agent::cli::run(edge_agent::cli::Cli::parse())
}
