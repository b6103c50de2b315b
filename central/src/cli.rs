//! The command line: what can be asked of the program. Each command has its file; none holds logic
//! of its own beyond showing what the service's parts say.

mod check;
mod deadletters;
mod migrate;
mod out;
mod reconcile;
mod run;
mod stores;
mod streams;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shared::ids::{Sequence, StoreId, StreamId};
use shared::time::{BusinessDay, Minute, Timestamp};

use crate::config::Config;
use crate::store::audit::Doer;
use crate::validate::registry::StoreState;

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
    /// Compare Kafka, Postgres and the lake, agents' own counts, closings and receipt numbers.
    ///
    /// Ends with 0 where all is equal; with 1 where the places differ, 3 where kept sums differ from
    /// their rows, 4 where records are not what was judged or the lake is behind, 5 where closings
    /// differ, 6 where receipt numbers are missing or doubled, 7 where agents have counted otherwise;
    /// with 2 where nothing was compared.
    Reconcile(ReconcileArguments),
    /// Run roles until SIGTERM.
    Run {
        /// `all`, or roles with commas between: ingest, lake, reconcile.
        #[arg(long, default_value = "all", value_parser = run::parse_roles)]
        roles: run::Roles,
    },
    /// Say which stores there are and what may count of them.
    #[command(subcommand)]
    Stores(StoresCommand),
    /// Look at what arrived of each stream and what is missing.
    #[command(subcommand)]
    Streams(StreamsCommand),
    /// Look at what was refused, and deal with it.
    #[command(subcommand)]
    Deadletters(DeadlettersCommand),
}

/// What can be done with streams.
#[derive(Debug, Subcommand)]
pub enum StreamsCommand {
    /// List what arrived of each.
    List {
        /// Those of this store only.
        #[arg(long)]
        store: Option<StoreId>,
        /// Those with a gap only.
        #[arg(long)]
        gaps: bool,
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
    /// Show one with its gaps, and since when each is open.
    Show {
        /// The stream.
        stream: StreamId,
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
    /// Wait no longer for missing sequences; should they come, they count all the same.
    GiveUp {
        /// The store.
        store: StoreId,
        /// The stream.
        stream: StreamId,
        /// The first sequence.
        first: Sequence,
        /// The last one; the first if absent.
        last: Option<Sequence>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// Who does it.
        #[command(flatten)]
        by: By,
    },
}

/// What can be done with stores.
#[derive(Debug, Subcommand)]
pub enum StoresCommand {
    /// Add stores.
    Add {
        /// The stores.
        #[arg(required = true)]
        stores: Vec<StoreId>,
        /// The minute before which nothing counts, such as 2026-11-23T09:41:00Z; this one if absent.
        #[arg(long)]
        opened_at: Option<Minute>,
        /// The state from then on: planned, open, paused or closed.
        #[arg(long, default_value = "open")]
        state: StoreState,
        /// Who does it.
        #[command(flatten)]
        who: Who,
    },
    /// List all.
    List {
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
    /// Show one with its states, streams and breaker.
    Show {
        /// The store.
        store: StoreId,
        /// How to write.
        #[command(flatten)]
        style: Style,
    },
    /// Put a store into a state from a minute on.
    SetState {
        /// The store.
        store: StoreId,
        /// planned, open, paused or closed.
        state: StoreState,
        /// The minute, such as 2026-11-23T09:41:00Z; this one if absent.
        #[arg(long)]
        from: Option<Minute>,
        /// Who does it.
        #[command(flatten)]
        who: Who,
    },
    /// Let a store's records count by this stream and by no other.
    ActivateStream {
        /// The store.
        store: StoreId,
        /// The stream.
        stream: StreamId,
        /// Who does it.
        #[command(flatten)]
        who: Who,
    },
    /// Write which receipts of a store are here, signed, for `edge-agent restore` on a new box.
    ExportReceipts {
        /// The store.
        store: StoreId,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        /// The key that signs, ECDSA P-256 in PKCS#8 PEM; agents hold its certificate.
        #[arg(long)]
        key: PathBuf,
        /// Who does it.
        #[command(flatten)]
        who: Who,
    },
    /// Close a store's breaker, once the cause is mended.
    ResetBreaker {
        /// The store.
        store: StoreId,
        /// Who does it.
        #[command(flatten)]
        who: Who,
    },
}

/// Who changes something, and why.
#[derive(Debug, Args)]
pub struct Who {
    /// Who.
    #[command(flatten)]
    pub by: By,
    /// Why, for the audit.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Who changes something.
#[derive(Debug, Args)]
pub struct By {
    /// A name for the audit.
    #[arg(long = "by", env = "USER", default_value = "unknown")]
    pub name: String,
}

impl From<Who> for Doer {
    fn from(who: Who) -> Self {
        Self { name: who.by.name, reason: who.reason }
    }
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
    /// Let a stopped partition read on at the first record that the broker still holds.
    ///
    /// What the broker has deleted unread is passed over and stays missing: see the gaps of the
    /// streams, and let the agents send it again. Restart the role `ingest` afterwards.
    Resume {
        /// The partition.
        partition: i32,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// Who does it.
        #[command(flatten)]
        by: By,
    },
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadlettersCommand {
    /// List the newest.
    List {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// What became of them.
        #[arg(long, value_parser = ["open", "replayed", "discarded"])]
        state: Option<String>,
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
    /// Let open ones be judged again: the same bytes go through the topic, the oldest first.
    Replay {
        /// Their numbers.
        #[arg(conflicts_with_all = ["store", "reason", "since", "all"])]
        ids: Vec<i64>,
        /// Which, where no numbers are given.
        #[command(flatten)]
        which: Which,
        /// Every open one.
        #[arg(long)]
        all: bool,
        /// Seconds to wait for the verdicts.
        #[arg(long, default_value_t = 10)]
        wait_seconds: u64,
        /// Who does it.
        #[command(flatten)]
        by: By,
    },
    /// Close some for good; their sequences are given up.
    Discard {
        /// Their numbers.
        #[arg(required_unless_present = "counted_of")]
        ids: Vec<i64>,
        /// Every open one of this store that holds nothing but what counts already.
        #[arg(long, value_name = "STORE", conflicts_with = "ids")]
        counted_of: Option<StoreId>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// Who does it.
        #[command(flatten)]
        by: By,
    },
    /// Write them as JSON Lines, the oldest first, bytes in base64.
    Export {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// What became of them.
        #[arg(long, value_parser = ["open", "replayed", "discarded"])]
        state: Option<String>,
        /// Who does it.
        #[command(flatten)]
        by: By,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub struct Which {
    /// Those with this store in their key.
    #[arg(long)]
    pub store: Option<StoreId>,
    /// Those that this rule refuses, such as stream_not_active.
    #[arg(long)]
    pub reason: Option<String>,
    /// Those refused since, such as 2026-11-23T09:41:00Z.
    #[arg(long)]
    pub since: Option<Timestamp>,
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
        Command::Topics(command) => topics::run(&config, command).await,
        Command::Check => check::run(&config).await,
        Command::Reconcile(arguments) => reconcile::run(&config, arguments).await,
        Command::Run { roles } => run::run(config, roles).await,
        Command::Stores(command) => stores::run(&config, command).await,
        Command::Streams(command) => streams::run(&config, command).await,
        Command::Deadletters(command) => deadletters::run(&config, command).await,
    }
}
