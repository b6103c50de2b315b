//! The comparison as a role: again and again, for metrics and the log. It changes nothing, and what it
//! finds stops nothing.

use std::pin::pin;
use std::time::Duration;

use shared::log::Chain;
use shared::time::Clock;

use super::{Kind, Order, Report, reconcile};
use crate::config::Config;
use crate::figures::Scope;
use crate::status::Status;

/// How long the lake may take to catch up before it counts as behind, real time.
const LAKE_WAIT: Duration = Duration::from_secs(120);

/// Compares until `shutdown`.
pub(crate) async fn run(config: &Config, status: &Status, shutdown: impl Future<Output = ()>) {
    let every = Duration::from_secs(60 * config.reconcile.every_minutes);
    let mut shutdown = pin!(shutdown);
    loop {
        let order = Order { scope: Scope::default(), wait: LAKE_WAIT };
        tokio::select! {
            () = &mut shutdown => return,
            compared = reconcile(config, &order) => match compared {
                Ok(report) => tell(status, &report),
                Err(error) => tracing::error!(error = %Chain(&error), "nothing was compared"),
            },
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

fn tell(status: &Status, report: &Report) {
    for kind in Kind::ALL {
        status.set_differences(kind.name(), report.found(kind));
    }
    status.set_compared_at(Clock::real().now().unix_millis() / 1000);
    if report.equal {
        let batches = report.postgres.batches;
        tracing::info!(batches, records = report.records, "all places hold the same");
        return;
    }
    report.differences.iter().for_each(|one| tracing::error!(difference = %one, "places differ"));
    for one in &report.article_days {
        tracing::error!(place = %one.place, kept = ?one.kept, rows = ?one.rows, "kept sums differ");
    }
    report.faults.iter().for_each(|fault| tracing::error!(%fault, "records differ"));
    for one in &report.closings.differences {
        tracing::error!(difference = %one, "a closing differs");
    }
    for one in &report.receipt_numbers {
        tracing::error!(numbers = %one, "receipt numbers are wrong");
    }
}
