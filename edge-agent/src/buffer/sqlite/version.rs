//! Which tables a buffer has. An older one gets the present ones when the agent opens it, within one
//! transaction; one that a newer agent has written is left alone.

use std::path::Path;

use rusqlite::Connection;

use super::{Sqlite, database, meta};
use crate::buffer::BufferError;

/// The version of the tables, as `meta` has it.
pub(in crate::buffer) const VERSION: &str = "2";

/// Deliveries had a column of the batches once.
const FROM_1: &str = "\
    CREATE TABLE waiting (sequence INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE delivered (sequence INTEGER PRIMARY KEY, acked_at TEXT NOT NULL) STRICT;
    INSERT INTO waiting SELECT sequence FROM outbox WHERE acked_at IS NULL;
    INSERT INTO delivered SELECT sequence, acked_at FROM outbox WHERE acked_at IS NOT NULL;
    DROP INDEX outbox_waiting;
    DROP INDEX outbox_age;
    ALTER TABLE outbox DROP COLUMN acked_at;
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
    /// Gives an older buffer the present tables.
    pub(super) fn renew_tables(&self) -> Result<(), BufferError> {
        if self.meta("schema")?.as_deref() == Some("1") {
            let renew =
                || self.connection.execute_batch(FROM_1).map_err(database("renew its tables"));
            self.in_transaction(renew)?;
        }
        check(&self.connection, &self.path)
    }
}
