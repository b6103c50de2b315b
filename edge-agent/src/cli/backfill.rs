//! `backfill`: hands receipts that the live source missed to the agent, under the numbers that the live
//! source would have given them. The agent takes them in beside its work; what it has counted already
//! stays counted once. Only a folder of the agent is written to, never its buffer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use shared::ids::TillId;
use shared::receipt::Receipt;

use super::input::{Heard, Input, refuse_command};
use super::{USAGE, print};
use crate::aggregate::mapping::{Mapping, SeriesRule};
use crate::config::Config;
use crate::format::Item;

/// Hands receipts of another source to the agent, numbered as the counting source numbers them.
///
/// Receipts that the agent has counted are dropped by it, by number and total. Exit status: 0 where
/// all was handed over, 1 where something was refused, 2 where the command is wrong.
#[derive(Debug, Args)]
pub struct BackfillArgs {
    #[command(flatten)]
    input: Input,
    /// A till as the file names it, and as the counting source does: FROM=TO. Once for each till.
    #[arg(long = "till", value_name = "FROM=TO", value_parser = till, required = true)]
    tills: Vec<(TillId, TillId)>,
    /// What the counting source's series is: business-day or as-it-stands.
    #[arg(long, default_value = "business-day")]
    series: SeriesRule,
    /// What is added to a receipt's number.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    number_offset: i64,
    /// Shows what would be handed over, and hands over nothing.
    #[arg(long)]
    dry_run: bool,
}

fn till(text: &str) -> Result<(TillId, TillId), String> {
    let (from, to) = text.split_once('=').ok_or("two tills such as K1=1 are wanted")?;
    let till = |text: &str| TillId::new(text).map_err(|error| error.to_string());
    Ok((till(from)?, till(to)?))
}

/// Runs the command.
pub(super) fn run(config: &Config, args: &BackfillArgs) -> anyhow::Result<ExitCode> {
    let tills = args.tills.iter().cloned().collect();
    let mapping = Mapping { tills, series: args.series, number_offset: args.number_offset };
    let mut found = Found::default();
    let format = match args.input.format() {
        Ok(format) => format,
        Err(error) => {
            refuse_command(&error)?;
            return Ok(ExitCode::from(USAGE));
        }
    };
    let context = crate::run::decoder_context(config);
    args.input.read((&format, context), |heard| {
        found.hear(&mapping, heard);
        Ok(())
    })?;
    for line in found.days() {
        print(&line)?;
    }
    for fault in &found.faults {
        writeln!(std::io::stderr().lock(), "{fault}")?;
    }
    let count = found.receipts.len();
    if args.dry_run {
        print(&format!("{count} receipts; nothing is handed over (--dry-run)"))?;
    } else if count > 0 {
        let path = hand_over(&crate::run::backfill_folder(config), &found.receipts)?;
        print(&format!("{count} receipts handed over in {}", path.display()))?;
    } else {
        print("no receipts to hand over")?;
    }
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a file holds, mapped.
#[derive(Default)]
struct Found {
    receipts: Vec<Receipt>,
    faults: Vec<String>,
}

impl Found {
    fn hear(&mut self, mapping: &Mapping, heard: Heard<'_>) {
        match heard {
            Heard::Item(Item::Receipt(receipt)) if receipt.counts => {
                match mapping.apply(receipt.as_ref().clone()) {
                    Ok(mapped) => self.receipts.push(mapped),
                    Err(fault) => self.faults.push(format!(
                        "receipt {} of till {}: {}",
                        receipt.receipt,
                        receipt.till,
                        shared::log::Chain(&fault)
                    )),
                }
            }
            Heard::Item(
                Item::Receipt(_) | Item::Movement(_) | Item::Closing(_) | Item::Refused(_),
            ) => {}
            Heard::Refused(unit, reason) => {
                self.faults.push(format!("refused bytes {}..{}: {reason}", unit.start, unit.end));
            }
        }
    }

    fn days(&self) -> Vec<String> {
        let mut days: BTreeMap<(String, TillId), (u64, shared::money::Cents)> = BTreeMap::new();
        for receipt in &self.receipts {
            let key = (receipt.business_day.to_string(), receipt.till.clone());
            let sums = days.entry(key).or_default();
            sums.0 += 1;
            sums.1.0 += receipt.total_cents.0;
        }
        let line = |((day, till), (count, cents)): (&(String, TillId), &(u64, _))| {
            format!("{day}  till {till}: {count} receipts, {cents}")
        };
        days.iter().map(line).collect()
    }
}

/// Writes the receipts where the agent finds them, renamed into place when they are on the disk. The
/// same receipts make the same file.
fn hand_over(folder: &Path, receipts: &[Receipt]) -> anyhow::Result<PathBuf> {
    let mut bytes = Vec::new();
    for receipt in receipts {
        serde_json::to_writer(&mut bytes, receipt)?;
        bytes.push(b'\n');
    }
    let name = crate::digest::of(&bytes).iter().take(8).fold(String::new(), |mut name, byte| {
        use std::fmt::Write as _;
        write!(name, "{byte:02x}").expect("writing to a String does not fail");
        name
    });
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (new, path) = (folder.join(format!(".{name}.tmp")), folder.join(format!("{name}.jsonl")));
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(&new)?);
        out.write_all(&bytes)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
