//! `buffer`: what lies in the buffer. Looking is read-only and needs no agent; what changes something
//! is asked of the agent where one runs.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::ask::ask;
use super::{Shape, print, print_json};
use crate::buffer::inspect::{BatchSums, Inspector, Listed, SetAside};
use crate::buffer::{Figures, Key};
use crate::config::Config;
use crate::control::Request;

mod export;
mod redact;

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
        #[arg(long)]
        raw: bool,
    },
    /// Reads one unit again; what is read rightly now counts.
    Retry {
        /// Its number.
        id: i64,
    },
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
        BufferCommand::Quarantine(QuarantineCommand::List(listing)) => {
            show_all(&inspector.set_aside(listing.limit)?, listing, quarantine_table)
        }
        BufferCommand::Quarantine(QuarantineCommand::Show { id, raw }) => {
            set_aside_bytes(config, &inspector, (*id, *raw))
        }
        BufferCommand::Quarantine(QuarantineCommand::Retry { id }) => {
            drop(inspector);
            ask(config, &Request::Retry { id: *id })
        }
        BufferCommand::Verify(shaped) => verify(&inspector, Shape::of(shaped.json)),
        BufferCommand::Export { from, to, shape } => {
            export::export(&inspector, (*from, *to), *shape)
        }
        BufferCommand::Resend { from, to } => {
            drop(inspector);
            let sequence = |number: u64| {
                let found = shared::ids::Sequence::new(number);
                found.ok_or_else(|| anyhow::anyhow!("{number} is no sequence; they begin with 1"))
            };
            ask(config, &Request::Resend { from: sequence(*from)?, to: sequence(*to)? })
        }
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

/// Prints a unit's bytes. Who sees them as they came is noted first, beside the buffer.
fn set_aside_bytes(
    config: &Config,
    inspector: &Inspector,
    (id, raw): (i64, bool),
) -> anyhow::Result<ExitCode> {
    let Some(bytes) = inspector.set_aside_bytes(id)? else {
        anyhow::bail!("nothing is set aside under number {id}");
    };
    if raw {
        note_access(config, id)?;
        std::io::Write::write_all(&mut std::io::stdout().lock(), &bytes)?;
    } else {
        print(&redact::redacted(&bytes))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn note_access(config: &Config, id: i64) -> anyhow::Result<()> {
    let path = config.state_folder.join("audit.jsonl");
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok();
    let entry = serde_json::json!({
        "at": shared::time::Clock::real().now(), "what": "quarantine show --raw", "id": id, "who": who,
    });
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
        std::io::Write::write_all(&mut file, format!("{entry}\n").as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| {
        format!("raw bytes are shown only where the access can be noted in {}", path.display())
    })
}
