//! Reads a topic from its first record, or from given offsets, to given offsets, once, as a member of no
//! group: whoever follows the topic is not disturbed, and nothing is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{ASK_WAIT, FETCH_AHEAD_KILOBYTES, Record, client_settings, own};
use crate::config::KafkaConfig;

/// How long the broker may yield nothing before the scan is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a topic cannot be read to the end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The settings were refused, or the broker does not answer.
    #[error("cannot read the topic {topic}")]
    Broker {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// The scan was cut off from its thread.
    #[error("cannot ask for the ends of the topic")]
    Asked(#[source] tokio::task::JoinError),
    /// Nothing came for a while, though more was to come.
    #[error("the topic yields nothing more before partition {partition} reaches offset {wanted}")]
    Silent {
        /// The partition.
        partition: i32,
        /// Its end.
        wanted: i64,
    },
}

/// A reader of one topic.
pub struct Scan {
    consumer: Arc<StreamConsumer>,
    topic: String,
    first: BTreeMap<i32, i64>,
    /// Where reading begins.
    begins: BTreeMap<i32, i64>,
    /// Ends that are not reached yet.
    open: BTreeMap<i32, i64>,
}

impl Scan {
    /// Starts to read; `ends` says for each partition the offset after the last wanted record, `begins`
    /// the first wanted one where the partition's first record is not.
    pub async fn start(
        config: &KafkaConfig,
        topic: &str,
        (begins, ends): (&BTreeMap<i32, i64>, &BTreeMap<i32, i64>),
    ) -> Result<Self, ScanError> {
        let fault = |source| ScanError::Broker { topic: topic.to_owned(), source };
        let consumer: StreamConsumer = client_settings(config)
            // The library wants a name; a consumer that is only assigned never joins the group.
            .set("group.id", format!("{}-scan", config.group_prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", FETCH_AHEAD_KILOBYTES)
            .create()
            .map_err(fault)?;
        let consumer = Arc::new(consumer);
        let first = first_offsets(&consumer, topic, ends).await?;
        let from = |(&partition, &low): (&i32, &i64)| {
            (partition, begins.get(&partition).map_or(low, |&begin| begin.max(low)))
        };
        let begins: BTreeMap<i32, i64> = first.iter().map(from).collect();
        let open: BTreeMap<i32, i64> = ends
            .iter()
            .filter(|(one, end)| begins.get(one) < Some(end))
            .map(|(a, b)| (*a, *b))
            .collect();
        let mut list = TopicPartitionList::new();
        for partition in open.keys() {
            let from = Offset::Offset(begins.get(partition).copied().unwrap_or(0));
            list.add_partition_offset(topic, *partition, from).map_err(fault)?;
        }
        consumer.assign(&list).map_err(fault)?;
        Ok(Self { consumer, topic: topic.to_owned(), first, begins, open })
    }

    /// Returns the offset of each partition at which reading begins.
    pub fn begins(&self) -> &BTreeMap<i32, i64> {
        &self.begins
    }

    /// Returns the first offset that each partition still holds.
    pub fn first(&self) -> &BTreeMap<i32, i64> {
        &self.first
    }

    /// Returns the next record before the ends, in the order of its partition, or nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Record>, ScanError> {
        while let Some((&partition, &wanted)) = self.open.first_key_value() {
            let consumer = Arc::clone(&self.consumer);
            let Ok(read) = tokio::time::timeout(SILENCE_MAX, consumer.recv()).await else {
                return Err(ScanError::Silent { partition, wanted });
            };
            match read {
                Ok(message) => {
                    let record = own(&message);
                    if let Some(record) = self.within(record) {
                        return Ok(Some(record));
                    }
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.open.remove(&partition);
                }
                Err(error) if is_final(&error) => {
                    return Err(ScanError::Broker { topic: self.topic.clone(), source: error });
                }
                Err(error) => tracing::debug!(%error, "scan"),
            }
        }
        Ok(None)
    }

    fn within(&mut self, record: Record) -> Option<Record> {
        let end = *self.open.get(&record.partition)?;
        if record.offset + 1 >= end {
            self.open.remove(&record.partition);
        }
        (record.offset < end).then_some(record)
    }
}

/// Everything else is the library's to retry, until the silence is too long.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}

async fn first_offsets(
    consumer: &Arc<StreamConsumer>,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, ScanError> {
    let (consumer, name) = (Arc::clone(consumer), topic.to_owned());
    let partitions: Vec<i32> = ends.keys().copied().collect();
    let asked = tokio::task::spawn_blocking(move || {
        let first = |partition| {
            let (low, _) = consumer.fetch_watermarks(&name, partition, ASK_WAIT)?;
            Ok((partition, low))
        };
        partitions.into_iter().map(first).collect::<Result<_, KafkaError>>()
    });
    let fault = |source| ScanError::Broker { topic: topic.to_owned(), source };
    asked.await.map_err(ScanError::Asked)?.map_err(fault)
}
