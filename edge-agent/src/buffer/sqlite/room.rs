//! What gives way when there is no room. Batches that the broker has confirmed go first: nothing is
//! lost by that. Sources that can be held back wait. For one that cannot, batches are given up that were
//! never handed to the producer, those first that say the least: without a receipt, then with the
//! least money for their bytes. Each keeps its sequence and carries the receipts of its loss.

use std::cell::Cell;

use rusqlite::{Connection, params};
use shared::ids::Sequence;

use super::{Sqlite, database, parsed};
use crate::buffer::{BufferError, Intake, Quota, Supply};

/// Confirmed batches that are forgotten at once.
const FORGOTTEN_AT_ONCE: u32 = 64;

/// Why a batch is given up, as its loss says it.
const NO_ROOM: &str = "no_room";

/// What a batch is called in lists that was given up.
pub(super) const GIVEN_UP: &str = "given_up";

/// Bytes of the file that an intake needs for each of its own: its JSON, its keys and its pages.
const SPREAD: u64 = 4;

/// Pages that any intake may need beside.
const PAGES_BESIDE: u64 = 64;

/// What the database takes of its quota.
#[derive(Debug)]
pub(super) struct Room {
    page_bytes: u64,
    quota: Quota,
    /// Whether the disk has refused to let the file grow.
    squeezed: Cell<bool>,
}

impl Room {
    pub(super) fn new(page_bytes: u64, quota: Quota) -> Self {
        Self { page_bytes, quota, squeezed: Cell::new(false) }
    }

    /// Returns the most pages that the file may have.
    pub(super) fn pages_max(&self) -> u64 {
        (self.quota.bytes / self.page_bytes).max(1)
    }
}

impl Sqlite {
    /// Notes whether the disk lets the file grow.
    pub(in crate::buffer) fn squeeze(&self, squeezed: Squeezed) {
        self.room.squeezed.set(squeezed == Squeezed::Yes);
    }

    /// Tells whether the file is as large as its quota lets it be.
    pub(in crate::buffer) fn is_at_its_quota(&self) -> bool {
        self.pragma("page_count").is_ok_and(|pages| pages >= self.room.pages_max())
    }

    fn used_bytes(&self) -> Result<u64, BufferError> {
        used_bytes(&self.connection)
    }

    /// Forgets some confirmed batches, the oldest first; returns how many.
    pub(in crate::buffer) fn forget_confirmed(&self) -> Result<usize, BufferError> {
        let what = "forget confirmed batches";
        let oldest = "SELECT sequence FROM delivered ORDER BY sequence LIMIT ?1";
        let sql = format!("SELECT coalesce(max(sequence), 0) FROM ({oldest})");
        let last: i64 = self.one(&sql, params![FORGOTTEN_AT_ONCE])?;
        let before: i64 = parsed(&self.meta("forgotten_sequence")?.unwrap_or("0".to_owned()))?;
        self.set_meta("forgotten_sequence", &before.max(last).to_string())?;
        let sql = format!("DELETE FROM outbox WHERE sequence IN ({oldest})");
        self.execute(what, &sql, params![FORGOTTEN_AT_ONCE])?;
        let sql = format!("DELETE FROM delivered WHERE sequence IN ({oldest})");
        self.execute(what, &sql, params![FORGOTTEN_AT_ONCE])
    }

    /// Tells whether what is common is used up, or the disk has no more.
    pub(in crate::buffer) fn is_short(&self) -> Result<bool, BufferError> {
        if self.used_bytes()? >= self.room.quota.common_bytes() {
            return Ok(true);
        }
        Ok(self.room.squeezed.get() && self.free_pages()? < PAGES_BESIDE)
    }

    /// Makes room for an intake, or says that its source must wait.
    pub(super) fn make_room(&self, intake: &Intake) -> Result<(), BufferError> {
        let quota = self.room.quota;
        let used = self.used_bytes()?;
        match intake.supply {
            Supply::Waits if used >= quota.common_bytes() => {
                Err(BufferError::Full { used, bytes: quota.bytes })
            }
            Supply::Waits => Ok(()),
            Supply::Flows => {
                self.give_up_least(intake)?;
                let used = self.used_bytes()?;
                let fits = used < quota.taken_bytes();
                if fits { Ok(()) } else { Err(BufferError::Full { used, bytes: quota.bytes }) }
            }
        }
    }

    /// Gives up what says the least until there is room, or nothing is left that may be given up.
    fn give_up_least(&self, intake: &Intake) -> Result<(), BufferError> {
        let bytes: u64 = intake.units.iter().map(|unit| unit.bytes.len() as u64).sum();
        let needed = bytes.saturating_mul(SPREAD) / self.room.page_bytes + PAGES_BESIDE;
        while self.lacks(needed)? {
            let Some(sequence) = self.least()? else { return Ok(()) };
            tracing::error!(%sequence, "a batch is given up for want of room; its loss is told");
            self.empty(sequence, NO_ROOM)?;
        }
        Ok(())
    }

    fn lacks(&self, pages: u64) -> Result<bool, BufferError> {
        if self.used_bytes()? >= self.room.quota.common_bytes() {
            return Ok(true);
        }
        Ok(self.room.squeezed.get() && self.free_pages()? < pages)
    }

    /// Returns the batch that says the least among those that were never handed to the producer.
    fn least(&self) -> Result<Option<Sequence>, BufferError> {
        let sql = "SELECT sequence FROM waiting CROSS JOIN outbox USING (sequence) \
                   WHERE kind <> ?2 AND waiting.sequence > ?1 \
                   ORDER BY receipts > 0, abs(total_cents) * 1000 / length(body), sequence LIMIT 1";
        let handed = self.handed_through()?.cast_signed();
        let found = self.rows(sql, params![handed, GIVEN_UP], |row| row.get::<_, i64>(0))?;
        found.first().map(|&number| super::outbox::sequence_of(number)).transpose()
    }

    /// Returns the highest sequence that the producer may have got.
    fn handed_through(&self) -> Result<u64, BufferError> {
        parsed(&self.meta("handed_through")?.unwrap_or("0".to_owned()))
    }

    /// Notes that batches are about to be handed to the producer: from now on they may have arrived.
    pub(super) fn hand_over(&self, last: Sequence) -> Result<(), BufferError> {
        if last.get() <= self.handed_through()? {
            return Ok(());
        }
        self.set_meta("handed_through", &last.get().to_string())
    }

    /// Counts a batch that was given up.
    pub(super) fn count_given_up(&self) -> Result<(), BufferError> {
        let before: u64 = parsed(&self.meta("given_up")?.unwrap_or("0".to_owned()))?;
        self.set_meta("given_up", &(before + 1).to_string())
    }

    fn free_pages(&self) -> Result<u64, BufferError> {
        self.pragma("freelist_count")
    }

    fn pragma(&self, name: &str) -> Result<u64, BufferError> {
        pragma(&self.connection, name)
    }
}

/// Returns the bytes of a database that are in use.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64, BufferError> {
    let pages = pragma(connection, "page_count")?;
    let used = pages.saturating_sub(pragma(connection, "freelist_count")?);
    Ok(used * page_bytes(connection).map_err(database("be measured"))?)
}

/// Returns the bytes of a page. SQLCipher answers in its own way, with a text.
pub(super) fn page_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let text = connection.query_row("PRAGMA cipher_page_size", [], read)?;
    text.parse().ok().filter(|&bytes| bytes > 0).ok_or(rusqlite::Error::InvalidQuery)
}

fn pragma(connection: &Connection, name: &str) -> Result<u64, BufferError> {
    let found = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    found.map(i64::unsigned_abs).map_err(database("be measured"))
}

/// Whether the disk lets the file grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Squeezed {
    /// It has refused to.
    Yes,
    /// It does, as far as is known.
    No,
}
