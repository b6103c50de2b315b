//! What the topic holds of the accepted batches: read up to where the lake is, from its first record or
//! from the first one of the days that are meant, with every record held against its verdict. It never
//! judges.

use std::collections::BTreeMap;

use shared::minute::StoreMinute;
use shared::wire::record_hash;

use crate::config::KafkaConfig;
use crate::figures::{FiguresByKey, Grain, Part, Scope, add_batch};
use crate::kafka::Record;
use crate::kafka::scan::{Scan, ScanError};
use crate::store::totals::Cut;
use crate::store::verdicts::{Range, Verdicts};
use crate::store::{Store, StoreError};

/// Records whose verdicts are asked for at once.
const RECORDS_AT_ONCE: usize = 2_000;
/// Faults of single records that are told.
const FAULTS_MAX: usize = 20;

/// Why the topic cannot be summed up.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The topic cannot be read.
    #[error("the topic cannot be read")]
    Scan(#[source] ScanError),
    /// The verdicts cannot be read.
    #[error("the verdicts cannot be read")]
    Verdicts(#[source] StoreError),
}

/// What is to be read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) kafka: &'a KafkaConfig,
    pub(super) topic: &'a str,
    pub(super) generation: &'a str,
    /// Where the records begin that are read, where not all are.
    pub(super) begins: Option<Cut>,
    /// Where they end.
    pub(super) ends: &'a Cut,
    /// Where each part ends, as the lake has it.
    pub(super) cuts: &'a BTreeMap<Part, Cut>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct TopicTotals {
    pub(super) figures: FiguresByKey,
    /// The first offset that each partition still holds.
    pub(super) first: Cut,
    pub(super) records: u64,
    pub(super) accepted: u64,
    /// Records that are not what was judged, the first ones.
    pub(super) faults: Vec<String>,
}

/// Sums up the topic; `scopes` says which stores and days, all where it is empty.
pub(super) async fn read(
    store: &Store,
    reading: &Reading<'_>,
    scopes: &[Scope],
    grain: Grain,
) -> Result<TopicTotals, TopicError> {
    let begins = reading.begins.clone().unwrap_or_default();
    let start = Scan::start(reading.kafka, reading.topic, (&begins, reading.ends)).await;
    let mut scan = start.map_err(TopicError::Scan)?;
    let mut totals = TopicTotals { first: scan.first().clone(), ..TopicTotals::default() };
    let mut next = scan.begins().clone();
    loop {
        let mut records = Vec::new();
        while records.len() < RECORDS_AT_ONCE
            && let Some(record) = scan.next().await.map_err(TopicError::Scan)?
        {
            records.push(record);
        }
        if records.is_empty() {
            tell_unread(reading, &next, &mut totals);
            return Ok(totals);
        }
        let ranges = ranges(&records, &mut next);
        let verdicts = store.verdicts(reading.generation, &ranges).await;
        let verdicts = verdicts.map_err(TopicError::Verdicts)?;
        totals.tell_skipped(&records, &verdicts);
        for record in &records {
            let Some(batch) = totals.check(record, &verdicts) else { continue };
            let counts = |scope: &Scope| scope.holds(batch.store.as_str(), batch.business_day);
            if scopes.is_empty() || scopes.iter().any(counts) {
                add_within_cuts(&mut totals.figures, record, (&batch, reading.cuts, grain));
            }
        }
    }
}

/// Returns what these records span, from where the last ones ended, and moves that on.
fn ranges(records: &[Record], next: &mut Cut) -> Vec<Range> {
    let mut ends = Cut::new();
    for record in records {
        ends.insert(record.partition, record.offset + 1);
    }
    let range = |(partition, to): (i32, i64)| {
        let from = next.insert(partition, to).unwrap_or(0);
        Range { partition, from, to }
    };
    ends.into_iter().map(range).collect()
}

fn add_within_cuts(
    figures: &mut FiguresByKey,
    record: &Record,
    (batch, cuts, grain): (&StoreMinute, &BTreeMap<Part, Cut>, Grain),
) {
    for part in Part::ALL {
        let cut = cuts.get(&part).and_then(|cut| cut.get(&record.partition));
        if cut.is_some_and(|&end| record.offset < end) {
            add_batch(figures, batch, part, grain);
        }
    }
}

/// A partition that ends before what was judged has lost records.
fn tell_unread(reading: &Reading<'_>, next: &Cut, totals: &mut TopicTotals) {
    for (partition, &end) in reading.ends {
        let at = next.get(partition).copied().unwrap_or(0);
        if at < end {
            totals.tell(format!("partition {partition} ends at {at}, judged is up to {end}"));
        }
    }
}

impl TopicTotals {
    /// Returns the batch of an accepted record.
    fn check(&mut self, record: &Record, verdicts: &Verdicts) -> Option<StoreMinute> {
        self.records += 1;
        let place = format!("partition {} offset {}", record.partition, record.offset);
        let Some(verdict) = verdicts.get(&(record.partition, record.offset)) else {
            self.tell(format!("{place} has no verdict"));
            return None;
        };
        if !verdict.accepted {
            return None;
        }
        self.accepted += 1;
        let ce_id = record.headers.iter().find(|(name, _)| name == "ce_id");
        let ce_id = ce_id.map(|(_, value)| String::from_utf8_lossy(value)).unwrap_or_default();
        let body = record.body.as_deref().unwrap_or_default();
        if record_hash(&ce_id, body) != verdict.hash {
            self.tell(format!("{place} is not the record that was judged"));
            return None;
        }
        let batch = serde_json::from_slice(body);
        if let Err(error) = &batch {
            self.tell(format!("{place} was accepted and cannot be read: {error}"));
        }
        batch.ok()
    }

    fn tell_skipped(&mut self, records: &[Record], verdicts: &Verdicts) {
        let read: std::collections::BTreeSet<(i32, i64)> =
            records.iter().map(|record| (record.partition, record.offset)).collect();
        for (partition, offset) in verdicts.keys().filter(|place| !read.contains(place)) {
            self.tell(format!("partition {partition} offset {offset} was judged and is not there"));
        }
    }

    fn tell(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}
