//! The program `fakes`: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    fakes::cli::run(fakes::cli::Arguments::parse()).await
}
