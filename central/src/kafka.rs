//! A consumer of one topic whose positions lie elsewhere: it starts each partition where it is
//! told and commits offsets for the lag display only. It never skips: an offset that the broker
//! does not have is a fault, told with the partition.
//!
//! The callback for a rebalance only notes what was assigned. The caller looks up where to begin
//! and says so by [`Consumer::start_at`]; until then a partition yields nothing.

pub mod admin;
pub mod again;
mod callbacks;
pub mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::{CommitMode, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use shared::time::Timestamp;
use tokio::time::Instant;

use crate::config::KafkaConfig;
use callbacks::{Context, Noted};

/// How long the broker keeps our place in the group after a sudden death.
const SESSION_MS: &str = "10000";
/// Bytes that librdkafka may fetch ahead, in kilobytes: two or three of our largest batches.
const FETCH_AHEAD_KILOBYTES: &str = "16384";
/// How long a member that was put out of its group waits before it joins anew. Two programs of one name
/// put each other out; each has this long to get something done.
const REJOIN_AFTER: Duration = Duration::from_secs(2);
/// How long a question to the broker may take.
const ASK_WAIT: Duration = Duration::from_secs(10);

/// One record as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// When the broker took it.
    pub appended_at: Timestamp,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The headers in order; one without a value has an empty one.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Option<Vec<u8>>,
}

impl Record {
    /// Returns how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        length(&self.key) + length(&self.body) + headers
    }
}

/// Why a consumer cannot go on by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The broker does not have the offset: it was deleted by retention, or the log was cut.
    #[error(
        "partition {partition}: offset {wanted} is not there, the log holds {low} to {high}{}",
        if wanted > high { ": was the topic made anew?" } else { "" }
    )]
    OutOfRange {
        /// The partition.
        partition: i32,
        /// The offset that was asked for.
        wanted: i64,
        /// The first offset there.
        low: i64,
        /// The offset that the next record will have.
        high: i64,
    },
    /// Some offset is not there, and the broker does not answer which.
    #[error("an offset is out of range: {0}")]
    Lost(String),
    /// The broker or librdkafka refuses; which partition is not said.
    #[error("the broker refuses: {0}")]
    Refused(String),
}

/// What a consumer has to tell.
#[derive(Debug)]
pub enum Event {
    /// These partitions are ours now; each waits for [`Consumer::start_at`].
    Assigned(Vec<i32>),
    /// These partitions are no longer ours.
    Revoked(Vec<i32>),
    /// A record.
    Record(Record),
    /// Something that does not heal by itself.
    Fault(Fault),
}

/// Why a consumer could not be made or moved.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The settings were refused.
    #[error("cannot make a consumer of {topic}")]
    Create {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// A partition could not be started.
    #[error("cannot start partition {partition}")]
    Start {
        /// The partition.
        partition: i32,
        /// The cause.
        #[source]
        source: KafkaError,
    },
}

/// A member of the consumer group `<group_prefix>-<role>`.
pub struct Consumer {
    inner: Arc<StreamConsumer<Context>>,
    settings: ClientConfig,
    topic: String,
    /// Partitions that were told as assigned.
    assigned: BTreeSet<i32>,
    /// When to join the group anew, after something that librdkafka does not return from.
    rejoin_at: Option<Instant>,
    /// A record that was read after a rebalance that has not been told yet.
    held_back: Option<Record>,
    /// Next offset to be read of each started partition.
    positions: BTreeMap<i32, i64>,
    /// An offset was out of range; which one must be asked.
    out_of_range: bool,
}

impl Consumer {
    /// Makes a consumer and joins its group. Connecting goes on in the background.
    pub fn subscribe(config: &KafkaConfig, role: &str, topic: &str) -> Result<Self, ConsumerError> {
        let settings = settings(config, role);
        let inner = join(&settings, topic, Noted::default())
            .map_err(|source| ConsumerError::Create { topic: topic.to_owned(), source })?;
        Ok(Self {
            inner,
            settings,
            topic: topic.to_owned(),
            assigned: BTreeSet::new(),
            rejoin_at: None,
            held_back: None,
            positions: BTreeMap::new(),
            out_of_range: false,
        })
    }

    /// Waits for the next event. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.take_noted() {
                return event;
            }
            if let Some(at) = self.rejoin_at {
                tokio::time::sleep_until(at).await;
                self.rejoin();
                continue;
            }
            if self.noted().is_stranded {
                self.give_up("every broker's address is lost".to_owned());
                continue;
            }
            if self.out_of_range {
                // The flag falls after the answer, so that a cancelled question is asked again.
                let fault = self.find_out_of_range().await;
                self.out_of_range = false;
                return Event::Fault(fault);
            }
            if let Some(record) = self.held_back.take() {
                return Event::Record(record);
            }
            let inner = Arc::clone(&self.inner);
            tokio::select! {
                biased;
                read = inner.recv() => {
                    let read = read.map(|message| own(&message));
                    if let Some(event) = self.note_read(read) {
                        return event;
                    }
                }
                () = inner.client().context().changed.notified() => {}
            }
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.inner.client().context().noted()
    }

    fn take_noted(&mut self) -> Option<Event> {
        let event = self.noted().events.pop_front()?;
        match &event {
            Event::Assigned(partitions) => self.assigned.extend(partitions),
            Event::Revoked(partitions) => {
                let gone = |partition: i32| partitions.contains(&partition);
                self.held_back.take_if(|record| gone(record.partition));
                self.positions.retain(|&partition, _| !gone(partition));
                self.assigned.retain(|&partition| !gone(partition));
            }
            Event::Record(_) | Event::Fault(_) => {}
        }
        Some(event)
    }

    /// Gives up a member that will never read again; a new one joins a little later.
    fn give_up(&mut self, reason: String) {
        tracing::error!(reason, topic = self.topic, "the consumer joins its group anew");
        self.noted().give_up(reason);
        self.rejoin_at = Some(Instant::now() + REJOIN_AFTER);
    }

    /// Joins the group anew; whatever was assigned is told as revoked, as by any rebalance.
    fn rejoin(&mut self) {
        let mut noted = Noted { last_error: self.noted().last_error.clone(), ..Noted::default() };
        if !self.assigned.is_empty() {
            noted.events.push_back(Event::Revoked(self.assigned.iter().copied().collect()));
        }
        match join(&self.settings, &self.topic, noted) {
            Ok(inner) => {
                let gone = std::mem::replace(&mut self.inner, inner);
                // It closes in its own time, and holds up neither this task nor the program's end.
                std::thread::spawn(move || drop(gone));
                self.out_of_range = false;
                self.rejoin_at = None;
            }
            Err(error) => {
                tracing::error!(%error, topic = self.topic, "cannot join the group anew");
                self.rejoin_at = Some(Instant::now() + REJOIN_AFTER);
            }
        }
    }

    /// Keeps what was read, or tells of it at once where it is a refusal.
    fn note_read(&mut self, read: Result<Record, KafkaError>) -> Option<Event> {
        let error = match read {
            Ok(record) => {
                self.positions.insert(record.partition, record.offset + 1);
                self.held_back = Some(record);
                return None;
            }
            Err(error) => error,
        };
        if let Some((_, reason)) = self.inner.client().fatal_error() {
            self.give_up(format!("put out of the group, is kafka.instance unique? {reason}"));
            return None;
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.out_of_range = true;
                None
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => Some(Event::Fault(Fault::Refused(error.to_string()))),
            _ => {
                // Everything else is librdkafka's to retry; it says so more often than is of use.
                tracing::debug!(%error, "consumer");
                self.noted().last_error = Some(error.to_string());
                None
            }
        }
    }

    /// Asks the broker which partition's position it no longer has.
    async fn find_out_of_range(&self) -> Fault {
        let (inner, topic) = (Arc::clone(&self.inner), self.topic.clone());
        let positions = self.positions.clone();
        let asked = tokio::task::spawn_blocking(move || {
            for (partition, wanted) in positions {
                let (low, high) = inner.fetch_watermarks(&topic, partition, ASK_WAIT)?;
                if !(low..=high).contains(&wanted) {
                    return Ok(Some(Fault::OutOfRange { partition, wanted, low, high }));
                }
            }
            Ok::<_, KafkaError>(None)
        });
        match asked.await {
            Ok(Ok(Some(fault))) => fault,
            Ok(Ok(None)) => Fault::Lost("every position is in range again".to_owned()),
            Ok(Err(error)) => Fault::Lost(error.to_string()),
            Err(error) => Fault::Lost(error.to_string()),
        }
    }

    /// Starts (or starts anew) an assigned partition at an offset, or at the beginning. A member that was
    /// put out of its group starts nothing; [`Consumer::next`] tells what it has lost.
    pub fn start_at(&mut self, partition: i32, offset: Option<i64>) -> Result<(), ConsumerError> {
        if self.inner.client().fatal_error().is_some() {
            return Ok(());
        }
        let fault = |source| ConsumerError::Start { partition, source };
        self.stop(partition).map_err(fault)?;
        let mut list = TopicPartitionList::new();
        let from = offset.map_or(Offset::Beginning, Offset::Offset);
        list.add_partition_offset(&self.topic, partition, from).map_err(fault)?;
        self.inner.incremental_assign(&list).map_err(fault)?;
        self.noted().started.insert(partition);
        if let Some(offset) = offset {
            self.positions.insert(partition, offset);
        }
        Ok(())
    }

    fn stop(&mut self, partition: i32) -> Result<(), KafkaError> {
        self.held_back.take_if(|record| record.partition == partition);
        self.positions.remove(&partition);
        if !self.noted().started.remove(&partition) {
            return Ok(());
        }
        self.inner.incremental_unassign(&self.list(&[partition]))
    }

    /// Stops reading a partition that stays assigned.
    pub fn halt(&mut self, partition: i32) {
        if let Err(error) = self.stop(partition) {
            tracing::warn!(partition, %error, "cannot halt a partition");
        }
    }

    /// Stops fetching; [`Consumer::next`] must still be called, to stay in the group.
    pub fn pause(&self, partitions: &[i32]) {
        if let Err(error) = self.inner.pause(&self.started(partitions)) {
            tracing::warn!(%error, "cannot pause");
        }
    }

    /// Fetches again.
    pub fn resume(&self, partitions: &[i32]) {
        if let Err(error) = self.inner.resume(&self.started(partitions)) {
            tracing::warn!(%error, "cannot resume");
        }
    }

    /// Tells the broker how far a partition is, for the display of lag only. Says nothing of one that
    /// is no longer ours: a broker puts a named member that does so out of its group for good.
    pub fn report(&self, partition: i32, next_offset: i64) {
        if self.inner.assignment_lost() || !self.noted().started.contains(&partition) {
            return;
        }
        let mut list = TopicPartitionList::new();
        let told = list
            .add_partition_offset(&self.topic, partition, Offset::Offset(next_offset))
            .and_then(|()| self.inner.commit(&list, CommitMode::Async));
        if let Err(error) = told {
            tracing::debug!(partition, %error, "cannot report an offset");
        }
    }

    /// Returns the end of a partition as last seen.
    pub fn high(&self, partition: i32) -> Option<i64> {
        self.noted().high.get(&partition).copied()
    }

    /// Returns what is wrong with the connection, or nothing while a broker is up.
    pub fn trouble(&self) -> Option<String> {
        let noted = self.noted();
        if noted.brokers_up > 0 {
            return None;
        }
        Some(noted.last_error.clone().unwrap_or_else(|| "no broker is connected yet".to_owned()))
    }

    fn started(&self, partitions: &[i32]) -> TopicPartitionList {
        let noted = self.noted();
        let started: Vec<i32> =
            partitions.iter().copied().filter(|one| noted.started.contains(one)).collect();
        self.list(&started)
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

/// Makes a member of the group that reads a topic; `noted` is what it has to tell before all else.
fn join(
    settings: &ClientConfig,
    topic: &str,
    noted: Noted,
) -> Result<Arc<StreamConsumer<Context>>, KafkaError> {
    let inner: StreamConsumer<Context> = settings.create_with_context(Context::of(noted))?;
    inner.subscribe(&[topic])?;
    Ok(Arc::new(inner))
}

/// Copies a message out of librdkafka's memory.
fn own(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let one = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
        };
        headers.iter().map(one).collect()
    });
    let millis = message.timestamp().to_millis().unwrap_or_default();
    Record {
        partition: message.partition(),
        offset: message.offset(),
        appended_at: Timestamp::from_unix_millis(millis).unwrap_or_else(epoch),
        key: message.key().map(<[u8]>::to_vec),
        headers,
        body: message.payload().map(<[u8]>::to_vec),
    }
}

fn epoch() -> Timestamp {
    Timestamp::from_unix_millis(0).expect("1970 is a time")
}

fn settings(config: &KafkaConfig, role: &str) -> ClientConfig {
    let mut settings = client_settings(config);
    settings
        .set("group.id", format!("{}-{role}", config.group_prefix))
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION_MS)
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("queued.max.messages.kbytes", FETCH_AHEAD_KILOBYTES)
        .set("statistics.interval.ms", "2000");
    if let Some(instance) = &config.instance {
        settings.set("group.instance.id", format!("{instance}-{role}"));
    }
    settings
}

/// Returns how the broker is reached: mutual TLS, quick to return after an outage.
fn client_settings(config: &KafkaConfig) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "central")
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", config.ca.display().to_string())
        .set("ssl.certificate.location", config.certificate.display().to_string())
        .set("ssl.key.location", config.key.display().to_string())
        .set("reconnect.backoff.max.ms", "1000")
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.refresh.interval.ms", "10000");
    settings
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientContext as _;
    use rdkafka::statistics::{Broker, Statistics};

    use super::*;

    /// Returns what librdkafka tells where it knows brokers of this kind.
    fn told(source: &str) -> Statistics {
        let broker = Broker { source: source.to_owned(), ..Broker::default() };
        Statistics { brokers: [("one".to_owned(), broker)].into(), ..Statistics::default() }
    }

    #[tokio::test]
    async fn a_member_that_has_lost_every_address_joins_anew_and_tells_what_it_left() {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "g");
        let inner = join(&settings, "t", Noted::default()).unwrap();
        let first = Arc::downgrade(&inner);
        let mut member = Consumer {
            inner,
            settings,
            topic: "t".to_owned(),
            assigned: BTreeSet::from([0, 2]),
            rejoin_at: None,
            held_back: None,
            positions: BTreeMap::from([(0, 7)]),
            out_of_range: false,
        };
        for source in ["configured", "learned"] {
            member.inner.client().context().stats(told(source));
            assert!(tokio::time::timeout(Duration::from_millis(50), member.next()).await.is_err());
        }
        member.inner.client().context().stats(told("logical"));
        let Event::Revoked(left) = member.next().await else { panic!("it tells what it left") };
        assert_eq!(left, [0, 2]);
        assert!(!first.upgrade().is_some_and(|first| Arc::ptr_eq(&first, &member.inner)));
        let trouble = member.trouble().unwrap();
        assert!(trouble.contains("every broker's address is lost"), "{trouble}");
    }
}
