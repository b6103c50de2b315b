//! `fakes fleet ...`: many stores straight to Kafka.

use std::path::PathBuf;

use clap::Args;

use super::{out, store};
use crate::fleet::{Order, run as play};
use crate::store::Pace;

#[derive(Debug, Args)]
pub(super) struct Fleet {
    /// The stack's folder
    #[arg(long)]
    dir: PathBuf,
    /// How many stores: F0001 and on
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    stores: u32,
    /// For how many minutes; those that an earlier fleet of this stack has played are left out
    #[arg(long)]
    minutes: u32,
    /// Batches a second; as fast as the broker takes them where nothing is said
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Receipts a minute and store
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    receipts_per_minute: u32,
    /// The same seed plays the same days
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Send some batches twice
    #[arg(long)]
    duplicates: bool,
    /// Send some batches after the store's next one
    #[arg(long)]
    reordering: bool,
    /// The coming minutes as they pass instead of those before now at once
    #[arg(long)]
    live: bool,
}

pub(super) async fn run(arguments: Fleet) -> Result<(), anyhow::Error> {
    let clock = store::clock(&arguments.dir)?;
    let publisher = super::publisher(&arguments.dir)?;
    let order = Order {
        stores: arguments.stores,
        minutes: arguments.minutes,
        receipts_per_minute: arguments.receipts_per_minute,
        rate: arguments.rate,
        seed: arguments.seed,
        duplicates: arguments.duplicates,
        reordering: arguments.reordering,
        pace: if arguments.live { Pace::Live } else { Pace::AtOnce },
        dir: arguments.dir,
    };
    let issued = play(&order, &clock, (publisher, super::asked_to_stop()?)).await?;
    out::line(&serde_json::to_string(&issued)?)?;
    Ok(())
}
