//! `buffer`: what lies in the buffer, read-only.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Shape, print, print_json};
use crate::buffer::inspect::{BatchSums, Inspector, Listed, SetAside};
use crate::buffer::{Figures, Key};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum BufferCommand {
    /// Counts what lies in the buffer.
    Stats(Shaped),
    /// Lists batches, the newest first.
    List(Listing),
    /// Shows one batch whole.
    Show {
        /// Its sequence.
        sequence: u64,
        #[command(flatten)]
        shaped: Shaped,
    },
    /// Lists what was set aside, the newest first; with a number, prints its bytes.
    Quarantine {
        /// The number of one unit.
        id: Option<i64>,
        #[command(flatten)]
        listing: Listing,
    },
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
    let inspector = Inspector::open(&config.buffer.path, &key)?;
    match command {
        BufferCommand::Stats(shaped) => stats(&inspector, Shape::of(shaped.json)),
        BufferCommand::List(listing) => {
            let batches = inspector.list(listing.limit)?;
            show_all(&batches, listing, batch_table)
        }
        BufferCommand::Show { sequence, shaped } => {
            show(&inspector, *sequence, Shape::of(shaped.json))
        }
        BufferCommand::Quarantine { id: None, listing } => {
            show_all(&inspector.set_aside(listing.limit)?, listing, quarantine_table)
        }
        BufferCommand::Quarantine { id: Some(id), .. } => set_aside_bytes(&inspector, *id),
    }
}

/// What `stats` tells.
#[derive(serde::Serialize)]
struct Stats {
    #[serde(flatten)]
    figures: Figures,
    batches: BatchSums,
}

fn stats(inspector: &Inspector, shape: Shape) -> anyhow::Result<ExitCode> {
    let Stats { figures, batches } =
        Stats { figures: inspector.figures()?, batches: inspector.batch_sums()? };
    match shape {
        Shape::Json => print_json(&Stats { figures, batches })?,
        Shape::Text => print(&format!(
            "stream        {}\nmade          {}\nbatches cut   {}\nwaiting       {}\n\
             acknowledged  {}\nheld batches  {} ({} receipts, {} lines, {} cents)\nopen rows     {}\nduplicates    {}\nset aside     {}",
            figures.stream,
            figures.created_at,
            figures.highest_sequence,
            figures.backlog,
            figures.acknowledged,
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

fn quarantine_table(units: &[SetAside]) -> String {
    let mut out = String::from("    id  seen  first                 where and why\n");
    for unit in units {
        let SetAside { id, seen, first_at, source, feed, reason, .. } = unit;
        let (start, end) = (unit.first_offset, unit.end_offset);
        writeln!(out, "{id:>6}  {seen:>4}  {first_at}  {source}/{feed} {start}..{end}: {reason}")
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

fn set_aside_bytes(inspector: &Inspector, id: i64) -> anyhow::Result<ExitCode> {
    let Some(bytes) = inspector.set_aside_bytes(id)? else {
        anyhow::bail!("nothing is set aside under number {id}");
    };
    print(&String::from_utf8_lossy(&bytes))?;
    Ok(ExitCode::SUCCESS)
}
