//! Is the batch full or old enough? Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::Record;
use crate::validate::Content;

/// Records of one transaction: larger ones gain nothing on the database's side and cost more to repeat.
const RECORDS_MAX: usize = 500;
/// Bytes of one transaction: nine of the largest records.
const BYTES_MAX: usize = 8 << 20;
/// How long the first record waits for company: rows shall be there within a second of their arrival.
const LINGER: Duration = Duration::from_millis(100);

/// A record with what it shows by itself.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) content: Content,
}

/// Records that wait for their transaction. What librdkafka had handed out before a pause still
/// joins, so it may grow beyond its bound by the fetch-ahead, and by no more.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    pub(crate) fn push(&mut self, item: Item, now: Instant) {
        self.bytes += item.record.bytes();
        self.items.push(item);
        self.since.get_or_insert(now);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }

    /// Tells when the batch is old enough.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + LINGER)
    }

    /// Returns true where the batch is to be stored now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.is_full() || self.due().is_some_and(|due| due <= now)
    }

    /// Tells when the oldest record came.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        self.bytes = 0;
        self.since = None;
        std::mem::take(&mut self.items)
    }

    /// Puts back what could not be stored, before anything that came since.
    pub(crate) fn put_back(&mut self, mut items: Vec<Item>, since: Instant) {
        self.bytes += items.iter().map(|item| item.record.bytes()).sum::<usize>();
        items.append(&mut self.items);
        self.items = items;
        if !self.items.is_empty() {
            self.since = Some(since);
        }
    }

    /// Drops the records of partitions that are no longer ours, or that begin anew.
    pub(crate) fn drop_partitions(&mut self, partitions: &BTreeSet<i32>) {
        self.items.retain(|item| !partitions.contains(&item.record.partition));
        self.bytes = self.items.iter().map(|item| item.record.bytes()).sum();
        if self.items.is_empty() {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::Reasons;

    fn item(partition: i32, offset: i64, bytes: usize) -> Item {
        let record = Record {
            partition,
            offset,
            appended_at: "2026-11-23T09:42:07Z".parse().unwrap(),
            key: None,
            headers: Vec::new(),
            body: Some(vec![0; bytes]),
        };
        let reasons = Reasons::default();
        Item { record, content: Content { hash: [0; 32], claim: None, batch: None, reasons } }
    }

    fn offsets(batch: &mut Batch) -> Vec<i64> {
        batch.take().iter().map(|item| item.record.offset).collect()
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_old_enough() {
        let now = Instant::now();
        let mut batch = Batch::default();
        assert!(!batch.is_due(now + LINGER));
        batch.push(item(0, 1, 10), now);
        assert!(!batch.is_due(now));
        assert!(batch.is_due(now + LINGER));
        batch.push(item(0, 2, BYTES_MAX), now);
        assert!(batch.is_full() && batch.is_due(now));
        batch.take();
        assert!(!batch.is_full() && batch.due().is_none());
        (0..500).for_each(|offset| batch.push(item(0, offset, 1), now));
        assert!(batch.is_full());
    }

    #[test]
    fn what_is_put_back_goes_first() {
        let now = Instant::now();
        let mut batch = Batch::default();
        batch.push(item(0, 1, 10), now);
        let failed = batch.take();
        batch.push(item(0, 2, 10), now + LINGER);
        batch.put_back(failed, now);
        assert_eq!(batch.since(), Some(now));
        assert_eq!(offsets(&mut batch), [1, 2]);
    }

    #[test]
    fn a_partition_that_is_gone_leaves_nothing_behind() {
        let now = Instant::now();
        let mut batch = Batch::default();
        batch.push(item(0, 1, 10), now);
        batch.push(item(1, 2, BYTES_MAX), now);
        batch.drop_partitions(&BTreeSet::from([1]));
        assert!(!batch.is_full());
        assert_eq!(offsets(&mut batch), [1]);
    }
}
