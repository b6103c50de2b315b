//! Records that wait for the judge: kept per partition in the order of the topic, taken out as far as
//! they are judged without a hole. Pure; it judges nothing itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shared::minute::StoreMinute;

use super::table::Slice;
use crate::store::verdicts::{Range, Verdict, Verdicts};

/// Records that may wait in all: a few seconds of a large chain, or a catch-up in large commits.
const RECORDS_MAX: usize = 4_000;
/// Bytes of bodies that may wait in all.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A record whose verdict is not known yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Its offset.
    pub(super) offset: i64,
    /// The hash of `ce_id` and body.
    pub(super) hash: [u8; 32],
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// Why a partition cannot go on: its topic is not the one that was judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    /// The record at the offset is not the judged one.
    #[error("the record at offset {0} is not the one that was judged: was the topic made anew?")]
    OtherRecord(i64),
    /// The topic skipped a record that was accepted.
    #[error("the topic did not yield offset {0}, which was accepted")]
    Skipped(i64),
    /// An accepted body that cannot be read.
    #[error("the body at offset {0} was accepted and cannot be read")]
    Unreadable(i64),
}

#[derive(Debug)]
struct Partition {
    from: i64,
    records: VecDeque<Waiting>,
}

/// Records of all partitions.
#[derive(Debug, Default)]
pub(super) struct Pending {
    partitions: BTreeMap<i32, Partition>,
    records: usize,
    bytes: usize,
}

impl Pending {
    /// Starts a partition at an offset; what waited of it is read again.
    pub(super) fn start(&mut self, partition: i32, from: Option<i64>) {
        self.forget(partition);
        if let Some(from) = from {
            self.partitions.insert(partition, Partition { from, records: VecDeque::new() });
        }
    }

    /// Drops a partition.
    pub(super) fn forget(&mut self, partition: i32) {
        if let Some(gone) = self.partitions.remove(&partition) {
            self.records -= gone.records.len();
            self.bytes -= gone.records.iter().map(|record| record.body.len()).sum::<usize>();
        }
    }

    /// Adds a record behind the others of its partition; one that was there before is left out.
    pub(super) fn add(&mut self, partition: i32, record: Waiting) {
        let part = self
            .partitions
            .entry(partition)
            .or_insert_with(|| Partition { from: record.offset, records: VecDeque::new() });
        let expected = part.records.back().map_or(part.from, |last| last.offset + 1);
        if record.offset >= expected {
            self.records += 1;
            self.bytes += record.body.len();
            part.records.push_back(record);
        }
    }

    /// Returns true where no more records should be read now.
    pub(super) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }

    /// Returns what to ask the judge about.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let range = |(&partition, part): (&i32, &Partition)| {
            let last = part.records.back()?;
            Some(Range { partition, from: part.from, to: last.offset + 1 })
        };
        self.partitions.iter().filter_map(range).collect()
    }

    /// Takes out what is judged: per partition up to the first record that is not. A partition that
    /// does not match its verdicts is dropped and told.
    pub(super) fn take_judged(
        &mut self,
        generation: &str,
        verdicts: &Verdicts,
    ) -> (Vec<Slice>, Vec<(i32, Mismatch)>) {
        let (mut slices, mut mismatches) = (Vec::new(), Vec::new());
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            match self.take_partition(partition, verdicts) {
                Ok(None) => {}
                Ok(Some(slice)) => {
                    let partition = format!("{generation}/{partition}");
                    slices.push(Slice { partition, ..slice });
                }
                Err(mismatch) => {
                    self.forget(partition);
                    mismatches.push((partition, mismatch));
                }
            }
        }
        (slices, mismatches)
    }

    fn take_partition(
        &mut self,
        partition: i32,
        verdicts: &Verdicts,
    ) -> Result<Option<Slice>, Mismatch> {
        let Some(part) = self.partitions.get_mut(&partition) else { return Ok(None) };
        let from = part.from;
        let (mut batches, mut doubtful) = (Vec::new(), Vec::new());
        while let Some(record) = part.records.front() {
            let Some(verdict) = verdicts.get(&(partition, record.offset)) else { break };
            refuse_skipped(verdicts, (partition, part.from), record.offset)?;
            if let Some(batch) = taken(record, verdict)? {
                let to = if verdict.elsewhere { &mut doubtful } else { &mut batches };
                to.push((record.offset, Arc::new(batch)));
            }
            part.from = record.offset + 1;
            self.records -= 1;
            self.bytes -= record.body.len();
            part.records.pop_front();
        }
        let next = part.from;
        let partition = String::new();
        Ok((next > from).then_some(Slice { partition, from, next, batches, doubtful }))
    }
}

/// Every judged record has a verdict, so a verdict without a record is a record that is missing.
fn refuse_skipped(verdicts: &Verdicts, from: (i32, i64), to: i64) -> Result<(), Mismatch> {
    let mut between = verdicts.range(from..(from.0, to));
    match between.find(|(_, verdict)| verdict.accepted) {
        Some((&(_, offset), _)) => Err(Mismatch::Skipped(offset)),
        None => Ok(()),
    }
}

/// Returns the batch of a record that counts, or that repeats one that may never have been taken.
fn taken(record: &Waiting, verdict: &Verdict) -> Result<Option<StoreMinute>, Mismatch> {
    if !verdict.accepted && !verdict.elsewhere {
        return Ok(None);
    }
    if verdict.hash != record.hash {
        return Err(Mismatch::OtherRecord(record.offset));
    }
    let batch = serde_json::from_slice(&record.body);
    batch.map(Some).map_err(|_| Mismatch::Unreadable(record.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        include_bytes!("../../../shared/tests/shared/golden/store-minute.least.json");

    fn waiting(offset: i64) -> Waiting {
        Waiting { offset, hash: [1; 32], body: BODY.to_vec() }
    }

    fn verdicts(offsets: &[(i64, bool)]) -> Verdicts {
        let verdict = |accepted| Verdict { accepted, elsewhere: false, hash: [1; 32] };
        offsets.iter().map(|&(offset, accepted)| ((0, offset), verdict(accepted))).collect()
    }

    fn pending(from: i64, offsets: &[i64]) -> Pending {
        let mut pending = Pending::default();
        pending.start(0, Some(from));
        offsets.iter().for_each(|&offset| pending.add(0, waiting(offset)));
        pending
    }

    #[test]
    fn records_leave_as_far_as_they_are_judged_and_only_accepted_ones_count() {
        let mut pending = pending(5, &[5, 6, 7, 8]);
        assert_eq!(pending.ranges(), [Range { partition: 0, from: 5, to: 9 }]);
        let known = verdicts(&[(5, true), (6, false), (8, true)]);

        let (slices, mismatches) = pending.take_judged("g", &known);

        assert_eq!(mismatches, []);
        let [slice] = slices.as_slice() else { panic!("one slice, found {slices:?}") };
        assert_eq!((slice.partition.as_str(), slice.from, slice.next), ("g/0", 5, 7));
        assert_eq!(slice.batches.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [5]);
        assert_eq!(pending.ranges(), [Range { partition: 0, from: 7, to: 9 }]);
        let (slices, _) = pending.take_judged("g", &verdicts(&[(7, true), (8, true)]));
        assert_eq!((slices[0].from, slices[0].next), (7, 9));
        assert_eq!((pending.records, pending.bytes), (0, 0));
    }

    #[test]
    fn what_another_record_may_have_brought_is_doubtful() {
        let mut known = verdicts(&[(5, true), (6, true), (7, false), (8, false)]);
        for offset in [6, 7] {
            known.get_mut(&(0, offset)).unwrap().elsewhere = true;
        }

        let (slices, mismatches) = pending(5, &[5, 6, 7, 8]).take_judged("g", &known);

        assert_eq!(mismatches, []);
        let offsets = |batches: &[(i64, Arc<StoreMinute>)]| {
            batches.iter().map(|(offset, _)| *offset).collect::<Vec<_>>()
        };
        assert_eq!(offsets(&slices[0].batches), [5]);
        assert_eq!(offsets(&slices[0].doubtful), [6, 7]);
    }

    #[test]
    fn what_does_not_match_its_verdict_stops_its_partition() {
        let mut other = pending(5, &[5]);
        other.partitions.get_mut(&0).unwrap().records[0].hash = [2; 32];
        let (slices, mismatches) = other.take_judged("g", &verdicts(&[(5, true)]));
        assert_eq!((slices.len(), mismatches), (0, vec![(0, Mismatch::OtherRecord(5))]));

        let mut skipped = pending(5, &[5, 7]);
        let known = verdicts(&[(5, true), (6, true), (7, true)]);
        let (_, mismatches) = skipped.take_judged("g", &known);
        assert_eq!(mismatches, [(0, Mismatch::Skipped(6))]);
        assert_eq!((skipped.records, skipped.bytes), (0, 0));

        let mut unreadable = Pending::default();
        unreadable.add(0, Waiting { offset: 3, hash: [1; 32], body: b"{}".to_vec() });
        let (_, mismatches) = unreadable.take_judged("g", &verdicts(&[(3, true)]));
        assert_eq!(mismatches, [(0, Mismatch::Unreadable(3))]);
    }

    #[test]
    fn a_record_that_is_read_twice_waits_once() {
        let mut pending = pending(5, &[5, 6, 5, 6, 4]);
        assert_eq!(pending.records, 2);
        pending.start(0, Some(5));
        assert_eq!((pending.records, pending.bytes, pending.ranges().len()), (0, 0, 0));
    }

    #[test]
    fn records_are_held_back_before_memory_runs_out() {
        let mut pending = Pending::default();
        let large = |offset| Waiting { offset, hash: [0; 32], body: vec![0; BYTES_MAX / 2] };
        pending.add(1, large(0));
        assert!(!pending.is_full());
        pending.add(2, large(0));
        assert!(pending.is_full());
        pending.forget(1);
        assert!(!pending.is_full());
    }
}
