//! What is past its horizon is forgotten, by the time at which it was noted. What was noted while nobody
//! knew the time is never past it: its time is learnt first.

use std::time::Duration;

use shared::time::Timestamp;

use super::{Sqlite, parsed};
use crate::buffer::{BufferError, time_unknown};

const DAY: Duration = Duration::from_secs(86_400);
/// How long receipt numbers are remembered.
const KEY_DAYS: u32 = 400;
/// How long contents of receipts are remembered.
const HASH_DAYS: u32 = 14;
/// How long confirmed batches are kept, so that a cluster that lost data can be filled again.
const ACKNOWLEDGED_DAYS: u32 = 30;
/// How long what was set aside is kept.
const QUARANTINE_DAYS: u32 = 30;
/// Rows that one pruning deletes per table: it shares the writer with the tills.
const PRUNE_ROWS_MAX: u32 = 5_000;

/// Columns that hold the time at which something was noted.
const NOTED_AT: [(&str, &str); 12] = [
    ("delivered", "acked_at"),
    ("quarantine", "first_at"),
    ("quarantine", "last_at"),
    ("receipt_hash", "at"),
    ("receipt_key", "updated_at"),
    ("fiscal_key", "at"),
    ("versioned_receipt", "at"),
    ("movement_key", "at"),
    ("closing_key", "at"),
    ("source_position", "updated_at"),
    ("day_digest", "updated_at"),
    ("meta", "value"),
];

impl Sqlite {
    /// Notes the time of what was noted without; returns when the buffer was made.
    pub(in crate::buffer) fn learn_time(&self, now: Timestamp) -> Result<Timestamp, BufferError> {
        let (unknown, now) = (time_unknown().to_string(), now.to_string());
        for (table, column) in NOTED_AT {
            let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
            self.execute("learn the time", &sql, &[&unknown, &now])?;
        }
        parsed(&self.meta("created_at")?.unwrap_or_default())
    }

    /// Forgets what is past its horizon.
    pub(in crate::buffer) fn prune(&self, now: Timestamp) -> Result<(), BufferError> {
        let stale = [
            ("quarantine", "id", "last_at < ?1", QUARANTINE_DAYS),
            ("receipt_hash", "receipt", "is_number = 1 AND at < ?1", HASH_DAYS),
            ("receipt_hash", "receipt", "is_number = 0 AND at < ?1", KEY_DAYS),
            ("receipt_key", "series", "updated_at < ?1", KEY_DAYS),
            ("fiscal_key", "at", "at < ?1", KEY_DAYS),
            ("versioned_receipt", "at", "at < ?1", KEY_DAYS),
            ("movement_key", "id", "at < ?1", KEY_DAYS),
            ("closing_key", "id", "at < ?1", KEY_DAYS),
            ("source_position", "feed", "updated_at < ?1", KEY_DAYS),
            ("day_digest", "business_day", "updated_at < ?1", KEY_DAYS),
        ];
        self.prune_confirmed(now)?;
        for (table, column, is_stale, days) in stale {
            let horizon = now.minus(DAY * days).to_string();
            let sql = format!(
                "DELETE FROM {table} WHERE {is_stale} AND {column} IN \
                 (SELECT {column} FROM {table} WHERE {is_stale} LIMIT {PRUNE_ROWS_MAX})"
            );
            self.execute("forget what is past its horizon", &sql, &[&horizon])?;
        }
        let sql = "DELETE FROM quarantine_unit WHERE hash NOT IN (SELECT hash FROM quarantine)";
        self.execute("forget what was set aside", sql, &[]).map(|_| ())
    }

    fn prune_confirmed(&self, now: Timestamp) -> Result<(), BufferError> {
        let horizon = now.minus(DAY * ACKNOWLEDGED_DAYS).to_string();
        // What is forgotten here is no hole.
        let sql = "SELECT coalesce(max(sequence), 0) FROM delivered WHERE acked_at < ?1";
        let last: i64 = self.one(sql, &[&horizon])?;
        let before: i64 = parsed(&self.meta("forgotten_sequence")?.unwrap_or("0".to_owned()))?;
        self.set_meta("forgotten_sequence", &before.max(last).to_string())?;
        // The batches first: they are named by what says that they are delivered.
        for table in ["outbox", "delivered"] {
            let sql = format!(
                "DELETE FROM {table} WHERE sequence IN (SELECT sequence FROM delivered \
                 WHERE acked_at < ?1 ORDER BY sequence LIMIT {PRUNE_ROWS_MAX})"
            );
            self.execute("forget what is past its horizon", &sql, &[&horizon])?;
        }
        Ok(())
    }
}
