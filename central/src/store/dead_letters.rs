//! What was refused, why, and its bytes.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Store, StoreError};

/// A dead letter with its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Where it lay: topic, generation, partition, offset.
    pub topic: String,
    /// The topic's id.
    pub generation: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Value,
    /// The body's bytes.
    pub body: Option<Vec<u8>>,
    /// Every reason: `[{"rule", "at", "says"}]`.
    pub reasons: Value,
    /// When the broker took the record.
    pub first_seen: DateTime<Utc>,
    /// `open`, `replayed` or `discarded`.
    pub state: String,
}

const COLUMNS: &str = "id, topic, topic_generation, partition, record_offset, record_key, headers, \
    body, reasons, first_seen, state";

impl Store {
    /// Returns the newest dead letters, at most `limit`, the newest first.
    pub async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetter>, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM dead_letter ORDER BY id DESC LIMIT $1");
        let connection = self.connection().await?;
        let rows = connection
            .query(&statement, &[&limit])
            .await
            .map_err(StoreError::on("list the dead letters"))?;
        Ok(rows.iter().map(dead_letter).collect())
    }

    /// Returns one dead letter.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM dead_letter WHERE id = $1");
        let connection = self.connection().await?;
        let row = connection
            .query_opt(&statement, &[&id])
            .await
            .map_err(StoreError::on("show a dead letter"))?;
        Ok(row.as_ref().map(dead_letter))
    }
}

fn dead_letter(row: &tokio_postgres::Row) -> DeadLetter {
    DeadLetter {
        id: row.get(0),
        topic: row.get(1),
        generation: row.get(2),
        partition: row.get(3),
        offset: row.get(4),
        key: row.get(5),
        headers: row.get(6),
        body: row.get(7),
        reasons: row.get(8),
        first_seen: row.get(9),
        state: row.get(10),
    }
}
