//! Sends a record again: the very bytes of a dead letter, with one header behind all others that
//! names it. It speaks as the administrator: the service itself may not write what it judges.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared::topics::Topic;
use shared::wire::REPLAY_HEADER;

use super::client_settings;
use crate::config::KafkaConfig;

/// How long the broker may take to take a record.
const SEND_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a record before compression: the broker, not the library, refuses what is too large.
const RECORD_BYTES_MAX: &str = "8388608";

/// Why a record was not sent again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The configuration names no administrator.
    #[error("kafka.admin_certificate and kafka.admin_key are needed to send a record again")]
    NoAdministrator,
    /// The settings were refused.
    #[error("cannot prepare to send")]
    Create(#[source] KafkaError),
    /// The broker did not take it.
    #[error("the broker did not take dead letter {letter}")]
    Refused {
        /// The letter.
        letter: i64,
        /// The cause.
        #[source]
        source: KafkaError,
    },
}

/// A record to be sent again.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// The dead letter.
    pub letter: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The headers in order.
    pub headers: &'a [(String, Vec<u8>)],
    /// The body's bytes.
    pub body: Option<&'a [u8]>,
    /// Where it lay; a record without a key has no other way to its place.
    pub partition: i32,
}

/// Sends records again.
pub struct Sender {
    producer: FutureProducer,
    topic: String,
}

impl Sender {
    /// Prepares to send; connecting goes on in the background.
    pub fn new(config: &KafkaConfig) -> Result<Self, SendError> {
        let admin = config.admin.as_ref().ok_or(SendError::NoAdministrator)?;
        let producer = client_settings(config)
            .set("bootstrap.servers", &config.admin_brokers)
            .set("ssl.certificate.location", admin.certificate.display().to_string())
            .set("ssl.key.location", admin.key.display().to_string())
            // As the agents do: a store's records all lie in one partition.
            .set("partitioner", "murmur2_random")
            .set("compression.codec", "zstd")
            .set("message.max.bytes", RECORD_BYTES_MAX)
            .set("message.timeout.ms", SEND_WAIT.as_millis().to_string())
            .set("acks", "all")
            .create()
            .map_err(SendError::Create)?;
        Ok(Self { producer, topic: Topic::StoreMinutes.name(&config.topic_prefix) })
    }

    /// Sends a record and returns where it lies: partition and offset.
    pub async fn send(&self, again: &Again<'_>) -> Result<(i32, i64), SendError> {
        let number = again.letter.to_string();
        let marked = again.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let mut headers = OwnedHeaders::new();
        for (key, value) in marked.chain([(REPLAY_HEADER, number.as_bytes())]) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        record.key = again.key;
        record.payload = again.body;
        if again.key.is_none() {
            record = record.partition(again.partition);
        }
        let refused = |(source, _)| SendError::Refused { letter: again.letter, source };
        let sent = self.producer.send(record, SEND_WAIT).await.map_err(refused)?;
        Ok((sent.partition, sent.offset))
    }
}
