//! Looking into a buffer from outside: beside the running agent and on a stopped one. Read-only,
//! in short transactions, never a checkpoint, never `immutable` (which would miss committed rows).

use std::path::{Path, PathBuf};

use super::sqlite::{connect, database, figures, from_json, kept, prove, rows, version};
use super::{BufferError, Figures, Kept, Key};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use serde::Serialize;
use shared::ids::TillId;
use shared::time::Minute;

mod days;
mod verify;

pub use verify::Verdict;
pub(super) use verify::{abandoned, sums};

/// Why a buffer cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is not there.
    #[error("there is no buffer {0} yet; `edge-agent run` makes it")]
    Absent(PathBuf),
    /// The reader may not make the file that shares the log between processes.
    #[error(
        "the buffer {0} cannot be read by this user while no agent runs on it: run this as the \
         agent's own user, as root, or while the agent runs"
    )]
    Unshared(PathBuf),
    /// Anything else.
    #[error("cannot look into the buffer")]
    Buffer(#[source] BufferError),
}

/// A batch in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its place in the stream.
    pub sequence: u64,
    /// Its minute.
    pub minute: String,
    /// Its business day.
    pub business_day: String,
    /// Original or supplement.
    pub kind: String,
    /// Receipts in it.
    pub receipts: i64,
    /// Lines of them.
    pub lines: i64,
    /// Sum of their totals.
    pub total_cents: i64,
    /// Bytes of its body.
    pub bytes: i64,
    /// When it was cut.
    pub cut_at: String,
    /// When the broker confirmed it.
    pub acknowledged_at: Option<String>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for the broker.
    Waiting,
    /// The broker has it.
    Acknowledged,
}

/// Which batches are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one minute.
    pub minute: Option<Minute>,
    /// With something of one till.
    pub till: Option<TillId>,
    /// In one state.
    pub state: Option<State>,
    /// How many at most.
    pub most: u32,
}

/// What all batches in the buffer hold together, whether the broker has them or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchSums {
    /// Batches.
    pub count: i64,
    /// Receipts in them.
    pub receipts: i64,
    /// Lines of these.
    pub lines: i64,
    /// Sum of their totals.
    pub total_cents: i64,
}

/// A unit that was set aside, without its bytes.
#[derive(Debug, Clone, Serialize)]
pub struct SetAside {
    /// Its number.
    pub id: i64,
    /// Why.
    pub reason: String,
    /// The source.
    pub source: String,
    /// The feed.
    pub feed: String,
    /// Offset of its first byte.
    pub first_offset: i64,
    /// Offset after its last byte.
    pub end_offset: i64,
    /// How often it came.
    pub seen: i64,
    /// When it came first.
    pub first_at: String,
}

/// One batch whole.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// What the list says.
    pub batch: Listed,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: serde_json::Value,
}

/// A reader of a buffer.
pub struct Inspector {
    connection: Connection,
    path: PathBuf,
    key: Key,
}

impl Inspector {
    /// Opens a buffer for reading and proves the key.
    pub fn open(path: &Path, key: &Key) -> Result<Self, InspectError> {
        if !path.exists() {
            return Err(InspectError::Absent(path.to_owned()));
        }
        let opened = connect(path, key, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|connection| prove(&connection, path).map(|()| connection))
            .and_then(|connection| version::check(&connection, path).map(|()| connection));
        let connection = opened.map_err(|error| match &error {
            BufferError::Database { source, .. } if is_unshared(source) => {
                InspectError::Unshared(path.to_owned())
            }
            BufferError::Database { .. }
            | BufferError::WrongKey(_)
            | BufferError::Taken(_)
            | BufferError::Unbound { .. }
            | BufferError::OldSqlite(_)
            | BufferError::OtherVersion { .. }
            | BufferError::File { .. }
            | BufferError::Unreadable(_)
            | BufferError::Key(_)
            | BufferError::Full { .. }
            | BufferError::RefusedAgain(_)
            | BufferError::Closed => InspectError::Buffer(error),
        })?;
        Ok(Self { connection, path: path.to_owned(), key: key.clone() })
    }

    /// Returns what the buffer knows of itself.
    pub fn figures(&self) -> Result<Figures, InspectError> {
        figures(&self.connection).map_err(InspectError::Buffer)
    }

    /// Returns what its batches say of themselves.
    pub fn kept(&self) -> Result<Kept, InspectError> {
        kept(&self.connection).map_err(InspectError::Buffer)
    }

    /// Returns what all batches in the buffer hold together.
    pub fn batch_sums(&self) -> Result<BatchSums, InspectError> {
        let sql = "SELECT count(*), coalesce(sum(receipts), 0), coalesce(sum(lines), 0), \
                   coalesce(sum(total_cents), 0) FROM outbox";
        let read = |row: &Row<'_>| {
            Ok(BatchSums {
                count: row.get(0)?,
                receipts: row.get(1)?,
                lines: row.get(2)?,
                total_cents: row.get(3)?,
            })
        };
        let found = self.connection.query_row(sql, [], read).map_err(database("be summed up"));
        found.map_err(InspectError::Buffer)
    }

    /// Returns the newest batches, the newest first.
    pub fn list(&self, most: u32) -> Result<Vec<Listed>, InspectError> {
        let sql = format!("{LISTED} ORDER BY sequence DESC LIMIT ?1");
        rows(&self.connection, &sql, params![most], listed).map_err(InspectError::Buffer)
    }

    /// Returns the newest batches of a kind, the newest first. Looks through a part at a time, so that
    /// no transaction is long.
    pub fn list_of(&self, filter: &Filter) -> Result<Vec<Listed>, InspectError> {
        self.filtered(filter).map_err(InspectError::Buffer)
    }

    /// Returns the sequences from one to another, the oldest first, so many at most.
    pub fn sequences(&self, from: u64, to: u64, most: u32) -> Result<Vec<u64>, InspectError> {
        let sql = "SELECT sequence FROM outbox WHERE sequence BETWEEN ?1 AND ?2 \
                   ORDER BY sequence LIMIT ?3";
        let (from, to) = (signed(from), signed(to));
        let read = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::unsigned_abs);
        rows(&self.connection, sql, params![from, to, most], read).map_err(InspectError::Buffer)
    }

    /// Returns one batch whole.
    pub fn show(&self, sequence: u64) -> Result<Option<Shown>, InspectError> {
        self.read_batch(sequence).map_err(InspectError::Buffer)
    }

    /// Returns what was set aside last, the newest first.
    pub fn set_aside(&self, most: u32) -> Result<Vec<SetAside>, InspectError> {
        let sql = format!("{SET_ASIDE} ORDER BY id DESC LIMIT ?1");
        rows(&self.connection, &sql, params![most], set_aside).map_err(InspectError::Buffer)
    }

    /// Returns what was set aside after a number, the oldest first.
    pub fn set_aside_after(&self, id: i64, most: u32) -> Result<Vec<SetAside>, InspectError> {
        let sql = format!("{SET_ASIDE} WHERE id > ?1 ORDER BY id LIMIT ?2");
        rows(&self.connection, &sql, params![id, most], set_aside).map_err(InspectError::Buffer)
    }

    /// Returns the bytes of what was set aside.
    pub fn set_aside_bytes(&self, id: i64) -> Result<Option<Vec<u8>>, InspectError> {
        let sql = "SELECT bytes FROM quarantine_unit JOIN quarantine USING (hash) WHERE id = ?1";
        let found = self.connection.query_row(sql, [id], |row| row.get(0)).optional();
        found.map_err(database("be read")).map_err(InspectError::Buffer)
    }

    fn filtered(&self, filter: &Filter) -> Result<Vec<Listed>, BufferError> {
        let part = "SELECT min(sequence) FROM \
                    (SELECT sequence FROM outbox WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2)";
        let sql = format!(
            "{LISTED} WHERE sequence >= ?1 AND sequence < ?2 AND (?3 IS NULL OR minute = ?3) \
             AND (?4 IS NULL OR (acked_at IS NULL) = ?4) AND (?5 IS NULL OR EXISTS \
             (SELECT 1 FROM json_each(CAST(body AS TEXT), '$.tills') \
              WHERE json_extract(value, '$.till') = ?5)) ORDER BY sequence DESC"
        );
        let minute = filter.minute.map(|minute| minute.to_string());
        let waits = filter.state.map(|state| state == State::Waiting);
        let till = filter.till.as_ref().map(TillId::as_str);
        let most = filter.most as usize;
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        while found.len() < most {
            let read = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
            let first = rows(&self.connection, part, params![before, PART_ROWS], read)?.pop();
            let Some(first) = first.flatten() else { break };
            let values = params![first, before, minute, waits, till];
            found.extend(rows(&self.connection, &sql, values, listed)?);
            before = first;
        }
        found.truncate(most);
        Ok(found)
    }

    fn read_batch(&self, sequence: u64) -> Result<Option<Shown>, BufferError> {
        let key = sequence.cast_signed();
        let sql = format!("{LISTED} WHERE sequence = ?1");
        let Some(batch) = rows(&self.connection, &sql, params![key], listed)?.pop() else {
            return Ok(None);
        };
        let sql = "SELECT headers, body FROM outbox WHERE sequence = ?1";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
        let Some((headers, body)) = rows(&self.connection, sql, params![key], read)?.pop() else {
            return Ok(None);
        };
        let body = serde_json::from_slice(&body)
            .map_err(|error| BufferError::Unreadable(error.to_string()))?;
        Ok(Some(Shown { batch, headers: from_json(&headers)?, body }))
    }
}

/// Batches that are looked through in one transaction.
const PART_ROWS: u32 = 500;

const SET_ASIDE: &str = "SELECT id, reason, source, feed, first_offset, end_offset, seen, first_at \
                         FROM quarantine";

const LISTED: &str = "SELECT sequence, minute, business_day, kind, receipts, lines, \
                      total_cents, length(body), cut_at, acked_at \
                      FROM outbox LEFT JOIN delivered USING (sequence)";

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        sequence: row.get::<_, i64>(0)?.unsigned_abs(),
        minute: row.get(1)?,
        business_day: row.get(2)?,
        kind: row.get(3)?,
        receipts: row.get(4)?,
        lines: row.get(5)?,
        total_cents: row.get(6)?,
        bytes: row.get(7)?,
        cut_at: row.get(8)?,
        acknowledged_at: row.get(9)?,
    })
}

fn set_aside(row: &Row<'_>) -> rusqlite::Result<SetAside> {
    Ok(SetAside {
        id: row.get(0)?,
        reason: row.get(1)?,
        source: row.get(2)?,
        feed: row.get(3)?,
        first_offset: row.get(4)?,
        end_offset: row.get(5)?,
        seen: row.get(6)?,
        first_at: row.get(7)?,
    })
}

/// Returns a number as SQLite holds it; what is beyond all sequences is the last one.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn is_unshared(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}
