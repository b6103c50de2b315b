//! What librdkafka tells beside the records: its log, its statistics, its errors and the rebalances.
//! Nothing is done here; it is noted for the task that reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Broker, Statistics};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

use super::Event;

/// What the callbacks leave behind for the task that reads.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Assignments and revocations; a rebalance gives at most two, and the reader takes them first.
    pub(super) events: VecDeque<Event>,
    pub(super) started: BTreeSet<i32>,
    pub(super) high: BTreeMap<i32, i64>,
    pub(super) brokers_up: usize,
    /// Whether no address of a broker is known any more. A broker that is about to end may tell that
    /// there is none; librdkafka then forgets all, the configured ones too, and asks nobody again.
    pub(super) is_stranded: bool,
    pub(super) last_error: Option<String>,
}

impl Noted {
    /// Notes that librdkafka will not go on by itself, whatever brokers it still sees.
    pub(super) fn give_up(&mut self, reason: String) {
        self.brokers_up = 0;
        self.is_stranded = false;
        self.last_error = Some(reason);
    }
}

pub(super) struct Context {
    noted: Mutex<Noted>,
    pub(super) changed: Notify,
}

impl Context {
    /// Makes one that has this to tell.
    pub(super) fn of(noted: Noted) -> Self {
        Self { noted: Mutex::new(noted), changed: Notify::new() }
    }

    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, "{message}");
            }
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut noted = self.noted();
        noted.brokers_up = statistics.brokers.values().filter(|one| one.state == "UP").count();
        if noted.brokers_up > 0 {
            noted.last_error = None;
        }
        // Others are librdkafka's own: the group's coordinator, or what stands for none.
        let has_address = |one: &Broker| ["configured", "learned"].contains(&one.source.as_str());
        noted.is_stranded = !statistics.brokers.values().any(has_address);
        if noted.is_stranded {
            self.changed.notify_one();
        }
        for partition in statistics.topics.values().flat_map(|topic| topic.partitions.values()) {
            if partition.hi_offset >= 0 {
                noted.high.insert(partition.partition, partition.hi_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.noted().last_error = Some(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = list.elements().iter().map(|one| one.partition()).collect();
        let result = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.noted().events.push_back(Event::Assigned(partitions));
            // librdkafka wants an answer now; the partitions join when their offsets are known.
            consumer.incremental_assign(&TopicPartitionList::new())
        } else {
            let ours = {
                let mut noted = self.noted();
                let mut ours = TopicPartitionList::new();
                for one in list.elements() {
                    if noted.started.remove(&one.partition()) {
                        ours.add_partition(one.topic(), one.partition());
                    }
                }
                noted.events.push_back(Event::Revoked(partitions));
                ours
            };
            consumer.incremental_unassign(&ours)
        };
        if let Err(error) = result {
            tracing::error!(%error, "cannot answer a rebalance");
        }
        self.changed.notify_one();
    }
}
