//! `fakes stack ...`: puts the outside world up and down, and disturbs it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use shared::ids::StoreId;
use shared::time::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::out;
use crate::link::control::{LinkName, Order};
use crate::process::Ending;
use crate::stack::spec::StoreSpec;
use crate::stack::state::Purpose;
use crate::stack::{Plan, Raised, Server, Stack, down, up};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Puts a stack up, or what is missing of it
    Up(Up),
    /// Takes a stack down and removes its folder
    Down(Dir),
    /// Adds stores: certificates, rights, configurations, folders
    AddStore {
        #[command(flatten)]
        dir: Dir,
        /// ID[:FORMAT[/DIALECT][:ZONE]], such as 9:poslog/ncr-acs:America/New_York
        #[arg(required = true, value_delimiter = ',')]
        stores: Vec<StoreSpec>,
    },
    /// Starts a server that was stopped
    Start(OneServer),
    /// Stops a server
    Stop(EndServer),
    /// Stops a server and starts it again
    Restart(EndServer),
    /// Cuts, heals, refuses or delays a link
    Link(LinkOrder),
}

#[derive(Debug, Args)]
pub(super) struct Dir {
    /// The stack's folder
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    dir: Dir,
    /// Stay, and take all down on Ctrl-C or SIGTERM
    #[arg(long)]
    foreground: bool,
    /// Stores: ID[:FORMAT[/DIALECT][:ZONE]], such as 9:poslog/ncr-acs:America/New_York,10
    #[arg(long, value_delimiter = ',')]
    stores: Vec<StoreSpec>,
    /// Where simulated time begins
    #[arg(long, requires = "speed", value_name = "RFC3339")]
    sim_start: Option<Timestamp>,
    /// Simulated seconds per real second
    #[arg(long, requires = "sim_start", value_parser = clap::value_parser!(u32).range(1..))]
    speed: Option<u32>,
    /// More rights on topics `test.*`, five stores `t1` to `t5`, no syncing to disk
    #[arg(long)]
    for_tests: bool,
}

#[derive(Debug, Args)]
pub(super) struct OneServer {
    #[command(flatten)]
    dir: Dir,
    server: ServerName,
}

#[derive(Debug, Args)]
pub(super) struct EndServer {
    #[command(flatten)]
    one: OneServer,
    /// By SIGKILL, as a power cut would
    #[arg(long)]
    kill: bool,
}

#[derive(Debug, Args)]
pub(super) struct LinkOrder {
    #[command(flatten)]
    dir: Dir,
    /// edge-kafka, centre-kafka or centre-postgres
    name: LinkName,
    #[command(subcommand)]
    order: OrderWord,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum OrderWord {
    /// Every byte vanishes, as with a pulled cable
    Cut,
    /// Everything is carried at once again
    Heal,
    /// Connections are reset and refused
    Refuse,
    /// Every byte is held back
    Delay {
        /// Milliseconds in each direction
        millis: u64,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ServerName {
    Kafka,
    Postgres,
    /// An S3-compatible object store, which only this starts; it keeps nothing when it stops
    S3,
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(wanted) => run_up(wanted).await,
        Command::Down(Dir { dir }) => take_down(dir).await,
        Command::AddStore { dir: Dir { dir }, stores } => {
            let added = Stack::open(&dir)?.add_stores(&stores).await?;
            Ok(out::line(&added_line(&added))?)
        }
        Command::Start(OneServer { dir: Dir { dir }, server }) => {
            Stack::open(&dir)?.start(server.into()).await?;
            Ok(())
        }
        Command::Stop(wanted) => stop(&wanted).await,
        Command::Restart(wanted) => {
            stop(&wanted).await?;
            Stack::open(&wanted.one.dir.dir)?.start(wanted.one.server.into()).await?;
            Ok(())
        }
        Command::Link(LinkOrder { dir: Dir { dir }, name, order }) => {
            Ok(Stack::open(&dir)?.link(name, order.into()).await?)
        }
    }
}

async fn run_up(wanted: Up) -> anyhow::Result<()> {
    let plan = Plan {
        dir: wanted.dir.dir,
        stores: wanted.stores,
        simulation: wanted.sim_start.zip(wanted.speed),
        purpose: if wanted.for_tests { Purpose::Tests } else { Purpose::Use },
        links_by: Some(std::env::current_exe()?),
    };
    if wanted.foreground { stay_up(&plan).await } else { put_up(&plan).await }
}

async fn put_up(plan: &Plan) -> anyhow::Result<()> {
    Ok(out::line(&up_line(&up(plan).await?))?)
}

/// The signals are asked for before anything starts: a Ctrl-C during the start takes down too.
async fn stay_up(plan: &Plan) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = async {
        put_up(plan).await?;
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => take_down(plan.dir.clone()).await,
        _ = terminate.recv() => take_down(plan.dir.clone()).await,
    }
}

async fn take_down(dir: PathBuf) -> anyhow::Result<()> {
    let said = if down(&dir).await? { "the stack is down and" } else { "there is no stack;" };
    Ok(out::line(&format!("{said} {} is gone", dir.display()))?)
}

async fn stop(wanted: &EndServer) -> anyhow::Result<()> {
    let how = if wanted.kill { Ending::Killed } else { Ending::Asked };
    let server = wanted.one.server.into();
    if !Stack::open(&wanted.one.dir.dir)?.stop(server, how).await? {
        out::line("it was not running")?;
    }
    Ok(())
}

fn up_line(raised: &Raised) -> String {
    let dir = raised.stack.layout().dir().display();
    let started = match raised.started.as_slice() {
        [] => "everything was alive".to_owned(),
        names => format!("started {}", names.join(", ")),
    };
    let mut line = format!("the stack in {dir} is up: {started}");
    if !raised.added.is_empty() {
        line = format!("{line}; {}", added_line(&raised.added));
    }
    format!("{line}; source {}", raised.stack.layout().env().display())
}

fn added_line(added: &[StoreId]) -> String {
    if added.is_empty() {
        return "no store was new".to_owned();
    }
    let names: Vec<&str> = added.iter().map(StoreId::as_str).collect();
    format!("added store {}", names.join(", "))
}

impl From<ServerName> for Server {
    fn from(name: ServerName) -> Self {
        match name {
            ServerName::Kafka => Self::Kafka,
            ServerName::Postgres => Self::Postgres,
            ServerName::S3 => Self::S3,
        }
    }
}

impl From<OrderWord> for Order {
    fn from(word: OrderWord) -> Self {
        match word {
            OrderWord::Cut => Self::Cut,
            OrderWord::Heal => Self::Heal,
            OrderWord::Refuse => Self::Refuse,
            OrderWord::Delay { millis } => Self::Delay(Duration::from_millis(millis)),
        }
    }
}
