//! Which tables a buffer has. An older one gets the present ones when the agent opens it, within one
//! transaction; one that a newer agent has written is left alone.

use std::path::Path;

use rusqlite::Connection;
use shared::time::Timestamp;

use super::{Sqlite, database, digests, meta};
use crate::buffer::BufferError;

/// The version of the tables, as `meta` has it.
pub(in crate::buffer) const VERSION: &str = "2";

/// Version 1 notes a delivery in the batch's row, and has no sums of days.
const FROM_1: &str = "\
    CREATE TABLE waiting (sequence INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE delivered (sequence INTEGER PRIMARY KEY, acked_at TEXT NOT NULL) STRICT;
    INSERT INTO waiting SELECT sequence FROM outbox WHERE acked_at IS NULL;
    INSERT INTO delivered SELECT sequence, acked_at FROM outbox WHERE acked_at IS NOT NULL;
    DROP INDEX outbox_waiting;
    DROP INDEX outbox_age;
    ALTER TABLE outbox DROP COLUMN acked_at;
    DROP INDEX open_minute_slot;
    CREATE INDEX open_minute_slot ON open_minute (business_day, minute);
    CREATE TABLE day_digest (
        till TEXT NOT NULL, business_day TEXT NOT NULL, series TEXT NOT NULL,
        first_sequence INTEGER NOT NULL, receipts INTEGER NOT NULL, cents INTEGER NOT NULL,
        keys BLOB NOT NULL, ended INTEGER NOT NULL, told_in INTEGER, updated_at TEXT NOT NULL,
        PRIMARY KEY (till, business_day, series)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX day_digest_untold ON day_digest (business_day) WHERE told_in IS NULL;
    UPDATE meta SET value = '2' WHERE name = 'schema';";

/// Fails where a buffer has other tables than the present ones. A damaged one may not know.
pub(in crate::buffer) fn check(connection: &Connection, path: &Path) -> Result<(), BufferError> {
    match meta(connection, "schema")? {
        Some(found) if found != VERSION => {
            Err(BufferError::OtherVersion { path: path.to_owned(), found, known: VERSION })
        }
        Some(_) | None => Ok(()),
    }
}

impl Sqlite {
    /// Gives an older buffer the present tables; its days are summed up from what waits.
    pub(super) fn renew_tables(&self, at: Timestamp) -> Result<(), BufferError> {
        if self.meta("schema")?.as_deref() == Some("1") {
            self.in_transaction(|| {
                self.connection.execute_batch(FROM_1).map_err(database("renew its tables"))?;
                digests::begin_anew(&self.connection, at)
            })?;
        }
        check(&self.connection, &self.path)
    }
}
