//! The command line: what can be asked of the program. Each command has its file; none holds logic
//! of its own beyond showing what the service's parts say.

mod check;
mod deadletters;
mod migrate;
mod out;
mod reconcile;
mod run;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shared::ids::StoreId;
use shared::time::BusinessDay;

use crate::config::Config;

/// Consumes, judges and stores every store-minute.
#[derive(Debug, Parser)]
#[command(name = "central", version)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        env = "CENTRAL_CONFIG",
        default_value = "/etc/frischmarkt/central.toml",
        global = true
    )]
    pub config: PathBuf,
    /// Write the log as JSON lines.
    #[arg(long, global = true)]
    pub log_json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the database's schema up to date.
    Migrate,
    /// Look after the topics.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Check the configuration and whether Kafka, Postgres and the lake can be reached.
    Check,
    /// Compare Kafka, Postgres and the lake, closings and receipt numbers.
    ///
    /// Ends with 0 where all is equal; with 1 where the places differ, 3 where kept sums differ from
    /// their rows, 4 where records are not what was judged or the lake is behind, 5 where closings
    /// differ, 6 where receipt numbers are missing or doubled; with 2 where nothing was compared.
    Reconcile(ReconcileArguments),
    /// Run roles until SIGTERM.
    Run {
        /// `all`, or roles with commas between: ingest, lake, reconcile.
        #[arg(long, default_value = "all", value_parser = run::parse_roles)]
        roles: run::Roles,
    },
    /// Look at what was refused.
    #[command(subcommand)]
    Deadletters(DeadlettersCommand),
}

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create topics, settings and rights that are missing; safe to repeat.
    Apply {
        /// Stores whose agents may write.
        #[arg(long = "store", num_args = 1.., value_delimiter = ',')]
        stores: Vec<StoreId>,
    },
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadlettersCommand {
    /// List the newest.
    List {
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
    /// Show one with its bytes.
    Show {
        /// Its number.
        id: i64,
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
}

/// What to compare.
#[derive(Debug, Args)]
pub struct ReconcileArguments {
    /// This business day only.
    #[arg(long)]
    day: Option<BusinessDay>,
    /// This store only.
    #[arg(long)]
    store: Option<StoreId>,
    /// Real seconds that the lake has to catch up with Postgres.
    #[arg(long, default_value_t = 60)]
    wait_seconds: u64,
    /// How to write.
    #[command(flatten)]
    style: Style,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Style {
    /// Write JSON.
    #[arg(long)]
    pub json: bool,
}

/// Does what was asked.
pub async fn run(config: Config, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate => migrate::run(&config).await,
        Command::Topics(TopicsCommand::Apply { stores }) => topics::apply(&config, &stores).await,
        Command::Check => check::run(&config).await,
        Command::Reconcile(arguments) => reconcile::run(&config, arguments).await,
        Command::Run { roles } => run::run(config, roles).await,
        Command::Deadletters(DeadlettersCommand::List { limit, style }) => {
            deadletters::list(&config, limit, style).await
        }
        Command::Deadletters(DeadlettersCommand::Show { id, style }) => {
            deadletters::show(&config, id, style).await
        }
    }
}
