//! `fakes verify`: compares what was issued with database and warehouse.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::out;
use crate::error::StackError;
use crate::oracle::{DIFFERENCES_MAX, Places, Report, Totals, verify};
use crate::stack::Stack;
use crate::wait;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The stack's folder
    #[arg(long)]
    dir: PathBuf,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Compare again and again until all is exact, for at most this many seconds
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
    /// Leave a side out
    #[arg(long, value_enum)]
    without: Vec<Left>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Left {
    Postgres,
    Lake,
}

/// Returns 0 where all is exact, 1 where something differs, 2 where it cannot be told.
pub(super) async fn run(arguments: Verify) -> ExitCode {
    match compare(&arguments).await {
        Ok(report) if report.is_exact() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            out::error(&crate::error::causes(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

async fn compare(arguments: &Verify) -> Result<Report, anyhow::Error> {
    let places = places(arguments)?;
    let mut last = verify(&places).await;
    if arguments.wait > 0 {
        let within = Duration::from_secs(arguments.wait);
        let waited = wait::until("all is exact", within, async || {
            last = verify(&places).await;
            match &last {
                Ok(report) if report.is_exact() => Ok(()),
                Ok(report) => Err(format!("{} differences", report.difference_count)),
                Err(error) => Err(error.chain()),
            }
        });
        // What was seen last is what is reported, exact or not.
        drop(waited.await);
    }
    let report = last?;
    let text = if arguments.json { serde_json::to_string(&report)? } else { table(&report) };
    out::line(&text)?;
    Ok(report)
}

fn places(arguments: &Verify) -> Result<Places, StackError> {
    let stack = Stack::open(&arguments.dir)?;
    let with = |side| !arguments.without.contains(&side);
    Ok(Places {
        dir: stack.layout().dir().to_owned(),
        database: with(Left::Postgres).then(|| stack.database()),
        lake: with(Left::Lake).then(|| stack.layout().lake()),
    })
}

/// What is told of the totals, and where it stands in them.
type Figure = (&'static str, fn(&Totals) -> i128);

/// Writes a report for people; the last line is the verdict.
pub(super) fn table(report: &Report) -> String {
    let mut lines = vec![heading(report)];
    let figures: [Figure; 10] = [
        ("receipts", |totals| totals.receipts),
        ("lines", |totals| totals.lines),
        ("quantity (milli)", |totals| totals.quantity_milli),
        ("lines (cents)", |totals| totals.lines_cents),
        ("discounts (cents)", |totals| totals.discount_cents),
        ("tax added (cents)", |totals| totals.tax_added_cents),
        ("adjustments (cents)", |totals| totals.adjustment_cents),
        ("totals (cents)", |totals| totals.total_cents),
        ("stock movements", |totals| totals.movements),
        ("on hand (milli)", |totals| totals.on_hand_milli),
    ];
    for (name, figure) in figures {
        let said = report.totals.iter().map(|(_, totals)| format!("{:>16}", figure(totals)));
        lines.push(format!("{name:<20}{}", said.collect::<String>()));
    }
    for difference in &report.differences {
        lines.push(format!("store {}, {}:", difference.store, difference.place));
        for (side, said) in report.sides.iter().zip(&difference.said) {
            lines.push(format!("    {:<9}{said}", side.name()));
        }
    }
    if report.difference_count > DIFFERENCES_MAX as u64 {
        lines.push(format!("... {} differences in all", report.difference_count));
    }
    if !report.not_compared.is_empty() {
        let stores: Vec<&str> = report.not_compared.iter().map(String::as_str).collect();
        lines
            .push(format!("not compared, since nothing was issued for them: {}", stores.join(" ")));
    }
    if !report.lines_untold.is_empty() {
        let stores: Vec<&str> = report.lines_untold.iter().map(String::as_str).collect();
        lines.push(format!(
            "receipts and totals alone held against the truth, whose lines their tills cannot say: {}",
            stores.join(" ")
        ));
    }
    lines.push(verdict(report));
    lines.join("\n")
}

fn heading(report: &Report) -> String {
    let sides = report.sides.iter().map(|side| format!("{:>16}", side.name()));
    format!("{:<20}{}", "", sides.collect::<String>())
}

fn verdict(report: &Report) -> String {
    let sides: Vec<&str> = report.sides.iter().map(|side| side.name()).collect();
    match report.difference_count {
        0 => format!("EXACT: {}", sides.join(" = ")),
        count => format!("NOT EXACT: {count} differences between {}", sides.join(", ")),
    }
}
