//! What the topic holds at the end, and whether that is exactly what the tills rang up.

use std::collections::BTreeMap;
use std::time::Duration;

use fakes::stack::Stack;
use fakes::wait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use shared::minute::StoreMinute;
use shared::time::Timestamp;

use crate::world::{SOON, World, sums};

/// How long the broker may take to tell of its topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record as the topic holds it.
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) body: Vec<u8>,
    /// When the broker appended it, in milliseconds.
    pub(crate) appended: i64,
    /// When the agent cut it, in milliseconds.
    pub(crate) cut: i64,
}

/// What was found at the end.
pub(crate) struct Found {
    /// The batches, each once, the oldest first.
    pub(crate) batches: Vec<StoreMinute>,
    /// Records that repeat one before them.
    pub(crate) repeats: usize,
    /// The longest time between two records.
    pub(crate) longest_gap: Duration,
    /// The longest time from cut to topic.
    pub(crate) longest_wait: Duration,
}

/// Reads all that a topic holds now, as the principal that may.
pub(crate) async fn records(stack: &Stack, topic: &str) -> Vec<Record> {
    let env = stack.env().unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", env.central.ca.display().to_string())
        .set("ssl.certificate.location", env.central.certificate.display().to_string())
        .set("ssl.key.location", env.central.key.display().to_string())
        .set("group.id", format!("{topic}records"))
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let (mut all, mut count) = (TopicPartitionList::new(), 0);
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
        all.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
        count += usize::try_from(high - low).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found = Vec::new();
    wait::until("the topic is read", SOON, async || {
        while found.len() < count {
            let message = consumer.poll(Duration::from_millis(100)).ok_or("nothing comes")?;
            let message = message.map_err(|error| error.to_string())?;
            let body = message.payload().unwrap().to_vec();
            let batch: StoreMinute = serde_json::from_slice(&body).unwrap();
            let appended = message.timestamp().to_millis().unwrap();
            let cut = cut(&message).unwrap_or(appended);
            found.push(Record { sequence: batch.sequence.get(), body, appended, cut });
        }
        Ok::<_, String>(())
    })
    .await
    .unwrap();
    found
}

/// Returns when a record's batch was cut, where the record says so.
fn cut(message: &BorrowedMessage<'_>) -> Option<i64> {
    let mut headers = message.headers()?.iter();
    let time = headers.find(|header| header.key == "ce_time").and_then(|header| header.value)?;
    let time: Timestamp = std::str::from_utf8(time).unwrap().parse().unwrap();
    Some(time.unix_millis())
}

/// Makes sure that the topic holds what the tills rang up, exactly: every batch of the buffer with its
/// bytes, each first copy in order, no batch under a number of another, and this many receipts of this
/// total.
pub(crate) fn exact(world: &World, records: &[Record], truth: (u64, i64)) -> Found {
    let mut first: BTreeMap<u64, &Record> = BTreeMap::new();
    let (mut order, mut repeats) = (Vec::new(), 0);
    for record in records {
        match first.get(&record.sequence) {
            Some(known) => {
                assert_eq!(known.body, record.body, "batch {} has two bodies", record.sequence);
                repeats += 1;
            }
            None => {
                first.insert(record.sequence, record);
                order.push(record.sequence);
            }
        }
    }
    assert!(order.is_sorted(), "the batches came first in another order: {order:?}");
    let bodies = first.values().map(|record| serde_json::from_slice(&record.body).unwrap());
    let batches: Vec<StoreMinute> = bodies.collect();
    assert_eq!(sums(&batches), truth, "receipts and cents in the topic, and those of the tills");
    assert_eq!(batches, world.batches(), "the topic holds what the buffer holds");
    let gap = |pair: &[Record]| pair[1].appended - pair[0].appended;
    let longest_gap = longest(records.windows(2).map(gap));
    let longest_wait = longest(first.values().map(|record| record.appended - record.cut));
    Found { batches, repeats, longest_gap, longest_wait }
}

fn longest(millis: impl Iterator<Item = i64>) -> Duration {
    Duration::from_millis(u64::try_from(millis.max().unwrap_or(0)).unwrap_or(0))
}
