//! Records into the broker as an idempotent producer over mutual TLS. The only file here that names
//! `rdkafka`. Never gives a record up: while the broker is away it waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::authority::Credentials;
use crate::error::StackError;

/// Records on their way at once: enough to keep a broker busy, few enough to hold in memory.
const IN_FLIGHT_MAX: &str = "5000";
/// Kilobytes on their way at once.
const IN_FLIGHT_KBYTES_MAX: &str = "65536";
/// The pause before a full queue is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A producer for one topic.
pub struct Publisher {
    topic: String,
    producer: ThreadedProducer<Reports>,
}

/// What the broker's reports say.
#[derive(Debug, Default)]
struct Reports {
    delivered: AtomicU64,
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the broker cannot be reached");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Publisher {
    /// Prepares a producer; whether the broker is there shows when something is sent.
    pub fn new(brokers: &str, own: &Credentials, topic: &str) -> Result<Self, StackError> {
        let path = |path: &std::path::Path| path.display().to_string();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("security.protocol", "ssl")
            .set("ssl.ca.location", path(&own.ca))
            .set("ssl.certificate.location", path(&own.certificate))
            .set("ssl.key.location", path(&own.key))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("compression.type", "zstd")
            .set("partitioner", "murmur2_random")
            .set("reconnect.backoff.max.ms", "1000")
            .set("queue.buffering.max.messages", IN_FLIGHT_MAX)
            .set("queue.buffering.max.kbytes", IN_FLIGHT_KBYTES_MAX)
            .set_log_level(RDKafkaLogLevel::Critical)
            .create_with_context(Reports::default())
            .map_err(StackError::foreign("a producer cannot be made"))?;
        Ok(Self { topic: topic.to_owned(), producer })
    }

    /// Hands a record over, and waits while too many are on their way.
    pub async fn send(&self, record: &Record) -> Result<(), StackError> {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers = record.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let mut message =
            BaseRecord::to(&self.topic).key(&record.key).payload(&record.body).headers(headers);
        loop {
            self.check()?;
            message = match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                    if error != full {
                        let what = format!("the record of {} was refused", record.key);
                        return Err(StackError::foreign(what)(error));
                    }
                    back
                }
            };
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }

    /// Waits until the broker has taken everything; returns how many records it took.
    pub async fn finish(self) -> Result<u64, StackError> {
        while self.producer.in_flight_count() > 0 {
            self.check()?;
            tokio::time::sleep(FULL_PAUSE).await;
        }
        self.check()?;
        Ok(self.producer.context().delivered.load(Ordering::Relaxed))
    }

    /// A record that the broker refused for good ends the play: the truth already holds it.
    fn check(&self) -> Result<(), StackError> {
        let failed = self.producer.context().failed.lock();
        match failed.unwrap_or_else(PoisonError::into_inner).clone() {
            Some(error) => Err(StackError::foreign("the broker refused a record")(error)),
            None => Ok(()),
        }
    }
}
