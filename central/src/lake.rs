//! The role `lake`: follows the judge's verdicts from the topic into the warehouse. It never judges:
//! a record that has no verdict yet waits, and so does everything behind it in its partition.
//!
//! Its only memory of how far it is are the identifiers in the tables' logs: on assignment it starts
//! each partition at the lowest of them. What was read, but not committed, is read again after a
//! crash; what was committed is dropped by the table. A group of its own keeps it from holding back
//! anyone.

mod disk;
mod held;
mod pending;
mod remote;
pub mod schema;
pub mod storage;
pub mod table;
pub mod totals;
pub mod upkeep;
pub mod writer;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use shared::backoff::Backoff;
use shared::log::Chain;
use shared::topics::Topic;
use shared::wire::record_hash;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::kafka::admin::{Admin, AdminError};
use crate::kafka::{Consumer, ConsumerError, Event, Fault, Record};
use crate::status::Status;
use crate::store::{Store, StoreError};
use pending::{Pending, Waiting};
use storage::{Storage, StorageError};
use table::{Slice, TableError};
use writer::LakeWriter;

/// The first wait after a failure, real time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait between two tries: an outage ends unseen for no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long the last flush may take once the program shall end.
const LAST_FLUSH: Duration = Duration::from_secs(15);

/// Why the lake does not follow, now or at all.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The place cannot hold the tables.
    #[error("the lake's place cannot be used")]
    Storage(#[source] StorageError),
    /// A table did not take its rows.
    #[error("the lake did not take the batches")]
    Table(#[source] TableError),
    /// Postgres did not tell the verdicts.
    #[error("the verdicts cannot be read")]
    Verdicts(#[source] StoreError),
    /// The topic's id cannot be found out.
    #[error("the topic's id cannot be read")]
    Generation(#[source] AdminError),
    /// There is no such topic.
    #[error("there is no topic {0}: run `central topics apply`")]
    NoTopic(String),
    /// The consumer cannot be made or moved.
    #[error("the topic cannot be read")]
    Consumer(#[source] ConsumerError),
}

impl LakeError {
    /// Returns true where the same may succeed later: a store that is away only delays the lake.
    fn is_transient(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_transient(),
            Self::Table(error) => error.is_transient(),
            Self::Verdicts(_) | Self::Generation(_) => true,
            Self::NoTopic(_) | Self::Consumer(_) => false,
        }
    }
}

/// Follows the verdicts until `shutdown`. Fails at once where the place does not honour
/// put-if-absent or cannot be used; every other fault is tried again.
pub async fn run(
    config: &Config,
    store: Store,
    status: Arc<Status>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LakeError> {
    let storage = Storage::of(&config.lake).map_err(LakeError::Storage)?;
    let mut shutdown = pin!(shutdown);
    let opened = tokio::select! {
        () = &mut shutdown => return Ok(()),
        opened = open(config, store, &storage, status) => opened,
    };
    let mut follower = opened?;
    // Compaction is heavy: its task is its own, and ends with this one.
    let mut beside = JoinSet::new();
    beside.spawn(upkeep::run(storage, upkeep::Plan::of(&config.lake)));
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = tokio::time::sleep_until(follower.wake_at) => {
                if !finished(follower.work(), &mut shutdown, LAST_FLUSH).await {
                    return Ok(());
                }
            }
            event = follower.consumer.next() => follower.take(event),
        }
    }
    if tokio::time::timeout(LAST_FLUSH, follower.flush()).await.is_err() {
        tracing::warn!("the last flush of the lake took too long; it is read again at the start");
    }
    Ok(())
}

/// Does a piece of work to its end and returns true; where the program shall end meanwhile, the work
/// has a while left. A store that does not answer must not hold up the end.
async fn finished(
    work: impl Future<Output = ()>,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
    within: Duration,
) -> bool {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = shutdown => {}
        () = &mut work => return true,
    }
    if tokio::time::timeout(within, work).await.is_err() {
        tracing::warn!("the lake's store did not answer in time; nothing of it is lost");
    }
    false
}

async fn open(
    config: &Config,
    store: Store,
    storage: &Storage,
    status: Arc<Status>,
) -> Result<Follower, LakeError> {
    let writer = writer_once_reachable(storage, &status).await?;
    let topic = Topic::StoreMinutes.name(&config.kafka.topic_prefix);
    let generation = generation_once_reachable(config, &topic).await;
    let consumer =
        Consumer::subscribe(&config.kafka, "lake", &topic).map_err(LakeError::Consumer)?;
    let seed = u64::from(std::process::id());
    Ok(Follower {
        consumer,
        store,
        status,
        writer,
        generation,
        flush_every: Duration::from_secs(config.lake.flush_seconds),
        pending: Pending::default(),
        ready: Vec::new(),
        assigned: BTreeSet::new(),
        unstarted: BTreeSet::new(),
        held: false,
        wake_at: Instant::now(),
        backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, seed),
    })
}

async fn generation_once_reachable(config: &Config, topic: &str) -> String {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT, u64::from(std::process::id()));
    loop {
        match generation(config, topic).await {
            Ok(generation) => return generation,
            Err(error) => tracing::warn!(error = %Chain(&error), "the lake waits for the topic"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// What is wrong for good ends the role; a store that is away is told and waited for.
async fn writer_once_reachable(
    storage: &Storage,
    status: &Status,
) -> Result<LakeWriter, LakeError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT, u64::from(std::process::id()));
    loop {
        match proved_writer(storage).await {
            Err(error) if error.is_transient() => {
                tracing::error!(error = %Chain(&error), "the lake waits for its store");
                status.count_lake_failure();
            }
            done => return done,
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

async fn proved_writer(storage: &Storage) -> Result<LakeWriter, LakeError> {
    storage.prove().await.map_err(LakeError::Storage)?;
    LakeWriter::open(storage).await.map_err(LakeError::Table)
}

/// Returns the topic's id, which a topic that is made anew has not.
pub async fn generation(config: &Config, topic: &str) -> Result<String, LakeError> {
    let mut admin = Admin::connect(&config.kafka).await.map_err(LakeError::Generation)?;
    let names = [topic.to_owned()];
    let mut topics = admin.topics(&names).await.map_err(LakeError::Generation)?;
    topics.remove(topic).map(|facts| facts.id).ok_or_else(|| LakeError::NoTopic(topic.to_owned()))
}

/// What the role holds between two steps.
struct Follower {
    consumer: Consumer,
    store: Store,
    status: Arc<Status>,
    writer: LakeWriter,
    generation: String,
    flush_every: Duration,
    pending: Pending,
    /// Judged, and not yet in every table.
    ready: Vec<Slice>,
    assigned: BTreeSet<i32>,
    /// Assigned, and not yet started at the tables' identifiers.
    unstarted: BTreeSet<i32>,
    /// True while no more records are fetched, because enough wait.
    held: bool,
    wake_at: Instant,
    backoff: Backoff,
}

impl Follower {
    fn take(&mut self, event: Event) {
        match event {
            Event::Assigned(partitions) => {
                self.assigned.extend(&partitions);
                self.unstarted.extend(partitions);
                self.wake_at = Instant::now();
            }
            Event::Revoked(partitions) => partitions.into_iter().for_each(|one| self.release(one)),
            Event::Record(record) => self.keep(record),
            Event::Fault(fault @ Fault::OutOfRange { .. }) => self.take_out_of_range(&fault),
            Event::Fault(fault @ Fault::Refused(_)) => {
                tracing::error!(error = %fault, "the lake cannot read the topic");
            }
            Event::Fault(fault @ Fault::Lost(_)) => {
                tracing::error!(error = %fault, "the lake starts every partition anew");
                for partition in self.assigned.clone() {
                    self.drop_records(partition);
                    self.unstarted.insert(partition);
                }
                self.wake_at = Instant::now() + self.backoff.next_wait();
            }
        }
    }

    /// What the broker has deleted may be passed over where nothing of it counts: the verdicts tell,
    /// so the stretch still begins where the tables end, and an accepted record in it stops the
    /// partition. Nothing is passed over before the judge has passed it.
    fn take_out_of_range(&mut self, fault: &Fault) {
        let &Fault::OutOfRange { partition, wanted, low, .. } = fault else { return };
        if wanted >= low {
            return self.stop(partition, fault);
        }
        self.pending.start(partition, Some(wanted));
        if let Err(error) = self.consumer.start_at(partition, Some(low)) {
            return self.stop(partition, &error);
        }
        tracing::warn!(partition, wanted, low, "the lake reads on behind what is gone");
    }

    fn keep(&mut self, record: Record) {
        let ce_id = record.headers.iter().find(|(name, _)| name == "ce_id");
        let ce_id = ce_id.map(|(_, value)| String::from_utf8_lossy(value)).unwrap_or_default();
        let body = record.body.unwrap_or_default();
        let hash = record_hash(&ce_id, &body);
        self.pending.add(record.partition, Waiting { offset: record.offset, hash, body });
        if self.pending.is_full() && !self.held {
            self.hold();
            self.wake_at = self.wake_at.min(Instant::now());
        }
    }

    fn release(&mut self, partition: i32) {
        self.assigned.remove(&partition);
        self.unstarted.remove(&partition);
        self.drop_records(partition);
    }

    fn drop_records(&mut self, partition: i32) {
        self.pending.forget(partition);
        let name = self.name(partition);
        self.ready.retain(|slice| slice.partition != name);
    }

    /// Stops one partition for good: going on would skip records. The others go on.
    fn stop(&mut self, partition: i32, why: &(dyn std::error::Error + 'static)) {
        tracing::error!(partition, error = %Chain(why), "the lake stops this partition");
        self.consumer.halt(partition);
        self.release(partition);
    }

    fn hold(&mut self) {
        self.held = true;
        self.consumer.pause(&self.assigned.iter().copied().collect::<Vec<_>>());
    }

    fn go_on(&mut self) {
        if self.held && !self.pending.is_full() {
            self.held = false;
            self.consumer.resume(&self.assigned.iter().copied().collect::<Vec<_>>());
        }
    }

    /// Starts what waits for a start, and brings into the tables what is judged.
    async fn work(&mut self) {
        let done = match self.start_partitions().await {
            Ok(()) => self.flush().await,
            Err(error) => Err(error),
        };
        let wait = match done {
            Ok(()) => {
                self.backoff.reset();
                self.status.clear_lake_failures();
                self.flush_every
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the lake waits and tries again");
                self.status.count_lake_failure();
                self.read_again_after(&error);
                self.backoff.next_wait()
            }
        };
        self.go_on();
        self.wake_at = Instant::now() + wait;
    }

    async fn start_partitions(&mut self) -> Result<(), LakeError> {
        if self.unstarted.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.unstarted.iter().map(|&one| self.name(one)).collect();
        let positions = self.writer.positions(&names).await.map_err(LakeError::Table)?;
        for partition in self.unstarted.clone() {
            let from = positions.get(&self.name(partition)).copied().flatten();
            self.pending.start(partition, from);
            self.consumer.start_at(partition, from).map_err(LakeError::Consumer)?;
            self.unstarted.remove(&partition);
            tracing::info!(partition, from, "the lake follows");
        }
        // A partition that starts while others are held must be held as well.
        if self.held {
            self.hold();
        }
        Ok(())
    }

    /// The order is the guarantee: verdicts, then every table, then the report that is only a display.
    async fn flush(&mut self) -> Result<(), LakeError> {
        if self.ready.is_empty() {
            self.judge_pending().await?;
        }
        if self.ready.is_empty() {
            return Ok(());
        }
        self.writer.append(&self.ready).await.map_err(LakeError::Table)?;
        for slice in std::mem::take(&mut self.ready) {
            if let Some(partition) = self.number(&slice.partition) {
                self.consumer.report(partition, slice.next);
            }
        }
        Ok(())
    }

    async fn judge_pending(&mut self) -> Result<(), LakeError> {
        let ranges = self.pending.ranges();
        if ranges.is_empty() {
            return Ok(());
        }
        let verdicts =
            self.store.verdicts(&self.generation, &ranges).await.map_err(LakeError::Verdicts)?;
        let (ready, mismatches) = self.pending.take_judged(&self.generation, &verdicts);
        self.ready = ready;
        for (partition, mismatch) in mismatches {
            self.stop(partition, &mismatch);
        }
        Ok(())
    }

    /// A table that ends before a slice begins was put back or emptied: everything is read again from
    /// where the tables are now.
    fn read_again_after(&mut self, error: &LakeError) {
        if let LakeError::Table(error) = error
            && error.is_hole()
        {
            for partition in self.assigned.clone() {
                self.drop_records(partition);
                self.unstarted.insert(partition);
            }
        }
    }

    fn name(&self, partition: i32) -> String {
        format!("{}/{partition}", self.generation)
    }

    fn number(&self, name: &str) -> Option<i32> {
        self.assigned.iter().copied().find(|&partition| self.name(partition) == name)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn work_that_hangs_does_not_hold_up_the_end() {
        let soon = Duration::from_millis(1);
        assert!(!finished(pending(), &mut ready(()), soon).await);
        assert!(finished(ready(()), &mut pending(), soon).await);
    }
}
