//! The command line. No logic: each command is a few calls into the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::topics::Topic;

use crate::broker::rights::PREFIX;
use crate::error::StackError;
use crate::publish::Publisher;
use crate::stack::Stack;

mod demo;
mod fleet;
pub mod out;
mod replay;
mod stack;
mod store;
mod verify;

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
    /// Plays one simulated hour of three stores with everything that goes wrong
    Demo(demo::Demo),
    /// Plays one store: files of its tills and stock documents appear when they are due
    Store(store::Store),
    /// Publishes the ready-made store-minutes of many stores straight to Kafka
    Fleet(fleet::Fleet),
    /// Plays real receipt lines again, to Kafka or as till files of one store
    Replay(replay::Replay),
    /// Compares what was issued with database and warehouse, to the cent
    Verify(verify::Verify),
    /// Serves the links of a stack; started by `stack up`
    #[command(hide = true)]
    LinkServe {
        /// The stack's folder
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Runs a command and returns the program's exit code: 0 done, 1 failed; `verify` has a third, 2.
pub async fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Demo(demo) => return demo::run(demo).await,
        Command::Stack(command) => stack::run(command).await,
        Command::Store(store) => store::run(store).await,
        Command::Fleet(fleet) => fleet::run(fleet).await,
        Command::Replay(replay) => replay::run(replay).await,
        Command::Verify(verify) => return verify::run(verify).await,
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

/// Completes when the program is asked to end, by a key or by a signal.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut asked, mut key) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = asked.recv() => {}
            _ = key.recv() => {}
        }
    })
}

/// Connects to a stack's broker as its fakes, for store-minutes.
fn publisher(dir: &std::path::Path) -> Result<Publisher, StackError> {
    let stack = Stack::open(dir)?;
    let topic = Topic::StoreMinutes.name(PREFIX);
    Publisher::new(&stack.brokers(), &stack.layout().credentials("fakes"), &topic)
}
