//! A new stream in the place of a buffer that must not go on as it is: one that was rolled back,
//! copied or cloned. What it remembers of receipts goes along, so that they are dropped when they are
//! read again; what may have been counted elsewhere goes out one receipt a batch, so that the centre
//! can refuse it alone. The old file is kept. Its waiting batches go out from there under their own
//! stream, with their own bytes: where they were delivered, the centre knows them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use shared::ids::StreamId;

use super::counter::machine_hash;
use super::sqlite::version::VERSION;
use super::sqlite::{
    SCHEMA, close_whole, connect, create_file, database, digests, id_time, lock, meta, parsed,
    prove, write_ahead,
};
use super::swap::{self, beside, new_file, replace};
use super::{Binding, BufferError, Settings, Unbound};
use crate::digest;

/// What stands between a buffer's name and that of the stream in the name of its past.
const PAST: &str = ".past-";

/// What goes along. Versions of receipts do not: a correction counted twice is seen by nobody.
const REMEMBERED: [&str; 13] = [
    "source_position",
    "receipt_key",
    "receipt_hash",
    "fiscal_key",
    "till_source",
    "movement_key",
    "open_minute",
    "till_last",
    "quarantine_unit",
    "quarantine",
    "loss",
    "closing_key",
    "till_notice",
];

/// Begins a new stream; returns where the old buffer is kept.
pub fn renew(settings: &Settings, binding: &Binding, why: Unbound) -> Result<PathBuf, BufferError> {
    let path = &settings.path;
    let _lock = lock(path)?;
    let old = connect(path, &settings.key, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    prove(&old, path)?;
    let stream: StreamId = parsed(&meta(&old, "stream")?.unwrap_or_default())?;
    drop(old);
    let new = new_file(path);
    let made = begin(settings, &new)?;
    made.execute_batch("BEGIN").map_err(database("begin"))?;
    note(&made, settings, binding, stream)?;
    // Nothing of another store is ours to count.
    if why != Unbound::OtherStore {
        remember(&made)?;
        set_corrections_aside(&made, settings)?;
        // What waits goes out in the new stream, and nothing else of what was counted.
        digests::begin_anew(&made, settings.now)?;
    }
    made.execute_batch("COMMIT; DETACH past").map_err(database("commit"))?;
    write_ahead(&made)?;
    close_whole(made)?;
    let kept = beside(path, &format!("{PAST}{stream}"));
    replace(path, &kept)?;
    Ok(kept)
}

/// Returns the buffers that were here before and are kept, the oldest first.
pub fn past(path: &Path) -> Result<Vec<PathBuf>, BufferError> {
    let failed = |source| BufferError::File { what: "look beside", path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let own = beside(Path::new(path.file_name().unwrap_or_default()), PAST);
    let own = own.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new("."))).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let stream = name.strip_prefix(&own).filter(|stream| stream.parse::<StreamId>().is_ok());
        found.extend(stream.map(|_| path.with_file_name(&name)));
    }
    // A stream's id begins with the time at which it was made.
    found.sort();
    Ok(found)
}

/// Makes the new file, with the old one attached.
fn begin(settings: &Settings, new: &Path) -> Result<Connection, BufferError> {
    swap::clear(new)?;
    create_file(new)?;
    let made = connect(new, &settings.key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    made.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = FULL")
        .map_err(database("set itself up"))?;
    made.execute_batch(SCHEMA).map_err(database("make its tables"))?;
    let old = settings.path.to_string_lossy();
    made.execute("ATTACH ?1 AS past KEY ?2", params![old, settings.key.pragma()])
        .map_err(database("read the old buffer"))?;
    Ok(made)
}

fn note(
    made: &Connection,
    settings: &Settings,
    binding: &Binding,
    before: StreamId,
) -> Result<(), BufferError> {
    let duplicates: Option<String> = made
        .query_row("SELECT value FROM past.meta WHERE name = 'duplicates'", [], |row| row.get(0))
        .optional()
        .map_err(database("read the old buffer"))?;
    let machine = settings.machine_id.as_deref().map(machine_hash);
    let state = [
        ("schema", Some(VERSION.to_owned())),
        ("stream", Some(StreamId::new(id_time(settings.now)).to_string())),
        ("created_at", Some(settings.now.to_string())),
        ("next_sequence", Some("1".to_owned())),
        ("duplicates", Some(duplicates.unwrap_or_else(|| "0".to_owned()))),
        ("predecessor", Some(before.to_string())),
        ("counted_before", Some("1".to_owned())),
        ("store", Some(binding.store.to_string())),
        ("machine", machine),
    ];
    for (name, value) in state {
        let sql = "INSERT INTO main.meta (name, value) VALUES (?1, ?2)";
        if let Some(value) = value {
            made.execute(sql, [name, &value]).map_err(database("note its state"))?;
        }
    }
    Ok(())
}

fn remember(made: &Connection) -> Result<(), BufferError> {
    for table in REMEMBERED {
        let sql = format!("INSERT INTO main.{table} SELECT * FROM past.{table}");
        made.execute(&sql, []).map_err(database("take over what was remembered"))?;
    }
    let sql = "UPDATE main.open_minute SET alone = 1 WHERE kind = 'receipt'";
    made.execute(sql, []).map_err(database("take over what was remembered")).map(|_| ())
}

/// Corrections may have been counted, and nobody could tell: they are set aside with their bytes.
fn set_corrections_aside(made: &Connection, settings: &Settings) -> Result<(), BufferError> {
    let failed = database("set a correction aside");
    let sql = "DELETE FROM main.open_minute WHERE kind = 'correction' RETURNING minute, body";
    let mut statement = made.prepare(sql).map_err(&failed)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found: Vec<(String, String)> =
        statement.query_map([], read).and_then(Iterator::collect).map_err(&failed)?;
    for (minute, body) in found {
        let hash = digest::of(body.as_bytes()).to_vec();
        let sql = "INSERT OR IGNORE INTO main.quarantine_unit (hash, bytes) VALUES (?1, ?2)";
        made.execute(sql, params![hash, body.as_bytes()]).map_err(&failed)?;
        let sql = "INSERT OR IGNORE INTO main.quarantine (hash, reason, source, feed, \
                   first_offset, end_offset, seen, first_at, last_at) VALUES (?1, \
                   'a correction that another buffer may have counted', 'buffer', ?2, 0, ?3, 1, ?4, ?4)";
        let length = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let at = settings.now.to_string();
        made.execute(sql, params![hash, minute, length, at]).map_err(&failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stays behind: what the new stream has of its own, and versions of receipts.
    const LEFT: [&str; 7] =
        ["meta", "outbox", "waiting", "delivered", "abandoned", "versioned_receipt", "day_digest"];

    #[test]
    fn of_every_table_it_is_decided_whether_it_goes_along() {
        let made = Connection::open_in_memory().unwrap();
        made.execute_batch(SCHEMA).unwrap();
        let sql =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut statement = made.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let mut names: Vec<String> = names.map(Result::unwrap).collect();
        names.sort();
        let mut decided: Vec<&str> = REMEMBERED.iter().chain(&LEFT).copied().collect();
        decided.sort_unstable();
        assert_eq!(names, decided);
    }
}
