//! The command line. No logic.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

mod advice;
mod ask;
pub mod backfill;
mod buffer;
mod check;
pub mod decode;
mod input;
pub mod restore;
mod run;
mod status;

use check::Depth;

/// Where the configuration lies unless it is named.
const CONFIG_FILE: &str = "/etc/frischmarkt/edge.toml";

/// The exit status of a wrong command line or configuration.
const USAGE: u8 = 2;

/// Reads a store's tills, sums up by the minute, buffers, ships.
///
/// Exit status: 0 where all went well, 1 where something failed, 2 where the command line or the
/// configuration is wrong.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = CONFIG_FILE, env = "FRISCHMARKT_EDGE_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent until it is told to stop (SIGTERM, SIGINT).
    Run,
    /// Checks the configuration and what it names, a line each.
    Check {
        /// Connects to every source and says what it sees there.
        #[arg(long)]
        probe: bool,
    },
    Decode(decode::DecodeArgs),
    Backfill(backfill::BackfillArgs),
    Restore(restore::RestoreArgs),
    /// Tells how the agent is.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// As a collector of metrics reads it (Prometheus' text format).
        #[arg(long, conflicts_with = "json")]
        metrics: bool,
    },
    /// Looks into the buffer, beside the running agent or on a stopped one.
    #[command(subcommand)]
    Buffer(buffer::BufferCommand),
}

/// Runs the command that was given.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Decode(args) = cli.command {
        return decode::run(args);
    }
    let config = match Config::load(&cli.config) {
        Ok(config) => config,
        Err(faults) => {
            writeln!(io::stderr().lock(), "{faults}")?;
            return Ok(ExitCode::from(USAGE));
        }
    };
    match cli.command {
        Command::Run => run::run(config),
        Command::Check { probe } => check::run(&config, Depth::of(probe)),
        Command::Backfill(args) => backfill::run(&config, &args),
        Command::Status { metrics: true, .. } => status::metrics(&config),
        Command::Status { json, metrics: false } => status::run(&config, Shape::of(json)),
        Command::Restore(args) => restore::run(&config, &args),
        Command::Buffer(command) => buffer::run(&config, &command),
        Command::Decode(args) => decode::run(args),
    }
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Json,
}

impl Shape {
    fn of(json: impl Into<bool>) -> Self {
        if json.into() { Self::Json } else { Self::Text }
    }
}

/// Prints text; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n')) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints a value as JSON.
fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    Ok(print(&serde_json::to_string_pretty(value)?)?)
}
