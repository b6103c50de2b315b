//! How the service is: counters for collectors, troubles for people and for Kubernetes. The only
//! file that names prometheus-client. It decides nothing.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

/// Counters and troubles of all roles.
pub struct Status {
    registry: Registry,
    records: Family<VerdictLabel, Counter>,
    lag: Family<PartitionLabel, Gauge>,
    stopped: Gauge,
    gaps: Gauge,
    gap_oldest: Gauge,
    dead_letters: Gauge,
    open_breakers: Gauge,
    batch_seconds: Histogram,
    batch_records: Histogram,
    store_failures: Counter<u64, AtomicU64>,
    differences: Family<KindLabel, Gauge>,
    compared_at: Gauge,
    lake_failures: Gauge,
    state: Mutex<State>,
}

/// What stands in the way of being ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// What is wrong, by part.
    pub troubles: BTreeMap<&'static str, String>,
    /// Partitions that were stopped, and why; only a person can start them again.
    pub stopped_partitions: BTreeMap<i32, String>,
}

impl State {
    /// Returns true where nothing is wrong.
    pub fn is_ready(&self) -> bool {
        self.troubles.is_empty() && self.stopped_partitions.is_empty()
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    /// Makes a status without troubles.
    pub fn new() -> Self {
        let mut status = Self {
            registry: Registry::with_prefix("frischmarkt_central"),
            records: Family::default(),
            lag: Family::default(),
            stopped: Gauge::default(),
            gaps: Gauge::default(),
            gap_oldest: Gauge::default(),
            dead_letters: Gauge::default(),
            open_breakers: Gauge::default(),
            batch_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)),
            batch_records: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            store_failures: Counter::default(),
            differences: Family::default(),
            compared_at: Gauge::default(),
            lake_failures: Gauge::default(),
            state: Mutex::default(),
        };
        status.register();
        status
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("records", "Records judged, by verdict", self.records.clone());
        to.register("lag_records", "Records not judged yet", self.lag.clone());
        to.register(
            "stopped_partitions",
            "Partitions that wait for a person",
            self.stopped.clone(),
        );
        to.register("gap_sequences", "Sequences that never arrived", self.gaps.clone());
        let help = "Time since the oldest gap opened";
        to.register_with_unit("gap_oldest", help, Unit::Seconds, self.gap_oldest.clone());
        to.register("dead_letters_open", "Dead letters not dealt with", self.dead_letters.clone());
        let help = "Stores whose records go aside until a person has looked";
        to.register("breakers_open", help, self.open_breakers.clone());
        let help = "Time from a batch's first record to its commit";
        to.register_with_unit("batch", help, Unit::Seconds, self.batch_seconds.clone());
        to.register("batch_records", "Records in a batch", self.batch_records.clone());
        let help = "Transactions that failed and were tried again";
        to.register("store_failures", help, self.store_failures.clone());
        let help = "What the last comparison found, by kind";
        to.register("reconcile_differences", help, self.differences.clone());
        let help = "When the last comparison ended, in seconds since 1970; 0 before the first";
        to.register("reconcile_ended_timestamp_seconds", help, self.compared_at.clone());
        let help = "Tries of the lake that failed since the last one that did not";
        to.register("lake_failures_in_a_row", help, self.lake_failures.clone());
    }

    fn state_mut(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what stands in the way of being ready.
    pub fn state(&self) -> State {
        self.state_mut().clone()
    }

    /// Notes what is wrong with a part, or that nothing is.
    pub fn set_trouble(&self, part: &'static str, trouble: Option<String>) {
        let mut state = self.state_mut();
        match trouble {
            Some(trouble) => state.troubles.insert(part, trouble),
            None => state.troubles.remove(part),
        };
    }

    /// Notes that a partition stopped, or that it is another's or runs again.
    pub fn set_stopped(&self, partition: i32, reason: Option<String>) {
        let mut state = self.state_mut();
        match reason {
            Some(reason) => state.stopped_partitions.insert(partition, reason),
            None => state.stopped_partitions.remove(&partition),
        };
        self.stopped.set(i64::try_from(state.stopped_partitions.len()).unwrap_or(i64::MAX));
    }

    /// Counts a judged record.
    pub fn count_record(&self, verdict: &'static str) {
        self.records.get_or_create(&VerdictLabel { verdict }).inc();
    }

    /// Notes a committed batch.
    pub fn note_batch(&self, records: usize, took: Duration) {
        self.batch_seconds.observe(took.as_secs_f64());
        self.batch_records.observe(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    }

    /// Counts a transaction that has to be tried again.
    pub fn count_store_failure(&self) {
        self.store_failures.inc();
    }

    /// Notes that a try of the lake failed. Nobody is unready for that: it only comes later.
    pub fn count_lake_failure(&self) {
        self.lake_failures.inc();
    }

    /// Notes that a try of the lake did not fail.
    pub fn clear_lake_failures(&self) {
        self.lake_failures.set(0);
    }

    /// Notes how far a partition lags, or that it is another's now.
    pub fn set_lag(&self, partition: i32, lag: Option<i64>) {
        let label = PartitionLabel { partition };
        match lag {
            Some(lag) => {
                self.lag.get_or_create(&label).set(lag);
            }
            None => {
                self.lag.remove(&label);
            }
        }
    }

    /// Notes how many sequences never arrived, and since how many seconds the first is missed.
    pub fn set_gaps(&self, sequences: i64, oldest_seconds: i64) {
        self.gaps.set(sequences);
        self.gap_oldest.set(oldest_seconds);
    }

    /// Notes how many dead letters wait for a person, and how many breakers.
    pub fn set_set_aside(&self, dead_letters: i64, open_breakers: i64) {
        self.dead_letters.set(dead_letters);
        self.open_breakers.set(open_breakers);
    }

    /// Notes how many differences of a kind the last comparison found.
    pub fn set_differences(&self, kind: &'static str, found: usize) {
        let found = i64::try_from(found).unwrap_or(i64::MAX);
        self.differences.get_or_create(&KindLabel { kind }).set(found);
    }

    /// Notes when a comparison ended.
    pub fn set_compared_at(&self, seconds_since_1970: i64) {
        self.compared_at.set(seconds_since_1970);
    }

    /// Writes every counter as Prometheus reads it.
    pub fn metrics(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string does not fail");
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_partition_or_a_trouble_stands_in_the_way() {
        let status = Status::new();
        assert!(status.state().is_ready());
        status.set_trouble("postgres", Some("gone".to_owned()));
        status.set_stopped(3, Some("topic made anew".to_owned()));
        assert!(!status.state().is_ready());
        assert!(status.metrics().contains("frischmarkt_central_stopped_partitions 1"));
        status.set_trouble("postgres", None);
        assert!(!status.state().is_ready());
        status.set_stopped(3, None);
        assert!(status.state().is_ready());
    }

    #[test]
    fn a_collector_finds_what_was_counted() {
        let status = Status::new();
        status.count_record("accepted");
        status.set_lag(7, Some(12));
        status.note_batch(500, Duration::from_millis(30));
        status.set_gaps(3, 301);
        status.set_set_aside(5, 1);
        let page = status.metrics();
        for line in [
            "frischmarkt_central_records_total{verdict=\"accepted\"} 1",
            "frischmarkt_central_lag_records{partition=\"7\"} 12",
            "frischmarkt_central_batch_seconds_count 1",
            "frischmarkt_central_gap_sequences 3",
            "frischmarkt_central_gap_oldest_seconds 301",
            "frischmarkt_central_dead_letters_open 5",
            "frischmarkt_central_breakers_open 1",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        status.set_lag(7, None);
        assert!(!status.metrics().contains("partition=\"7\""));
    }
}
