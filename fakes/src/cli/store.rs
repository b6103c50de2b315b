//! `fakes store ...`: plays one store into its folders.

use std::path::PathBuf;

use chrono_tz::Tz;
use clap::Args;
use shared::ids::StoreId;
use shared::time::Clock;

use super::out;
use crate::error::StackError;
use crate::journal::JournalFaults;
use crate::shop::{Country, Plan};
use crate::stack::Stack;
use crate::stack::spec::StoreSpec;
use crate::store::{Faults, Order, Pace, Way, run as play};
use crate::till::Dialect;

#[derive(Debug, Args)]
pub(super) struct Store {
    /// The stack's folder
    #[arg(long)]
    dir: PathBuf,
    /// The store
    #[arg(long)]
    store: StoreId,
    /// For how many minutes
    #[arg(long)]
    minutes: u32,
    /// The same seed plays the same day
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many tills
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=200))]
    tills: u32,
    /// Receipts a minute, of all tills together
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    receipts_per_minute: u32,
    /// What the tills write: jsonl, poslog, escpos, fiskaltrust, dsfinvk or telegram; as the stack has
    /// it where nothing is said
    #[arg(long)]
    format: Option<String>,
    /// The dialect of poslog: fakes, ncr-acs, wn-tpnet, roqqio, visma, gk or v6
    #[arg(long)]
    dialect: Option<String>,
    /// Print escpos or telegram to a port, a connection a till
    #[arg(long, value_name = "HOST:PORT", group = "way")]
    tcp: Option<String>,
    /// Send escpos or telegram over a serial line that stands under this path until it is stopped
    #[arg(long, value_name = "PATH", group = "way")]
    pty: Option<PathBuf>,
    /// Serve the fiskaltrust journal on this port of the machine until it is stopped
    #[arg(long, value_name = "PORT", group = "way")]
    http: Option<u16>,
    /// Refuse every so many requests to the journal with 429
    #[arg(long, value_name = "N", default_value_t = 0, requires = "http")]
    http_too_many: u64,
    /// Cut every so many answers of the journal in the middle
    #[arg(long, value_name = "N", default_value_t = 0, requires = "http")]
    http_cut: u64,
    /// Be slow with every so many answers of the journal
    #[arg(long, value_name = "N", default_value_t = 0, requires = "http")]
    http_slow: u64,
    /// The store's local clock; as the stack has it where nothing is said
    #[arg(long)]
    zone: Option<Tz>,
    /// Write the minutes before now at once instead of the coming ones as they pass
    #[arg(long)]
    at_once: bool,
    /// Print no receipt a second time
    #[arg(long)]
    no_reprints: bool,
    /// Send no file a second time
    #[arg(long)]
    no_resends: bool,
    /// Let every till be in time
    #[arg(long)]
    no_late_till: bool,
}

pub(super) async fn run(arguments: Store) -> Result<(), anyhow::Error> {
    let clock = clock(&arguments.dir)?;
    let order = arguments.order()?;
    let stop = super::asked_to_stop()?;
    let issued = play(&order, &clock, stop).await?;
    out::line(&serde_json::to_string(&issued)?)?;
    Ok(())
}

/// Returns the stack's clock: simulated where it has one.
pub(super) fn clock(dir: &std::path::Path) -> Result<Clock, StackError> {
    let path = dir.join("clock.json");
    if !path.exists() {
        return Ok(Clock::real());
    }
    Clock::from_file(&path).map_err(StackError::foreign("the stack's clock cannot be read"))
}

impl Store {
    fn order(&self) -> Result<Order, StackError> {
        let known = self.known()?;
        let (format, dialect) = match (&self.format, &known) {
            (None, Some(spec)) => (spec.format.format(), spec.format.dialect()),
            (format, _) => (format.as_deref().unwrap_or("jsonl"), self.dialect.as_deref()),
        };
        let dialect = Dialect::named(format, dialect).ok_or_else(|| {
            StackError::wrong("a format is jsonl, escpos, fiskaltrust, dsfinvk, telegram, or poslog with the dialect fakes, ncr-acs, wn-tpnet, roqqio, visma, gk or v6")
        })?;
        let zone = known.map_or(chrono_tz::Europe::Berlin, |spec| spec.zone);
        let country = match dialect {
            Dialect::NcrAcs => Country::America,
            Dialect::Jsonl
            | Dialect::PoslogFakes
            | Dialect::WnTpnet
            | Dialect::Roqqio
            | Dialect::Visma
            | Dialect::Gk
            | Dialect::V6
            | Dialect::Escpos
            | Dialect::Fiskaltrust
            | Dialect::Dsfinvk
            | Dialect::Telegram => Country::Germany,
        };
        let plan = Plan {
            store: self.store.clone(),
            zone: self.zone.unwrap_or(zone),
            country,
            tills: self.tills,
            receipts_per_thousand_minutes: self.receipts_per_minute * 1000,
            seed: self.seed,
        };
        let faults = Faults {
            reprints: !self.no_reprints,
            resends: !self.no_resends,
            late_till: !self.no_late_till,
        };
        let way = self.way();
        if !way.suits(dialect) {
            return Err(StackError::wrong(
                "a port or a serial line is for escpos and telegram, a journal for fiskaltrust",
            ));
        }
        let pace = if self.at_once { Pace::AtOnce } else { Pace::Live };
        let (dir, minutes) = (self.dir.clone(), self.minutes);
        Ok(Order { dir, plan, minutes, dialect, way, faults, pace })
    }

    fn way(&self) -> Way {
        match (&self.tcp, &self.pty, self.http) {
            (Some(address), _, _) => Way::Port(address.clone()),
            (None, Some(path), _) => Way::Line(path.clone()),
            (None, None, Some(port)) => Way::Journal(
                port,
                JournalFaults {
                    too_many: self.http_too_many,
                    cut: self.http_cut,
                    slow: self.http_slow,
                },
            ),
            (None, None, None) => Way::Files,
        }
    }

    /// Returns what the stack says of the store; a folder need not be a stack's.
    fn known(&self) -> Result<Option<StoreSpec>, StackError> {
        if !self.dir.join("run/stack.json").exists() {
            return Ok(None);
        }
        let stack = Stack::open(&self.dir)?;
        Ok(stack.state().stores.iter().find(|spec| spec.id == self.store).cloned())
    }
}
