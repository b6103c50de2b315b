//! The only file of the agent that names rdkafka: a producer over mutual TLS, and its errors in
//! plain words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::statistics::{Broker, Statistics};
use shared::ids::{Sequence, StoreId};
use shared::minute::StoreStatus;
use shared::topics::{Topic, store_principal};
use shared::wire;
use tokio::time::Instant;

use super::pair::Pair;
use crate::buffer::Outgoing;

/// How often the same trouble is logged: librdkafka repeats it several times a second.
const LOG_PAUSE: Duration = Duration::from_secs(30);

/// How long one address of a broker may take until the next is tried: beside a good one there may be
/// one that swallows everything, and a thin line needs some seconds for TLS.
const SETUP_MILLIS: &str = "10000";

/// A connection that is idle for so long is ended by us: routers forget idle ones after a minute
/// without a word, and whoever uses one then waits a minute for nothing.
const IDLE_MILLIS: &str = "45000";

/// How often librdkafka tells which brokers it knows.
const TOLD_MILLIS: &str = "10000";

/// Bytes of records sent in one request: so small that several are under way at once within the
/// window, and that compressing one takes little memory.
const BATCH_BYTES: &str = "524288";

/// How the broker is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store: its records' key.
    pub store: StoreId,
    /// Host and port, several separated by commas.
    pub brokers: String,
    /// What stands before a topic's name.
    pub topic_prefix: String,
    /// The topic.
    pub topic: Topic,
}

impl Settings {
    fn client_config(&self, pair: &Pair) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", store_principal(&self.store))
            .set("security.protocol", "ssl")
            .set("ssl.ca.pem", &pair.ca)
            .set("ssl.certificate.pem", &pair.certificate)
            .set("ssl.key.pem", &pair.key)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("compression.type", "zstd")
            .set("batch.size", BATCH_BYTES)
            .set("partitioner", "murmur2_random")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("socket.connection.setup.timeout.ms", SETUP_MILLIS)
            .set("connections.max.idle.ms", IDLE_MILLIS)
            .set("log.connection.close", "false")
            .set("queue.buffering.max.messages", "1000")
            .set("queue.buffering.max.kbytes", "8192")
            .set("statistics.interval.ms", TOLD_MILLIS);
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

/// Events taken in one turn: reports come many to an event, errors one by one.
const EVENTS_MAX: usize = 64;

/// How long trouble is believed that is not heard again: librdkafka tries every second.
const TROUBLE_LASTS: Duration = Duration::from_secs(60);

/// What the broker or the way to it says, in plain words.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct KafkaFault {
    words: String,
    kind: FaultKind,
    #[source]
    source: Option<KafkaError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    /// The producer's queue is full; later there is room.
    Full,
    /// The record will never be taken.
    Final,
    /// Anything else may pass.
    Passing,
}

impl KafkaFault {
    /// Returns true where the producer's own queue is full.
    pub(super) fn is_full(&self) -> bool {
        self.kind == FaultKind::Full
    }

    /// Returns true where the broker will never take the record.
    pub(super) fn is_final(&self) -> bool {
        self.kind == FaultKind::Final
    }

    fn of(error: KafkaError, topic: &str) -> Self {
        let code = error.rdkafka_error_code();
        let kind = match code {
            Some(RDKafkaErrorCode::QueueFull) => FaultKind::Full,
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::PolicyViolation,
            ) => FaultKind::Final,
            Some(_) | None => FaultKind::Passing,
        };
        let text = error.to_string();
        let words = plain_words(code, &text, topic);
        // Where the words repeat the error it is not told a second time as their cause.
        let source = (!words.ends_with(&text)).then_some(error);
        Self { words, kind, source }
    }
}

/// Says what an error means to whoever has to mend it.
fn plain_words(code: Option<RDKafkaErrorCode>, text: &str, topic: &str) -> String {
    let lower = text.to_lowercase();
    let says = |part: &str| lower.contains(part);
    match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            format!("this store's certificate has no right to write to the topic {topic}")
        }
        Some(RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            "this store's certificate has no right to write to the cluster".to_owned()
        }
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            format!("the topic {topic} is not there, or this store has no right to see it")
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            format!("the record is larger than the topic {topic} takes")
        }
        Some(_) | None if says("certificate verify failed") => {
            "the broker's certificate is not of the configured authority (kafka.ca)".to_owned()
        }
        Some(_) | None if says("alert") && (says("certificate") || says("unknown ca")) => {
            "the broker refuses this store's certificate: it is missing, expired, or of another \
             authority (kafka.certificate)"
                .to_owned()
        }
        Some(RDKafkaErrorCode::SSL) => format!("TLS with the broker failed: {text}"),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve,
        ) => format!("the broker cannot be reached: {text}"),
        Some(_) | None => text.to_owned(),
    }
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sequence: Sequence,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// All replicas that must have it have it.
    Delivered,
    /// It may or may not have arrived.
    Failed(KafkaFault),
}

/// A producer for batches, and for the status record beside them: a second one would hold threads and
/// memory of its own.
pub(super) struct Producer {
    inner: BaseProducer<Listener>,
    topic: String,
    status_topic: String,
    store: StoreId,
}

impl Producer {
    /// Makes a producer. It connects by itself, now and after every break.
    pub(super) fn new(settings: &Settings, pair: &Pair) -> Result<Self, KafkaFault> {
        let topic = settings.topic.name(&settings.topic_prefix);
        let listener = Listener { topic: topic.clone(), heard: Arc::default() };
        let inner = settings
            .client_config(pair)
            .create_with_context(listener)
            .map_err(|error| KafkaFault::of(error, &topic))?;
        let status_topic = Topic::StoreStatus.name(&settings.topic_prefix);
        Ok(Self { inner, topic, status_topic, store: settings.store.clone() })
    }

    /// Hands a batch over; its report comes later.
    pub(super) fn send(&self, batch: &Outgoing) -> Result<(), KafkaFault> {
        let headers = batch.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.hand_over(&self.topic, Record::Batch(batch.sequence), headers, &batch.body)
    }

    /// Hands a status record over.
    pub(super) fn send_status(&self, status: &StoreStatus) -> Result<(), KafkaFault> {
        let headers = wire::store_status_headers(status);
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.hand_over(&self.status_topic, Record::Status, headers, &wire::encode(status))
    }

    /// Returns what became of the status record, where that was told since.
    pub(super) fn status_outcome(&self) -> Option<Outcome> {
        self.heard().status.take()
    }

    /// Returns the reports of batches that have come since.
    pub(super) fn reports(&self) -> Vec<Report> {
        self.hear();
        std::mem::take(&mut self.heard().reports)
    }

    /// Returns what is wrong with the way to the broker, where something is.
    pub(super) fn trouble(&self) -> Option<String> {
        let heard = self.heard();
        let (words, at) = heard.trouble.as_ref()?;
        (at.elapsed() < TROUBLE_LASTS).then(|| words.clone())
    }

    /// Returns why the producer will never send again, where that is so.
    pub(super) fn fatal(&self) -> Option<KafkaFault> {
        let words = match self.inner.client().fatal_error() {
            Some((code, text)) => plain_words(Some(code), &text, &self.topic),
            None if self.heard().is_stranded => "every broker's address is lost".to_owned(),
            None => return None,
        };
        Some(KafkaFault { words, kind: FaultKind::Passing, source: None })
    }

    /// Asks for the topic and returns its partitions.
    pub(super) fn probe(&self, most: Duration) -> Result<usize, KafkaFault> {
        let found = self.inner.client().fetch_metadata(Some(&self.topic), most);
        // What broke the way to the broker is told by the error callback, not by the time-out.
        self.hear();
        let fault = |error| match self.trouble() {
            Some(words) => KafkaFault { words, kind: FaultKind::Passing, source: None },
            None => KafkaFault::of(error, &self.topic),
        };
        let metadata = found.map_err(fault)?;
        let topic = metadata.topics().first();
        match topic.and_then(|topic| topic.error()) {
            Some(error) => {
                let code = RDKafkaErrorCode::from(error);
                Err(KafkaFault::of(KafkaError::MetadataFetch(code), &self.topic))
            }
            None => Ok(topic.map_or(0, |topic| topic.partitions().len())),
        }
    }

    /// Waits until librdkafka has something to tell, and takes that.
    pub(super) fn wait(&self, most: Duration) {
        self.inner.poll(most);
    }

    /// Takes what librdkafka has to tell: one poll without waiting takes one event.
    fn hear(&self) {
        (0..EVENTS_MAX).for_each(|_| self.inner.poll(Duration::ZERO));
    }

    fn hand_over<'a>(
        &self,
        topic: &str,
        what: Record,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Result<(), KafkaFault> {
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::with_opaque_to(topic, Box::new(what))
            .key(self.store.as_str())
            .payload(body)
            .headers(headers);
        self.inner.send(record).map_err(|(error, _)| KafkaFault::of(error, topic))
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.inner.context().heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record is of.
#[derive(Debug, Clone, Copy)]
enum Record {
    Batch(Sequence),
    Status,
}

/// What librdkafka has told, from whichever of its threads.
#[derive(Default)]
struct Heard {
    reports: Vec<Report>,
    status: Option<Outcome>,
    /// What was wrong, and when it was heard last.
    trouble: Option<(String, Instant)>,
    logged: Option<Instant>,
    /// Whether no address of a broker is known any more. A broker that is about to end may tell that
    /// there is none; librdkafka then forgets all, the configured ones too, and asks nobody again.
    is_stranded: bool,
}

struct Listener {
    topic: String,
    heard: Arc<Mutex<Heard>>,
}

impl Listener {
    /// Keeps the trouble for the status, and logs it at a bounded rate.
    fn note(&self, words: String) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let long_ago = heard.logged.is_none_or(|logged| now - logged >= LOG_PAUSE);
        if long_ago {
            tracing::warn!(topic = %self.topic, trouble = %words, "trouble on the way to the broker");
            heard.logged = Some(now);
        }
        heard.trouble = Some((words, now));
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn stats(&self, statistics: Statistics) {
        let has_address = |one: &Broker| ["configured", "learned"].contains(&one.source.as_str());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_stranded = !statistics.brokers.values().any(has_address);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // "All brokers down" follows what brought them down, and says less.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.note(plain_words(code, reason, &self.topic));
        }
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = Box<Record>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, what: Box<Record>) {
        let outcome = match delivered {
            Ok(_) => Outcome::Delivered,
            Err((error, message)) => {
                Outcome::Failed(KafkaFault::of(error.clone(), message.topic()))
            }
        };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(outcome, Outcome::Delivered) {
            heard.trouble = None;
        }
        match *what {
            Record::Batch(sequence) => heard.reports.push(Report { sequence, outcome }),
            Record::Status => heard.status = Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_to_be_mended() {
        let alert = "ssl://localhost:1/bootstrap: SSL handshake failed: ssl/tls alert bad certificate: SSL alert number 42";
        let words = plain_words(Some(RDKafkaErrorCode::BrokerTransportFailure), alert, "t");
        assert!(words.starts_with("the broker refuses this store's certificate"), "{words}");
        let words = plain_words(Some(RDKafkaErrorCode::TopicAuthorizationFailed), "x", "t");
        assert_eq!(words, "this store's certificate has no right to write to the topic t");
        let verify = "error:0A000086:SSL routines::certificate verify failed";
        let words = plain_words(Some(RDKafkaErrorCode::SSL), verify, "t");
        assert!(words.starts_with("the broker's certificate is not of"), "{words}");
        let refused = "Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        let words = plain_words(Some(RDKafkaErrorCode::BrokerTransportFailure), refused, "t");
        assert!(words.starts_with("the broker cannot be reached"), "{words}");
    }

    #[test]
    fn a_producer_that_has_lost_every_address_is_given_up() {
        let settings = ClientConfig::new().set("bootstrap.servers", "127.0.0.1:1").clone();
        let listener = Listener { topic: "t".to_owned(), heard: Arc::default() };
        let inner = settings.create_with_context(listener).unwrap();
        let (topic, status_topic) = ("t".to_owned(), "s".to_owned());
        let producer = Producer { inner, topic, status_topic, store: "1".parse().unwrap() };
        let told = |source: &str| {
            let broker = Broker { source: source.to_owned(), ..Broker::default() };
            let brokers = [("one".to_owned(), broker)].into();
            producer.inner.context().stats(Statistics { brokers, ..Statistics::default() });
            producer.fatal().map(|fault| fault.to_string())
        };
        assert_eq!(told("configured"), None);
        assert_eq!(told("logical").unwrap(), "every broker's address is lost");
        assert_eq!(told("learned"), None);
    }

    #[test]
    fn only_what_concerns_the_record_itself_is_final() {
        let of = |code| KafkaFault::of(KafkaError::MessageProduction(code), "t");
        assert!(of(RDKafkaErrorCode::MessageSizeTooLarge).is_final());
        assert!(of(RDKafkaErrorCode::QueueFull).is_full());
        for passing in [
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeQueue,
        ] {
            assert!(!of(passing).is_final() && !of(passing).is_full());
        }
    }
}
