//! A new key for a buffer that no agent runs on. The file is written anew within one transaction: an
//! end at any point leaves the old key or the new one, never both.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::sqlite::{connect, database, lock, prove};
use super::{BufferError, Key, Settings, renew, swap};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rekeyed {
    /// The buffer has the new key.
    Done,
    /// It had it before.
    Already,
}

/// Gives the buffer, and those before it that are kept, a new key. It is proved before anything is
/// written; begun again, it goes on where it ended.
pub fn rekey(settings: &Settings, new: &Key) -> Result<Rekeyed, BufferError> {
    let path = &settings.path;
    if !path.exists() {
        return Err(BufferError::WrongKey(path.clone()));
    }
    let _lock = lock(path)?;
    swap::finish(path)?;
    // The present one last: once it has the new key nobody asks again.
    for earlier in renew::past(path)? {
        let _lock = lock(&earlier)?;
        give(&earlier, &settings.key, new)?;
    }
    give(path, &settings.key, new)
}

fn give(path: &Path, old: &Key, new: &Key) -> Result<Rekeyed, BufferError> {
    let reading = |key: &Key| {
        let connection = connect(path, key, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        prove(&connection, path)
    };
    match reading(old) {
        Ok(()) => {}
        Err(BufferError::WrongKey(_)) if reading(new).is_ok() => return Ok(Rekeyed::Already),
        Err(error) => return Err(error),
    }
    let connection = connect(path, old, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    empty_log(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(database("take a new key"))?;
    connection.pragma_update(None, "rekey", new.pragma()).map_err(database("take a new key"))?;
    empty_log(&connection)?;
    drop(connection);
    reading(new).map(|()| Rekeyed::Done)
}

/// Copies the write-ahead log into the file: both are then of one key.
fn empty_log(connection: &Connection) -> Result<(), BufferError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 =
        connection.query_row(sql, [], |row| row.get(0)).map_err(database("cut its log"))?;
    // A reader holds the log; the key is one of the whole buffer all the same.
    if busy != 0 {
        tracing::warn!("somebody reads the buffer; its log is cut when the agent starts");
    }
    Ok(())
}
