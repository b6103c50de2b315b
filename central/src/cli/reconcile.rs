//! `central reconcile`: whether the topic, Postgres and the lake hold the same, and where not.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use shared::log::Chain;

use super::{ReconcileArguments, out};
use crate::config::Config;
use crate::figures::{Figures, Scope};
use crate::reconcile::{Kind, Order, Report, reconcile};

/// Ends with 0 where everything is equal, else with the status of the gravest kind of difference;
/// with 2 where nothing could be compared.
pub(crate) async fn run(
    config: &Config,
    arguments: ReconcileArguments,
) -> anyhow::Result<ExitCode> {
    let order = Order {
        scope: Scope { store: arguments.store, day: arguments.day },
        days: BTreeSet::new(),
        wait: Duration::from_secs(arguments.wait_seconds),
    };
    let report = match reconcile(config, &order).await {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "nothing was compared");
            return Ok(ExitCode::from(2));
        }
    };
    if arguments.style.json {
        out::line(serde_json::to_string(&report)?)?;
    } else {
        write(&report)?;
    }
    Ok(report.gravest().map_or(ExitCode::SUCCESS, |kind| ExitCode::from(status(kind))))
}

fn status(kind: Kind) -> u8 {
    match kind {
        Kind::Places => 1,
        Kind::KeptSums => 3,
        Kind::Records => 4,
        Kind::Closings => 5,
        Kind::ReceiptNumbers => 6,
        Kind::Digests => 7,
    }
}

fn write(report: &Report) -> std::io::Result<()> {
    out::line(row("", Figures::NAMES.map(str::to_owned)))?;
    for (place, figures) in
        [("kafka", &report.kafka), ("postgres", &report.postgres), ("lake", &report.lake)]
    {
        out::line(row(place, figures.values().map(|number| number.to_string())))?;
    }
    out::line(format_args!(
        "{} records judged, {} of them accepted",
        report.records, report.accepted
    ))?;
    if report.days_no_longer_in_kafka > 0 {
        out::line(format_args!(
            "{} days of stores are no longer whole in Kafka: there Postgres and the lake are compared",
            report.days_no_longer_in_kafka
        ))?;
    }
    for fault in &report.faults {
        out::line(fault)?;
    }
    for difference in &report.differences {
        out::line(difference)?;
    }
    for one in &report.article_days {
        let [quantity, amount, lines] = one.kept;
        let [row_quantity, row_amount, row_lines] = one.rows;
        out::line(format_args!(
            "{}: article_day has quantity {quantity} amount {amount} lines {lines}, \
             the rows {row_quantity}, {row_amount}, {row_lines}",
            one.place
        ))?;
    }
    write_tills(report)?;
    out::line(verdict(report))
}

fn write_tills(report: &Report) -> std::io::Result<()> {
    let digests = &report.digests;
    if !digests.is_empty() {
        out::line(format_args!(
            "{} days of tills equal what their agents have counted, {} differ, {} lack batches",
            digests.equal, digests.differing, digests.undecided
        ))?;
    }
    digests.differences.iter().try_for_each(out::line)?;
    let closings = &report.closings.compared;
    if !closings.is_empty() {
        out::line(format_args!(
            "{} closings of tills equal their receipts, {} differ, {} cannot be compared to the cent",
            closings.equal, closings.differing, closings.undecided
        ))?;
    }
    closings.differences.iter().try_for_each(out::line)?;
    report.closings.faults.iter().try_for_each(out::line)?;
    report.receipt_numbers.iter().try_for_each(out::line)
}

fn verdict(report: &Report) -> String {
    if report.equal {
        return "EQUAL".to_owned();
    }
    format!(
        "DIFFERENT: {} days of stores, {} article days, {} other faults, {} days of tills, \
         {} closings, \
         {} runs of receipt numbers",
        report.differing_days,
        report.article_days.len(),
        report.faults.len(),
        report.digests.differing,
        report.found(Kind::Closings),
        report.receipt_numbers.len()
    )
}

fn row(place: &str, cells: [String; 8]) -> String {
    let cells: String = cells.iter().map(|cell| format!("  {cell:>14}")).collect();
    format!("{place:<10}{cells}")
}
