//! `buffer`: what lies in the buffer. Looking is read-only and needs no agent; what changes something
//! is asked of the agent where one runs.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::ids::TillId;
use shared::time::Minute;

use super::ask::ask;
use super::{Shape, print, print_json};
use crate::buffer::inspect::{BatchSums, Filter, Inspector, Listed, State};
use crate::buffer::{Figures, Kept, Key};
use crate::config::Config;
use crate::control::Request;

mod aside;
mod export;
mod mend;
mod redact;

#[derive(Debug, Subcommand)]
pub(super) enum BufferCommand {
    /// Counts what lies in the buffer.
    Stats(Shaped),
    /// Lists batches, the newest first.
    List(BatchListing),
    /// Shows one batch whole.
    Show {
        /// Its sequence.
        sequence: u64,
        #[command(flatten)]
        shaped: Shaped,
    },
    /// What was set aside.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Checks every page, reference, sequence and sum; exit status 1 where something is wrong.
    Verify(Shaped),
    /// Prints batches, the oldest first: bodies as JSON Lines, or rows as CSV.
    Export {
        /// The first sequence.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// The last sequence.
        #[arg(long, default_value_t = u64::MAX)]
        to: u64,
        /// How: jsonl or csv.
        #[arg(long, default_value = "jsonl")]
        shape: ExportShape,
    },
    /// Sends batches again that the broker has confirmed, with the same bytes.
    Resend {
        /// The first sequence.
        from: u64,
        /// The last sequence.
        to: u64,
        #[command(flatten)]
        shaped: Shaped,
    },
    /// Copies every row of a damaged buffer that can be read into a new file, names the rest and
    /// keeps the damaged one. No agent may run.
    Repair(Shaped),
    /// Gives the buffer a new key. No agent may run; the configured key is still the old one.
    Rekey {
        /// The file with the new key: 64 hex digits.
        new_key_file: PathBuf,
        #[command(flatten)]
        shaped: Shaped,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// Lists it, the newest first.
    List(Listing),
    /// Prints one unit's bytes, digits of numbers and letters of names hidden unless `--raw`.
    Show {
        /// Its number.
        id: i64,
        /// The bytes as they came: they may name customers and operators.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        shaped: Shaped,
    },
    /// Reads one unit again; what is read rightly now counts.
    Retry {
        /// Its number.
        id: i64,
        #[command(flatten)]
        shaped: Shaped,
    },
    /// Prints all of it as JSON Lines, the oldest first, digits of numbers and letters of names hidden.
    Export,
}

/// Which batches are listed.
#[derive(Debug, Args)]
pub(super) struct BatchListing {
    /// Of one minute, such as 2026-11-23T09:41:00Z.
    #[arg(long)]
    minute: Option<Minute>,
    /// With something of one till.
    #[arg(long)]
    till: Option<TillId>,
    /// Only those that the broker has, or has not yet confirmed.
    #[arg(long)]
    state: Option<BatchState>,
    #[command(flatten)]
    listing: Listing,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum BatchState {
    /// It waits for the broker.
    Waiting,
    /// The broker has it.
    Acknowledged,
}

/// How batches are printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ExportShape {
    /// One body a line.
    Jsonl,
    /// One row of sales a line.
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct Shaped {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// How many at most.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    shaped: Shaped,
}

pub(super) fn run(config: &Config, command: &BufferCommand) -> anyhow::Result<ExitCode> {
    let key = Key::from_file(&config.buffer.key_file)?;
    match command {
        BufferCommand::Repair(shaped) => return mend::repair(config, Shape::of(shaped.json)),
        BufferCommand::Rekey { new_key_file, shaped } => {
            return mend::rekey(config, new_key_file, Shape::of(shaped.json));
        }
        BufferCommand::Stats(_)
        | BufferCommand::List(_)
        | BufferCommand::Show { .. }
        | BufferCommand::Quarantine(_)
        | BufferCommand::Verify(_)
        | BufferCommand::Export { .. }
        | BufferCommand::Resend { .. } => {}
    }
    let inspector = Inspector::open(&config.buffer.path, &key)?;
    match command {
        BufferCommand::Stats(shaped) => stats(&inspector, Shape::of(shaped.json)),
        BufferCommand::List(asked) => {
            let batches = inspector.list_of(&filter(asked))?;
            show_all(&batches, &asked.listing, batch_table)
        }
        BufferCommand::Show { sequence, shaped } => {
            show(&inspector, *sequence, Shape::of(shaped.json))
        }
        BufferCommand::Quarantine(QuarantineCommand::Retry { id, shaped }) => {
            drop(inspector);
            ask(config, &Request::Retry { id: *id }, Shape::of(shaped.json))
        }
        BufferCommand::Quarantine(command) => aside::run(config, &inspector, command),
        BufferCommand::Verify(shaped) => verify(&inspector, Shape::of(shaped.json)),
        BufferCommand::Export { from, to, shape } => {
            export::export(&inspector, (*from, *to), *shape)
        }
        BufferCommand::Resend { from, to, shaped } => {
            drop(inspector);
            let sequence = |number: u64| {
                let found = shared::ids::Sequence::new(number);
                found.ok_or_else(|| anyhow::anyhow!("{number} is no sequence; they begin with 1"))
            };
            let request = Request::Resend { from: sequence(*from)?, to: sequence(*to)? };
            ask(config, &request, Shape::of(shaped.json))
        }
        BufferCommand::Repair(_) | BufferCommand::Rekey { .. } => {
            unreachable!("what mends is done before anything is looked into")
        }
    }
}

fn filter(asked: &BatchListing) -> Filter {
    Filter {
        minute: asked.minute,
        till: asked.till.clone(),
        state: asked.state.map(|state| match state {
            BatchState::Waiting => State::Waiting,
            BatchState::Acknowledged => State::Acknowledged,
        }),
        most: asked.listing.limit,
    }
}

fn verify(inspector: &Inspector, shape: Shape) -> anyhow::Result<ExitCode> {
    let verdict = inspector.verify()?;
    match shape {
        Shape::Json => print_json(&verdict)?,
        Shape::Text => {
            for fault in &verdict.faults {
                print(&format!("fault {fault}"))?;
            }
            let (pages, batches) = (verdict.pages, verdict.batches);
            let word = if verdict.faults.is_empty() { "whole" } else { "NOT whole" };
            print(&format!(
                "{word}: {pages} pages, {batches} batches, {} faults",
                verdict.faults.len()
            ))?;
        }
    }
    Ok(if verdict.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `stats` tells.
#[derive(serde::Serialize)]
struct Stats {
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    kept: Kept,
    batches: BatchSums,
}

fn stats(inspector: &Inspector, shape: Shape) -> anyhow::Result<ExitCode> {
    let stats = Stats {
        figures: inspector.figures()?,
        kept: inspector.kept()?,
        batches: inspector.batch_sums()?,
    };
    let Stats { figures, kept, batches } = &stats;
    match shape {
        Shape::Json => print_json(&stats)?,
        Shape::Text => print(&format!(
            "stream        {}\nmade          {}\nbatches cut   {}\nwaiting       {}\n\
             acknowledged  {}\nheld batches  {} ({} receipts, {} lines, {} cents)\nopen rows     {}\nduplicates    {}\nset aside     {}",
            figures.stream,
            figures.created_at,
            figures.highest_sequence,
            figures.backlog,
            kept.acknowledged,
            batches.count,
            batches.receipts,
            batches.lines,
            batches.total_cents,
            figures.open_rows,
            figures.duplicates,
            figures.quarantined,
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_all<T: serde::Serialize>(
    rows: &[T],
    listing: &Listing,
    table: fn(&[T]) -> String,
) -> anyhow::Result<ExitCode> {
    match Shape::of(listing.shaped.json) {
        Shape::Json => print_json(&rows)?,
        Shape::Text => print(&table(rows))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn batch_table(batches: &[Listed]) -> String {
    let mut out = String::from(
        "sequence  minute                day         kind        receipts  lines        cents    bytes  acknowledged\n",
    );
    for batch in batches {
        let at = batch.acknowledged_at.as_deref().unwrap_or("waits");
        writeln!(
            out,
            "{:>8}  {}  {}  {:<10}  {:>8}  {:>5}  {:>11}  {:>7}  {at}",
            batch.sequence,
            batch.minute,
            batch.business_day,
            batch.kind,
            batch.receipts,
            batch.lines,
            batch.total_cents,
            batch.bytes,
        )
        .expect("a String takes all");
    }
    out
}

fn show(inspector: &Inspector, sequence: u64, shape: Shape) -> anyhow::Result<ExitCode> {
    let Some(shown) = inspector.show(sequence)? else {
        anyhow::bail!("there is no batch {sequence} in the buffer");
    };
    match shape {
        Shape::Json => print_json(&shown)?,
        Shape::Text => {
            print(&batch_table(std::slice::from_ref(&shown.batch)))?;
            for (name, value) in &shown.headers {
                print(&format!("{name}: {value}"))?;
            }
            print(&serde_json::to_string_pretty(&shown.body)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
