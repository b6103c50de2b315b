//! How far each partition is judged: read on assignment, moved in the transaction of the rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::time::Timestamp;

use super::audit::{self, Doer};
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

    /// Passes over what the topic no longer holds before an offset; returns where the partition
    /// stood, or nothing where it stands there or behind. The remembered record stays: the reader
    /// finds nothing but that one expired, and goes on.
    pub async fn pass_over(
        &self,
        (generation, partition): (&str, i32),
        first: i64,
        doer: &Doer,
    ) -> Result<Option<i64>, StoreError> {
        let what = StoreError::on("pass over what is gone");
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(&what)?;
        let stood = transaction
            .query_opt(
                "SELECT next_offset FROM progress WHERE topic_generation = $1 AND partition = $2
                 AND next_offset > 0 AND next_offset < $3 FOR UPDATE",
                &[&generation, &partition, &first],
            )
            .await
            .map_err(&what)?;
        let Some(stood) = stood.map(|row| row.get::<_, i64>(0)) else { return Ok(None) };
        transaction
            .execute(
                "UPDATE progress SET next_offset = $3, updated_at = now()
                 WHERE topic_generation = $1 AND partition = $2",
                &[&generation, &partition, &first],
            )
            .await
            .map_err(&what)?;
        let details = json!({"generation": generation, "partition": partition, "from": stood,
            "to": first});
        audit::note(&transaction, doer, "topics resume", details).await?;
        transaction.commit().await.map_err(StoreError::on("commit"))?;
        Ok(Some(stood))
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
