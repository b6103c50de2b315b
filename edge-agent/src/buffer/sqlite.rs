//! The buffer's SQL: with its folder the only place that names rusqlite. SQLCipher, write-ahead
//! log, every commit synced. Each function here runs within the writer's transaction.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, ToSql};
use shared::ids::StreamId;
use shared::minute::TillStatus;
use shared::time::Timestamp;

use super::counter::{Counter, Mark};
use super::{Binding, BufferError, Figures, Kept, Key, Quota, Settings, swap, time_unknown};

mod again;
mod bind;
pub(super) mod digests;
mod forget;
pub(super) mod known;
mod outbox;
mod room;
mod take;
pub(super) mod version;

/// The tables as a new buffer has them.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

pub(super) use room::Squeezed;

/// Whether SQLCipher is set up.
static READY: Once = Once::new();

/// The first version without the bug that corrupts a log which a second process checkpoints.
const SQLITE_LEAST: i32 = 3_051_003;

/// Bytes of the write-ahead log above which it is cut: four times what SQLite cuts by itself, so
/// that only a reader that holds it up brings it there.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// The most pages that SQLite counts.
const PAGES_MOST: i64 = 4_294_967_294;

/// The writing connection.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    stream: StreamId,
    /// The mark outside of the file, where the buffer is bound by one.
    counter: RefCell<Option<Counter>>,
    room: room::Room,
    key: Key,
    quota: Quota,
    /// Whether the connection takes nothing any more, whatever the disk gives back now.
    is_spoilt: Cell<bool>,
    /// Held for as long as the connection: a second agent does not get it.
    _lock: File,
}

/// Says what a failed statement was for.
pub(super) fn database(what: &'static str) -> impl Fn(rusqlite::Error) -> BufferError {
    move |source| BufferError::Database { what, source }
}

/// Reads a text back as what it was written from.
pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, BufferError> {
    let shown = || text.chars().take(80).collect::<String>();
    text.parse().map_err(|_| BufferError::Unreadable(format!("{:?}", shown())))
}

/// Reads JSON back as what it was written from.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, BufferError> {
    serde_json::from_str(text).map_err(|error| BufferError::Unreadable(error.to_string()))
}

/// Opens a connection with the key set. The key is not proved by that.
pub(super) fn connect(path: &Path, key: &Key, flags: OpenFlags) -> Result<Connection, BufferError> {
    // SQLCipher sets itself up with the first connection, and a second thread that comes meanwhile
    // finds no cipher. Where this one fails, the next one says why.
    READY.call_once(|| drop(Connection::open_in_memory()));
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(database("open its file"))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(database("set its patience"))?;
    // Without this SQLCipher writes lines of its own to standard error.
    connection.pragma_update(None, "cipher_log_level", "NONE").map_err(database("be quiet"))?;
    connection.pragma_update(None, "key", key.pragma()).map_err(database("take its key"))?;
    Ok(connection)
}

/// Proves the key on a connection.
pub(super) fn prove(connection: &Connection, path: &Path) -> Result<(), BufferError> {
    let proof = connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()));
    proof.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => BufferError::WrongKey(path.to_owned()),
        Some(_) | None => database("read its tables")(error),
    })
}

impl Sqlite {
    /// Opens the buffer or makes it, and proves that it is the one that it is bound to be.
    pub(super) fn open(
        settings: &Settings,
        binding: Option<&Binding>,
    ) -> Result<Self, BufferError> {
        if rusqlite::version_number() < SQLITE_LEAST {
            return Err(BufferError::OldSqlite(rusqlite::version()));
        }
        let path = settings.path.clone();
        let mut lock = lock(&path)?;
        swap::finish(&path)?;
        let before = bind::mark(binding)?;
        if is_absent(&path)? {
            lock = Self::make(settings, (binding, before.as_ref()), lock)?;
        }
        prove_before_writing(&path, &settings.key)?;
        let mut sqlite = Self::on(path, settings, lock)?;
        sqlite.renew_tables(settings.now)?;
        sqlite.stream = parsed(&sqlite.meta("stream")?.unwrap_or_default())?;
        sqlite.bind(settings, binding, before)?;
        Ok(sqlite)
    }

    /// Makes a buffer under another name first: an end on the way leaves nothing half made.
    fn make(
        settings: &Settings,
        (binding, before): (Option<&Binding>, Option<&Mark>),
        lock: File,
    ) -> Result<File, BufferError> {
        let new = swap::new_file(&settings.path);
        swap::clear(&new)?;
        create_file(&new)?;
        let made = Self::on(new, settings, lock)?;
        made.in_transaction(|| made.make_tables(settings, binding, before))?;
        let Self { connection, _lock: lock, .. } = made;
        close_whole(connection)?;
        swap::place(&settings.path)?;
        Ok(lock)
    }

    fn on(path: PathBuf, settings: &Settings, lock: File) -> Result<Self, BufferError> {
        let connection = connect(&path, &settings.key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        write_ahead(&connection)?;
        let room = prepare(&connection, settings.quota).map_err(database("set itself up"))?;
        let stream =
            StreamId::from_uuid("00000000-0000-0000-0000-000000000000".parse().expect("nil"));
        let counter = RefCell::new(None);
        let (key, quota, is_spoilt) = (settings.key.clone(), settings.quota, Cell::new(false));
        Ok(Self { connection, path, stream, counter, room, key, quota, is_spoilt, _lock: lock })
    }

    /// Replaces a connection that is spoilt. SQLite takes a read that failed within a transaction for a
    /// damaged file, and writes by that connection no more, though the disk may give all back now.
    pub(super) fn mend(&mut self) -> Result<(), BufferError> {
        if !self.is_spoilt.get() {
            return Ok(());
        }
        let connection = connect(&self.path, &self.key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prove(&connection, &self.path)?;
        self.room = prepare(&connection, self.quota).map_err(database("set itself up"))?;
        self.connection = connection;
        self.is_spoilt.set(false);
        Ok(())
    }

    /// Runs work within a transaction: all of it is on the disk when this returns well.
    pub(super) fn in_transaction<T>(
        &self,
        work: impl FnOnce() -> Result<T, BufferError>,
    ) -> Result<T, BufferError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(database("begin"))?;
        let done = work().and_then(|done| {
            self.connection.execute_batch("COMMIT").map_err(database("commit"))?;
            Ok(done)
        });
        if let Err(BufferError::Database { source, .. }) = &done
            && source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
        {
            self.is_spoilt.set(true);
        }
        if done.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(database("roll back"))?;
        }
        done
    }

    /// Cuts the write-ahead log where readers have let it grow.
    pub(super) fn bound_log(&self) -> Result<(), BufferError> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let bytes = std::fs::metadata(log).map_or(0, |meta| meta.len());
        if bytes <= LOG_BYTES_MAX {
            return Ok(());
        }
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        done.map_err(database("cut its log"))
    }

    /// Returns the marks of a source's feeds.
    pub(super) fn marks(&self, source: &str) -> Result<Vec<(String, String)>, BufferError> {
        self.rows(
            "SELECT feed, mark FROM source_position WHERE source = ?1 ORDER BY feed",
            &[&source],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Forgets which source counts a till where that source is no longer one of these.
    pub(super) fn keep_sources(&self, names: &[String]) -> Result<(), BufferError> {
        let names = serde_json::to_string(names).expect("texts are JSON");
        let sql = "DELETE FROM till_source WHERE source NOT IN (SELECT value FROM json_each(?1))";
        self.execute("forget old sources", sql, &[&names]).map(|_| ())
    }

    /// Returns at most so many marks of a source's feeds after one.
    pub(super) fn marks_after(
        &self,
        source: &str,
        after: &str,
        most: u32,
    ) -> Result<Vec<(String, String)>, BufferError> {
        self.rows(
            "SELECT feed, mark FROM source_position WHERE source = ?1 AND feed > ?2 \
             ORDER BY feed LIMIT ?3",
            &[&source, &after, &most],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Returns the mark of one feed of a source.
    pub(super) fn mark(&self, source: &str, feed: &str) -> Result<Option<String>, BufferError> {
        let sql = "SELECT mark FROM source_position WHERE source = ?1 AND feed = ?2";
        Ok(self.rows(sql, &[&source, &feed], |row| row.get(0))?.pop())
    }

    /// Returns what the buffer knows of itself.
    pub(super) fn figures(&self) -> Result<Figures, BufferError> {
        figures(&self.connection)
    }

    /// Returns what the batches say of themselves.
    pub(super) fn kept(&self) -> Result<Kept, BufferError> {
        kept(&self.connection)
    }

    fn meta(&self, name: &str) -> Result<Option<String>, BufferError> {
        meta(&self.connection, name)
    }

    fn set_meta(&self, name: &str, value: &str) -> Result<(), BufferError> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute("note its state", sql, &[&name, &value]).map(|_| ())
    }

    fn execute(
        &self,
        what: &'static str,
        sql: &str,
        values: &[&dyn ToSql],
    ) -> Result<usize, BufferError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database(what))?;
        statement.execute(values).map_err(database(what))
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
    ) -> Result<T, BufferError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database("be read"))?;
        statement.query_row(values, |row| row.get(0)).map_err(database("be read"))
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, BufferError> {
        rows(&self.connection, sql, values, read)
    }
}

/// Closes a database so that its file alone is whole: whoever moves it leaves no log behind.
pub(super) fn close_whole(connection: Connection) -> Result<(), BufferError> {
    let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
    let held_up: bool = connection
        .query_row(fold, [], |row| row.get(0))
        .map_err(database("fold its log into its file"))?;
    if held_up {
        return Err(BufferError::Unreadable("a log that somebody else reads".to_owned()));
    }
    connection.close().map_err(|(_, error)| database("close its file")(error))
}

/// Reads a value of the table `meta`.
pub(super) fn meta(connection: &Connection, name: &str) -> Result<Option<String>, BufferError> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(database("read its state"))
}

/// Reads rows.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, BufferError> {
    let mut statement = connection.prepare_cached(sql).map_err(database("be read"))?;
    let found = statement.query_map(values, read).map_err(database("be read"))?;
    found.collect::<Result<_, _>>().map_err(database("be read"))
}

/// Reads what a buffer knows of itself, on any connection. It is asked every other second: nothing
/// here reads a batch, nor what grows with the confirmed ones.
pub(super) fn figures(connection: &Connection) -> Result<Figures, BufferError> {
    let count = |table| count(connection, table);
    let text = |name| Ok::<_, BufferError>(meta(connection, name)?.unwrap_or_default());
    let next: u64 = parsed(&text("next_sequence")?)?;
    Ok(Figures {
        stream: parsed(&text("stream")?)?,
        created_at: parsed(&text("created_at")?)?,
        highest_sequence: next - 1,
        backlog: count("waiting")?,
        open_rows: count("open_minute")?,
        quarantined: count("quarantine")?,
        used_bytes: room::used_bytes(connection)?,
        given_up: parsed(&meta(connection, "given_up")?.unwrap_or("0".to_owned()))?,
        duplicates: parsed(&text("duplicates")?)?,
        tills: tills(connection)?,
        counted_before: meta(connection, "counted_before")?.is_some(),
    })
}

/// Reads what the batches of a buffer say of themselves, on any connection.
pub(super) fn kept(connection: &Connection) -> Result<Kept, BufferError> {
    Ok(Kept {
        acknowledged: count(connection, "delivered")?,
        last_cut_at: last_cut_at(connection)?,
    })
}

fn count(connection: &Connection, table: &str) -> Result<u64, BufferError> {
    let sql = format!("SELECT count(*) FROM {table}");
    let counted = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
    counted.map(i64::unsigned_abs).map_err(database("be counted"))
}

fn last_cut_at(connection: &Connection) -> Result<Option<Timestamp>, BufferError> {
    // The clock may have stood in 1970 when the very last ones were cut.
    let sql =
        "SELECT max(cut_at) FROM (SELECT cut_at FROM outbox ORDER BY sequence DESC LIMIT 100)";
    let found = connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0));
    found.map_err(database("be read"))?.map(|text| parsed(&text)).transpose()
}

/// Returns the time that a new stream's id bears.
pub(super) fn id_time(now: Timestamp) -> Timestamp {
    let nobody_knows = now == time_unknown();
    if nobody_knows { Timestamp::from_unix_millis(0).expect("1970 is a time") } else { now }
}

fn tills(connection: &Connection) -> Result<Vec<TillStatus>, BufferError> {
    let sql = "SELECT till, receipt, ended_at FROM till_last ORDER BY till";
    let read = |row: &Row<'_>| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?]);
    let parse = |[till, receipt, ended_at]: [String; 3]| {
        let (till, receipt) = (parsed(&till)?, parsed(&receipt)?);
        Ok(TillStatus { till, receipt, ended_at: parsed(&ended_at)? })
    };
    rows(connection, sql, &[], read)?.into_iter().map(parse).collect()
}

pub(super) fn lock(path: &Path) -> Result<File, BufferError> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let file = |what, source| BufferError::File { what, path: PathBuf::from(&name), source };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .map_err(|source| file("open", source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(BufferError::Taken(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(file("lock", source)),
    }
}

/// Proves the key on a read-only connection: on a writing one SQLite would end a wrong key's visit
/// with a checkpoint that deletes the log.
fn prove_before_writing(path: &Path, key: &Key) -> Result<(), BufferError> {
    let connection = connect(path, key, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    prove(&connection, path)
}

/// Tells whether there is no buffer yet.
fn is_absent(path: &Path) -> Result<bool, BufferError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(BufferError::File { what: "look at", path: path.to_owned(), source }),
    }
}

/// Makes the file for its owner alone, before SQLite would make it for all to read.
pub(super) fn create_file(path: &Path) -> Result<(), BufferError> {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map(|_| ()).map_err(|source| BufferError::File {
        what: "make",
        path: path.to_owned(),
        source,
    })
}

/// Gives a file its write-ahead log. Where it changes what the file has, an end on the way leaves a
/// file that cannot be proved: so only under another name.
pub(super) fn write_ahead(connection: &Connection) -> Result<(), BufferError> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    let mode = mode.map_err(database("set itself up"))?;
    assert_eq!(mode, "wal", "a file on a local disk takes a write-ahead log");
    Ok(())
}

fn prepare(connection: &Connection, quota: Quota) -> rusqlite::Result<room::Room> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    let room = room::Room::new(room::page_bytes(connection)?, quota);
    let most = i64::try_from(room.pages_max()).unwrap_or(i64::MAX).min(PAGES_MOST);
    connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?;
    Ok(room)
}
