//! The comparison as a role: again and again, for metrics and the log. It changes nothing, and what it
//! finds stops nothing.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use shared::log::Chain;
use shared::time::{BusinessDay, Clock};

use super::{Kind, Order, Report, reconcile};
use crate::config::Config;
use crate::figures::Scope;
use crate::status::Status;
use crate::store::totals::Cut;
use crate::store::{Store, StoreError};

/// How long the lake may take to catch up before it counts as behind, real time.
const LAKE_WAIT: Duration = Duration::from_secs(120);

/// Compares until `shutdown`: what changed since the last round, and all of it in the first round, after
/// a difference, and again and again.
pub(crate) async fn run(config: &Config, status: &Status, shutdown: impl Future<Output = ()>) {
    let every = Duration::from_secs(60 * config.reconcile.every_minutes);
    let mut rounds = Rounds { full_every: config.reconcile.full_every_rounds, last: None };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = rounds.next(config, status) => {}
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// The rounds so far.
struct Rounds {
    /// Each so many-th round compares all days.
    full_every: u64,
    last: Option<Last>,
}

/// The last round that found nothing wrong.
struct Last {
    judged: (String, Cut),
    /// Rounds since all days were compared.
    since_full: u64,
}

impl Rounds {
    async fn next(&mut self, config: &Config, status: &Status) {
        let days = match self.changed(config).await {
            Ok(days) => days,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "nothing was compared");
                return;
            }
        };
        let is_full = days.is_none();
        if days.as_ref().is_some_and(BTreeSet::is_empty) {
            self.note(None);
            status.set_compared_at(Clock::real().now().unix_millis() / 1000);
            tracing::debug!("nothing changed since the last comparison");
            return;
        }
        let days = days.unwrap_or_default();
        tracing::debug!(days = days.len(), is_full, "comparing");
        let order = Order { scope: Scope::default(), days, wait: LAKE_WAIT };
        match reconcile(config, &order).await {
            Ok(report) => {
                tell(status, &report);
                let judged = report.equal.then_some(report.judged);
                match (judged, is_full) {
                    (Some(judged), true) => self.last = Some(Last { judged, since_full: 0 }),
                    (Some(judged), false) => self.note(Some(judged)),
                    // What differs is looked for everywhere, until it is gone.
                    (None, _) => self.last = None,
                }
            }
            Err(error) => tracing::error!(error = %Chain(&error), "nothing was compared"),
        }
    }

    /// Returns the days that got rows since the last round; nothing where all are to be compared.
    async fn changed(&self, config: &Config) -> Result<Option<BTreeSet<BusinessDay>>, StoreError> {
        let Some(last) = self.last.as_ref().filter(|last| last.since_full + 1 < self.full_every)
        else {
            return Ok(None);
        };
        Store::new(&config.postgres)?.days_since(&last.judged.0, &last.judged.1).await
    }

    fn note(&mut self, judged: Option<(String, Cut)>) {
        if let Some(last) = &mut self.last {
            last.since_full += 1;
            last.judged = judged.unwrap_or_else(|| last.judged.clone());
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
    for one in &report.digests.differences {
        tracing::error!(difference = %one, "an agent has counted otherwise");
    }
    for one in &report.closings.compared.differences {
        tracing::error!(difference = %one, "a closing differs");
    }
    for one in &report.closings.faults {
        tracing::error!(fault = %one, "a closing is missing or doubled");
    }
    for one in &report.receipt_numbers {
        tracing::error!(numbers = %one, "receipt numbers are wrong");
    }
}
