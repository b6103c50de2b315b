//! How far each partition is judged: read on assignment, moved in the transaction of the rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use shared::time::Timestamp;

use super::{Store, StoreError};

/// The record before the next offset: what must still lie there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// Its hash.
    pub hash: [u8; 32],
    /// When the broker took it.
    pub appended_at: Timestamp,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The offset that is to be judged next.
    pub next_offset: i64,
    /// The record before it, where there was one.
    pub last: Option<LastRecord>,
}

impl Store {
    /// Returns where these partitions stand, and notes the new ones at their beginning.
    pub async fn positions(
        &self,
        generation: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Position>, StoreError> {
        let connection = self.connection().await?;
        connection
            .execute(
                "INSERT INTO progress (topic_generation, partition, next_offset)
                 SELECT $1, partition, 0 FROM unnest($2::int[]) partition
                 ON CONFLICT DO NOTHING",
                &[&generation, &partitions],
            )
            .await
            .map_err(StoreError::on("note new partitions"))?;
        let rows = connection
            .query(
                "SELECT partition, next_offset, last_record, last_appended_at FROM progress
                 WHERE topic_generation = $1 AND partition = ANY($2)",
                &[&generation, &partitions],
            )
            .await
            .map_err(StoreError::on("tell the stored offsets"))?;
        Ok(rows.iter().map(|row| (row.get(0), position(row))).collect())
    }
}

fn position(row: &tokio_postgres::Row) -> Position {
    let hash: Option<Vec<u8>> = row.get(2);
    let at: Option<DateTime<Utc>> = row.get(3);
    let last = hash
        .and_then(|hash| hash.try_into().ok())
        .zip(at)
        .map(|(hash, at)| LastRecord { hash, appended_at: Timestamp::from_utc(at) });
    Position { next_offset: row.get(1), last }
}
