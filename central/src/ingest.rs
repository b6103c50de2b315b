//! The delivery guarantee. For every record of the topic, in this order:
//!
//! 1. read it from the offset that Postgres holds, never from one that Kafka holds;
//! 2. judge it ([`crate::validate`]);
//! 3. in *one* transaction: move the stored offset from where it was read (or fail as overtaken),
//!    look the ledger up, store verdict, dead letter, ledger and rows; commit;
//! 4. only then tell Kafka how far we are, for the display of lag.
//!
//! Whatever dies between any two of these, the record is read again and found either stored with
//! its offset or not at all. After every failure the stored offsets are read again before anything
//! else, because a commit whose answer was lost may have happened. A partition whose log is not the
//! one that was read before stops with an alarm; it never skips. Nothing here decides what counts.

mod batch;
mod generation;
mod judge;
mod partitions;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shared::backoff::Backoff;
use shared::log::Chain;
use shared::time::BusinessDay;
use shared::topics::Topic;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{self, Config};
use crate::kafka::{Consumer, ConsumerError, Event, Fault, Record};
use crate::status::Status;
use crate::store::progress::LastRecord;
use crate::store::write::{BatchWriter, Changes, Source, Step};
use crate::store::{Connection, Store, StoreError};
use crate::validate::registry::UnknownStores;
use crate::validate::{Limits, Submission, content};

use batch::{Batch, Item};
use judge::{Decision, Memory};
use partitions::{Arrived, Partitions};

/// How long a batch may take until it counts as failed: longer than any healthy one, shorter than
/// the broker's patience with a consumer that does not ask (5 minutes).
const COMMIT_WAIT: Duration = Duration::from_secs(45);
/// How often lag and troubles are told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The first wait after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait after a failure.
const RETRY_MOST: Duration = Duration::from_secs(5);

/// The part of the status that speaks of the consumer.
const KAFKA: &str = "kafka";
/// The part of the status that speaks of the writer.
const POSTGRES: &str = "postgres";

/// Judges and stores until `shutdown`; then finishes the batch under way and leaves the group.
pub(crate) async fn run(
    config: &Config,
    store: Store,
    status: Arc<Status>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ConsumerError> {
    tokio::pin!(shutdown);
    let topic = Topic::StoreMinutes.name(&config.kafka.topic_prefix);
    let found = generation::find(&config.kafka, &topic, &store, &status);
    let generation = tokio::select! {
        () = &mut shutdown => return Ok(()),
        generation = found => generation,
    };
    let consumer = Consumer::subscribe(&config.kafka, "ingest", &topic)?;
    let (watcher, made_anew) = generation::watch(&config.kafka, &topic, &generation);
    let mut ingest = Ingest {
        consumer,
        store,
        status,
        limits: Limits { oldest_business_day: config.judge.oldest_business_day },
        unknown_stores: unknown_stores(config.judge.unknown_stores),
        topic,
        generation,
        partitions: Partitions::default(),
        batch: Batch::default(),
        made_days: BTreeSet::new(),
        outage: None,
        backoff: Backoff::new(RETRY_FIRST, RETRY_MOST, u64::from(std::process::id())),
        made_anew,
        refused: None,
    };
    ingest.consume(&mut shutdown).await;
    ingest.finish().await;
    watcher.abort();
    Ok(())
}

struct Ingest {
    consumer: Consumer,
    store: Store,
    status: Arc<Status>,
    limits: Limits,
    unknown_stores: UnknownStores,
    topic: String,
    generation: String,
    partitions: Partitions,
    batch: Batch,
    /// Days whose partition of `sale` is known to be there; at most one for each day of a horizon.
    made_days: BTreeSet<BusinessDay>,
    /// When to try again; while it is set every partition is paused.
    outage: Option<Instant>,
    backoff: Backoff,
    made_anew: watch::Receiver<Option<String>>,
    /// What the broker refused last; gone with the next assignment or record.
    refused: Option<String>,
}

impl Ingest {
    async fn consume(&mut self, shutdown: &mut (impl Future<Output = ()> + Unpin)) {
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.outage.or_else(|| self.batch.due());
            // During an outage reading goes on: paused partitions yield nothing, and who does not
            // ask is put out of the group.
            let reads = self.outage.is_some() || !self.batch.is_full();
            tokio::select! {
                () = &mut *shutdown => return,
                event = self.consumer.next(), if reads => self.take(event),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = tell.tick() => self.tell(),
                Ok(()) = self.made_anew.changed() => self.stop_all(),
            }
            self.work().await;
        }
    }

    /// Does what is due: returns from an outage, starts partitions, stores the batch.
    async fn work(&mut self) {
        let now = Instant::now();
        if self.outage.is_some_and(|retry_at| now < retry_at) {
            return;
        }
        if (self.outage.is_some() || self.partitions.any_waits())
            && let Err(error) = self.align().await
        {
            return self.fail(&error);
        }
        if self.batch.is_due(now) {
            match self.flush().await {
                Ok(()) => self.backoff.reset(),
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Reads the stored offsets again and starts every partition that does not stand there.
    async fn align(&mut self) -> Result<(), StoreError> {
        let active = self.partitions.active();
        let stored = self.store.positions(&self.generation, &active).await?;
        let moved = self.partitions.align(&stored);
        self.batch.drop_partitions(&moved.keys().copied().collect());
        for (partition, offset) in moved {
            match self.consumer.start_at(partition, offset) {
                Ok(()) => tracing::info!(partition, offset, "reading"),
                Err(error) => self.stop(partition, &Chain(&error).to_string()),
            }
        }
        if self.outage.take().is_some() {
            tracing::info!("Postgres answers again");
            // A database that was restored may lack what was made before.
            self.made_days.clear();
            self.consumer.resume(&active);
        }
        self.status.set_trouble(POSTGRES, None);
        Ok(())
    }

    /// Pauses and waits before the next try; what was read stays.
    fn fail(&mut self, error: &StoreError) {
        let wait = self.backoff.next_wait();
        tracing::warn!(error = %Chain(error), ?wait, "cannot store, trying again");
        self.status.count_store_failure();
        self.status.set_trouble(POSTGRES, Some(Chain(error).to_string()));
        self.outage = Some(Instant::now() + wait);
        self.consumer.pause(&self.partitions.active());
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Assigned(partitions) => {
                tracing::info!(?partitions, "assigned");
                self.refused = None;
                self.partitions.assign(&partitions);
            }
            Event::Revoked(partitions) => self.revoke(&partitions),
            Event::Record(record) => self.take_record(record),
            Event::Fault(fault) => self.take_fault(&fault),
        }
    }

    fn revoke(&mut self, partitions: &[i32]) {
        tracing::info!(?partitions, "revoked");
        self.partitions.revoke(partitions);
        self.batch.drop_partitions(&partitions.iter().copied().collect());
        for &partition in partitions {
            self.status.set_stopped(partition, None);
            self.status.set_lag(partition, None);
        }
    }

    fn take_record(&mut self, record: Record) {
        self.refused = None;
        let submission = Submission {
            key: record.key.as_deref(),
            headers: &record.headers,
            body: record.body.as_deref(),
            appended_at: record.appended_at,
        };
        let content = content(&submission, &self.limits);
        let seen = LastRecord { hash: content.hash, appended_at: record.appended_at };
        match self.partitions.arrive(record.partition, record.offset, seen) {
            Arrived::ToJudge => self.batch.push(Item { record, content }, Instant::now()),
            Arrived::Known => {}
            Arrived::Strange(reason) => self.stop(record.partition, reason),
        }
    }

    fn take_fault(&mut self, fault: &Fault) {
        match fault {
            Fault::OutOfRange { partition, wanted, low, .. } => {
                match self.partitions.forget_expired(*partition, *wanted, *low) {
                    Some(offset) => self.restart(*partition, offset),
                    None => self.stop(*partition, &fault.to_string()),
                }
            }
            Fault::Lost(_) => {
                tracing::error!(%fault, "starting every partition anew");
                self.batch.take();
                self.partitions.wait_all();
                self.outage = Some(Instant::now() + self.backoff.next_wait());
            }
            Fault::Refused(_) => {
                tracing::error!(%fault);
                self.refused = Some(fault.to_string());
            }
        }
    }

    fn restart(&mut self, partition: i32, offset: i64) {
        tracing::info!(partition, offset, "the record before has expired, reading on without it");
        if let Err(error) = self.consumer.start_at(partition, Some(offset)) {
            self.stop(partition, &Chain(&error).to_string());
        }
    }

    /// Stops a partition until a person has looked at it. Nothing is skipped.
    fn stop(&mut self, partition: i32, reason: &str) {
        tracing::error!(partition, reason, topic = %self.topic, "ALARM: partition stopped");
        self.partitions.stop(partition);
        self.batch.drop_partitions(&BTreeSet::from([partition]));
        self.consumer.halt(partition);
        self.status.set_stopped(partition, Some(reason.to_owned()));
    }

    fn stop_all(&mut self) {
        let now = self.made_anew.borrow_and_update().clone().unwrap_or_default();
        let reason = format!("the topic was made anew (id {now}); a restart reads the new one");
        for partition in self.partitions.active() {
            self.stop(partition, &reason);
        }
    }

    /// Tells collectors and the broker how far we are.
    fn tell(&mut self) {
        let trouble = self.refused.clone().or_else(|| self.consumer.trouble());
        self.status.set_trouble(KAFKA, trouble);
        for (partition, next_offset) in self.partitions.take_news() {
            self.consumer.report(partition, next_offset);
        }
        for (partition, next_offset) in self.partitions.next_offsets() {
            let high = self.consumer.high(partition);
            self.status.set_lag(partition, high.map(|high| (high - next_offset).max(0)));
        }
    }

    /// Stores the batch; a record that the database refuses becomes a dead letter, its neighbours count.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let since = self.batch.since().unwrap_or_else(Instant::now);
        let items = self.batch.take();
        let records = items.len();
        let mut parts = VecDeque::from([items]);
        while let Some(part) = parts.pop_front() {
            let Err(error) = self.store_part(&part).await else { continue };
            match divide(part, error) {
                Ok(smaller) => smaller.into_iter().rev().for_each(|part| parts.push_front(part)),
                Err((part, error)) => {
                    parts.push_front(part);
                    self.batch.put_back(parts.into_iter().flatten().collect(), since);
                    return Err(error);
                }
            }
        }
        self.status.note_batch(records, since.elapsed());
        Ok(())
    }

    /// Stores some records in one transaction.
    async fn store_part(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let good = items.iter().filter(|item| item.content.reasons.is_empty());
        let days: BTreeSet<BusinessDay> = good
            .filter_map(|item| item.content.batch.as_ref().map(|batch| batch.business_day))
            .filter(|day| !self.made_days.contains(day))
            .collect();
        self.store.make_days(&days).await?;
        self.made_days.extend(days);
        let steps = self.partitions.steps(items);
        let source = Source { topic: &self.topic, generation: &self.generation };
        let mut connection = self.store.connection().await?;
        let work = write_part(&mut connection, source, items, (&steps, self.unknown_stores));
        let done = tokio::time::timeout(COMMIT_WAIT, work).await;
        match done.unwrap_or(Err(StoreError::Late("commit a batch"))) {
            Ok((decisions, changes)) => {
                decisions
                    .iter()
                    .for_each(|one| self.status.count_record(judge::word(&one.verdict)));
                tell_changes(&changes);
                self.partitions.advance(&steps);
                Ok(())
            }
            Err(error) => {
                connection.discard();
                Err(error)
            }
        }
    }

    /// Stores what is under way once more and leaves; what does not get through is read again.
    async fn finish(mut self) {
        if self.outage.is_none()
            && !self.batch.is_empty()
            && let Err(error) = self.flush().await
        {
            tracing::warn!(error = %Chain(&error), "the last batch is left for the next start");
        }
        self.tell();
    }
}

/// Judges and writes within one transaction, and commits it.
async fn write_part(
    connection: &mut Connection,
    source: Source<'_>,
    items: &[Item],
    (steps, unknown_stores): (&[Step], UnknownStores),
) -> Result<(Vec<Decision>, Changes), StoreError> {
    let writer = BatchWriter::begin(connection, source, steps).await?;
    let stores = writer.known_stores(&judge::stores(items)).await?;
    let places = judge::places(items);
    let known = writer.known(&places).await?;
    let memory = Memory {
        places: places.into_iter().zip(known).collect(),
        stores,
        unknown_stores,
        receipts: writer.known_receipts(&judge::readable(items)).await?,
        movements: writer.known_movements(&judge::movements(items)).await?,
        letters: writer.known_letters(&judge::replays(items)).await?,
    };
    let (decisions, changes) = judge::decide(items, memory);
    let judged: Vec<_> =
        items.iter().zip(&decisions).map(|(item, one)| judge::judged(item, one)).collect();
    writer.write(&judged, &changes).await?;
    writer.commit().await?;
    Ok((decisions, changes))
}

/// Tells people what the judge changed by itself; a breaker that opens is the one alarm for all that
/// goes aside behind it.
fn tell_changes(changes: &Changes) {
    for store in &changes.added {
        tracing::warn!(%store, "a store that nobody has named was added");
    }
    for (store, stream) in &changes.activated {
        tracing::info!(%store, %stream, "the store's first stream is its active one");
    }
    for (store, breaker) in changes.breakers.iter().filter(|(_, one)| one.is_open()) {
        tracing::error!(%store, bad = breaker.bad(), "ALARM: breaker open, the store's records go aside");
    }
}

fn unknown_stores(configured: config::UnknownStores) -> UnknownStores {
    match configured {
        config::UnknownStores::Refuse => UnknownStores::Refuse,
        config::UnknownStores::Add => UnknownStores::Add,
    }
}

/// Halves what the database refused; a single record is refused in its turn, by name of the
/// database. Gives everything back where time, or a person, has to help.
fn divide(
    mut part: Vec<Item>,
    error: StoreError,
) -> Result<Vec<Vec<Item>>, (Vec<Item>, StoreError)> {
    if error.is_transient() {
        return Err((part, error));
    }
    if part.len() > 1 {
        let second = part.split_off(part.len() / 2);
        return Ok(vec![part, second]);
    }
    let says = error.server_words().unwrap_or_else(|| Chain(&error).to_string());
    for item in &mut part {
        let reasons = &mut item.content.reasons;
        if reasons.as_slice().iter().any(|reason| reason.rule == BY_DATABASE) {
            return Err((part, error));
        }
        tracing::error!(says, offset = item.record.offset, "the database refuses a record");
        reasons.add(BY_DATABASE, "/body", &says);
    }
    Ok(vec![part])
}

/// The rule's name where the database itself refused a record that every rule let pass.
const BY_DATABASE: &str = "database";
