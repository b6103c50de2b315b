//! The comparison as a role: again and again, for metrics and the log. It changes nothing, and what it
//! finds stops nothing.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use shared::log::Chain;
use shared::time::{BusinessDay, Clock};

use super::rounds::{Judged, Round, Rounds};
use super::{Kind, Order, Report, reconcile};
use crate::config::Config;
use crate::figures::Scope;
use crate::status::Status;
use crate::store::{Store, StoreError};

/// How long the lake may take to catch up before it counts as behind, real time.
const LAKE_WAIT: Duration = Duration::from_secs(120);

/// Compares until `shutdown`: what changed since the last round, and all of it in the first round, after
/// a difference, and again and again.
pub(crate) async fn run(config: &Config, status: &Status, shutdown: impl Future<Output = ()>) {
    let every = Duration::from_secs(60 * config.reconcile.every_minutes);
    let mut rounds = Rounds::new(config.reconcile.full_every_rounds);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = next(&mut rounds, config, status) => {}
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Lives through one round. One that could not be carried out leaves everything as it was.
async fn next(rounds: &mut Rounds, config: &Config, status: &Status) {
    let round = match changed(rounds.since(), config).await {
        Ok(changed) => Rounds::next(changed),
        Err(error) => return tracing::error!(error = %Chain(&error), "nothing was compared"),
    };
    let days = match &round {
        Round::All => BTreeSet::new(),
        Round::Days(days) => days.clone(),
        Round::Nothing => {
            rounds.note(&round, None);
            status.set_compared_at(Clock::real().now().unix_millis() / 1000);
            return tracing::debug!("nothing changed since the last comparison");
        }
    };
    tracing::debug!(days = days.len(), is_full = round == Round::All, "comparing");
    let order = Order { scope: Scope::default(), days, wait: LAKE_WAIT };
    match reconcile(config, &order).await {
        Ok(report) => {
            tell(status, &report);
            rounds.note(&round, report.equal.then_some(report.judged));
        }
        Err(error) => tracing::error!(error = %Chain(&error), "nothing was compared"),
    }
}

/// Returns the days that got rows since then; nothing where nobody asks or nobody can tell.
async fn changed(
    since: Option<&Judged>,
    config: &Config,
) -> Result<Option<BTreeSet<BusinessDay>>, StoreError> {
    let Some((generation, judged)) = since else { return Ok(None) };
    Store::new(&config.postgres)?.days_since(generation, judged).await
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
