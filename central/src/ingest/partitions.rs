//! Where each of our partitions stands. Pure: what is stored and what arrives goes in, what to do
//! comes out.

use std::collections::BTreeMap;

use super::batch::Item;
use crate::store::progress::{LastRecord, Position};
use crate::store::write::Step;

/// Our partitions.
#[derive(Debug, Default)]
pub(crate) struct Partitions(BTreeMap<i32, Standing>);

#[derive(Debug)]
enum Standing {
    /// Assigned; the stored offset is not known yet.
    Waiting,
    Running(Running),
    /// Assigned, and not read until a person has looked at it.
    Stopped,
}

#[derive(Debug)]
struct Running {
    /// What the database holds.
    stored: Position,
    /// What must lie before the stored offset; gone once it was seen.
    expected: Option<LastRecord>,
    /// The offset that comes next.
    next: i64,
    /// What the broker was told last.
    told: i64,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    ToJudge,
    /// Stored before, or not ours.
    Known,
    /// The log is not the one that was read before.
    Strange(&'static str),
}

impl Partitions {
    pub(crate) fn assign(&mut self, partitions: &[i32]) {
        self.0.extend(partitions.iter().map(|&partition| (partition, Standing::Waiting)));
    }

    pub(crate) fn revoke(&mut self, partitions: &[i32]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    pub(crate) fn stop(&mut self, partition: i32) {
        self.0.entry(partition).and_modify(|standing| *standing = Standing::Stopped);
    }

    /// Lets every partition that is not stopped begin anew.
    pub(crate) fn wait_all(&mut self) {
        for standing in self.0.values_mut().filter(|one| !matches!(one, Standing::Stopped)) {
            *standing = Standing::Waiting;
        }
    }

    pub(crate) fn any_waits(&self) -> bool {
        self.0.values().any(|standing| matches!(standing, Standing::Waiting))
    }

    /// Returns the partitions that are not stopped.
    pub(crate) fn active(&self) -> Vec<i32> {
        let active = self.0.iter().filter(|(_, one)| !matches!(one, Standing::Stopped));
        active.map(|(&partition, _)| partition).collect()
    }

    /// Takes over what is stored. Returns where to begin those that did not stand there: at the
    /// record before the stored offset, which proves the log, or at the beginning.
    pub(crate) fn align(&mut self, stored: &BTreeMap<i32, Position>) -> BTreeMap<i32, Option<i64>> {
        let mut begin = BTreeMap::new();
        for (&partition, &stored) in stored {
            let Some(standing) = self.0.get_mut(&partition) else { continue };
            let stands = match standing {
                Standing::Waiting => false,
                Standing::Running(running) => running.stored == stored,
                Standing::Stopped => true,
            };
            if !stands {
                let next = stored.next_offset;
                *standing =
                    Standing::Running(Running { stored, expected: stored.last, next, told: next });
                begin.insert(partition, stored.last.map(|_| next - 1));
            }
        }
        begin
    }

    /// Tells what to do with a record.
    pub(crate) fn arrive(&mut self, partition: i32, offset: i64, seen: LastRecord) -> Arrived {
        let Some(Standing::Running(running)) = self.0.get_mut(&partition) else {
            return Arrived::Known;
        };
        if let Some(expected) = running.expected.take() {
            return if offset != running.stored.next_offset - 1 {
                Arrived::Strange("the record before the stored offset is missing from the log")
            } else if seen != expected {
                Arrived::Strange("the record before the stored offset is not the one judged there")
            } else {
                Arrived::Known
            };
        }
        if offset < running.next {
            return Arrived::Known;
        }
        running.next = offset + 1;
        Arrived::ToJudge
    }

    /// Tells where to read on where nothing but the record that proves the log has expired.
    pub(crate) fn forget_expired(&mut self, partition: i32, wanted: i64, low: i64) -> Option<i64> {
        let Some(Standing::Running(running)) = self.0.get_mut(&partition) else { return None };
        let next = running.stored.next_offset;
        running.expected.take_if(|_| wanted == next - 1 && low == next).map(|_| next)
    }

    /// Returns each partition's step over these records, which stand in their order.
    pub(crate) fn steps(&self, items: &[Item]) -> Vec<Step> {
        let mut steps = BTreeMap::new();
        for Item { record, content } in items {
            let Some(Standing::Running(running)) = self.0.get(&record.partition) else {
                unreachable!("records of a partition that is not read are dropped");
            };
            let last = LastRecord { hash: content.hash, appended_at: record.appended_at };
            let from = running.stored.next_offset;
            let to = record.offset + 1;
            steps.insert(record.partition, Step { partition: record.partition, from, to, last });
        }
        steps.into_values().collect()
    }

    /// Notes that steps are committed.
    pub(crate) fn advance(&mut self, steps: &[Step]) {
        for step in steps {
            if let Some(Standing::Running(running)) = self.0.get_mut(&step.partition) {
                assert!(running.stored.next_offset == step.from, "a step begins where we stand");
                running.stored = Position { next_offset: step.to, last: Some(step.last) };
            }
        }
    }

    /// Returns the stored offset of each partition that is read.
    pub(crate) fn next_offsets(&self) -> Vec<(i32, i64)> {
        let offset = |(&partition, standing): (&i32, &Standing)| match standing {
            Standing::Running(running) => Some((partition, running.stored.next_offset)),
            Standing::Waiting | Standing::Stopped => None,
        };
        self.0.iter().filter_map(offset).collect()
    }

    /// Returns the stored offsets that the broker was not told yet.
    pub(crate) fn take_news(&mut self) -> Vec<(i32, i64)> {
        let mut news = Vec::new();
        for (&partition, standing) in &mut self.0 {
            let Standing::Running(running) = standing else { continue };
            if running.told != running.stored.next_offset {
                running.told = running.stored.next_offset;
                news.push((partition, running.told));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> LastRecord {
        LastRecord { hash: [number; 32], appended_at: "2026-11-23T09:42:07Z".parse().unwrap() }
    }

    fn at(next_offset: i64, last: Option<u8>) -> BTreeMap<i32, Position> {
        BTreeMap::from([(7, Position { next_offset, last: last.map(record) })])
    }

    fn assigned() -> Partitions {
        let mut partitions = Partitions::default();
        partitions.assign(&[7]);
        partitions
    }

    #[test]
    fn a_new_partition_begins_at_its_beginning_and_a_known_one_before_its_offset() {
        assert_eq!(assigned().align(&at(0, None)), BTreeMap::from([(7, None)]));
        assert_eq!(assigned().align(&at(5, Some(4))), BTreeMap::from([(7, Some(4))]));
    }

    #[test]
    fn the_record_before_must_be_the_one_remembered() {
        let mut partitions = assigned();
        partitions.align(&at(5, Some(4)));
        assert_eq!(partitions.arrive(7, 4, record(4)), Arrived::Known);
        assert_eq!(partitions.arrive(7, 5, record(5)), Arrived::ToJudge);
        assert_eq!(partitions.arrive(7, 5, record(5)), Arrived::Known);
        assert_eq!(partitions.arrive(8, 0, record(0)), Arrived::Known);
        for (offset, seen) in [(4, 3), (5, 4)] {
            let mut other = assigned();
            other.align(&at(5, Some(4)));
            assert!(matches!(other.arrive(7, offset, record(seen)), Arrived::Strange(_)));
        }
    }

    #[test]
    fn where_the_database_stands_elsewhere_it_is_read_again_from_there() {
        let mut partitions = assigned();
        partitions.align(&at(0, None));
        partitions.advance(&[Step { partition: 7, from: 0, to: 5, last: record(4) }]);
        assert_eq!(partitions.align(&at(5, Some(4))), BTreeMap::new(), "the commit is known");
        assert_eq!(partitions.align(&at(3, Some(2))), BTreeMap::from([(7, Some(2))]), "restored");
        assert_eq!(partitions.align(&at(9, Some(8))), BTreeMap::from([(7, Some(8))]), "overtaken");
    }

    #[test]
    fn only_an_expired_proof_is_forgotten() {
        let mut partitions = assigned();
        partitions.align(&at(5, Some(4)));
        assert_eq!(partitions.forget_expired(7, 4, 6), None);
        assert_eq!(partitions.forget_expired(7, 4, 5), Some(5));
        assert_eq!(partitions.arrive(7, 5, record(5)), Arrived::ToJudge);
        assert_eq!(partitions.forget_expired(7, 4, 5), None);
    }

    #[test]
    fn a_stopped_partition_is_not_read_until_it_is_assigned_again() {
        let mut partitions = assigned();
        partitions.align(&at(0, None));
        partitions.stop(7);
        assert_eq!(partitions.arrive(7, 0, record(0)), Arrived::Known);
        assert!(partitions.active().is_empty() && !partitions.any_waits());
        partitions.wait_all();
        assert!(!partitions.any_waits());
        partitions.revoke(&[7]);
        partitions.assign(&[7]);
        assert!(partitions.any_waits());
    }

    #[test]
    fn the_broker_is_told_each_offset_once() {
        let mut partitions = assigned();
        partitions.align(&at(0, None));
        assert_eq!(partitions.take_news(), []);
        partitions.advance(&[Step { partition: 7, from: 0, to: 5, last: record(4) }]);
        assert_eq!(partitions.take_news(), [(7, 5)]);
        assert_eq!(partitions.take_news(), []);
        assert_eq!(partitions.next_offsets(), [(7, 5)]);
    }
}
