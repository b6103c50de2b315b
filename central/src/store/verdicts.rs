//! What was decided on the records, by their coordinates: read by those who follow the judge.

use std::collections::BTreeMap;

use super::{Store, StoreError};

/// A stretch of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last one.
    pub to: i64,
}

/// What was decided on one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// True where its rows count; false for a duplicate and a dead letter.
    pub accepted: bool,
    /// True where another record of the same place decides whether it was taken over by those who
    /// follow: it counts after it was refused, so that a database put back may have forgotten that it
    /// counted before; or it repeats one of a topic that is gone, which they may never have read.
    pub elsewhere: bool,
    /// The hash of the record that was judged.
    pub hash: [u8; 32],
}

/// Verdicts by partition and offset.
pub type Verdicts = BTreeMap<(i32, i64), Verdict>;

impl Store {
    /// Returns the verdicts that lie in some ranges; a record without one is not judged yet.
    pub async fn verdicts(
        &self,
        generation: &str,
        ranges: &[Range],
    ) -> Result<Verdicts, StoreError> {
        let partitions: Vec<i32> = ranges.iter().map(|range| range.partition).collect();
        let from: Vec<i64> = ranges.iter().map(|range| range.from).collect();
        let to: Vec<i64> = ranges.iter().map(|range| range.to).collect();
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT b.partition, b.record_offset, b.verdict = 'accepted', b.hash,
                        (b.verdict = 'accepted' AND EXISTS (
                            SELECT FROM batch o WHERE o.store_id = b.store_id
                             AND o.stream_id = b.stream_id AND o.sequence = b.sequence
                             AND o.verdict = 'refused'))
                        OR (b.verdict = 'duplicate' AND EXISTS (
                            SELECT FROM batch o WHERE o.store_id = b.store_id
                             AND o.stream_id = b.stream_id AND o.sequence = b.sequence
                             AND o.verdict = 'accepted'
                             AND o.topic_generation <> b.topic_generation))
                 FROM unnest($2::int[], $3::bigint[], $4::bigint[]) asked (partition, first, after)
                 JOIN batch b ON b.topic_generation = $1 AND b.partition = asked.partition
                  AND b.record_offset >= asked.first AND b.record_offset < asked.after",
                &[&generation, &partitions, &from, &to],
            )
            .await
            .map_err(StoreError::on("tell its verdicts"))?;
        Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), verdict(row))).collect())
    }

    /// Returns up to which offset each partition is judged.
    pub async fn judged(&self, generation: &str) -> Result<BTreeMap<i32, i64>, StoreError> {
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT partition, next_offset FROM progress WHERE topic_generation = $1",
                &[&generation],
            )
            .await
            .map_err(StoreError::on("tell the stored offsets"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

fn verdict(row: &tokio_postgres::Row) -> Verdict {
    let hash: Vec<u8> = row.get(3);
    Verdict {
        accepted: row.get(2),
        elsewhere: row.get(4),
        hash: hash.try_into().expect("the table holds 32 bytes"),
    }
}
