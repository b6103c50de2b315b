//! Is this the buffer that was here before, or a copy of it? And what a buffer remembers of its origin.

use shared::ids::{Sequence, StoreId, StreamId};
use shared::ranges::Ranges;

use super::version::VERSION;
use super::{SCHEMA, Sqlite, database, id_time, parsed};
use crate::buffer::counter::{self, Counter, Mark, machine_hash};
use crate::buffer::{Binding, BufferError, Settings, Unbound};

/// Ranges of abandoned sequences that one batch tells; more wait for the next.
const ABANDONED_MAX: u32 = 100;

/// Reads the mark that a buffer is bound by.
pub(super) fn mark(binding: Option<&Binding>) -> Result<Option<Mark>, BufferError> {
    binding.map_or(Ok(None), |binding| counter::read(&binding.counter))
}

impl Sqlite {
    /// Makes the tables of a new buffer. A mark that lies there already is of the buffer
    /// before it.
    pub(super) fn make_tables(
        &self,
        settings: &Settings,
        binding: Option<&Binding>,
        before: Option<&Mark>,
    ) -> Result<(), BufferError> {
        self.connection.execute_batch(SCHEMA).map_err(database("make its tables"))?;
        self.set_meta("schema", VERSION)?;
        self.set_meta("stream", &StreamId::new(id_time(settings.now)).to_string())?;
        self.set_meta("created_at", &settings.now.to_string())?;
        self.set_meta("next_sequence", "1")?;
        self.set_meta("duplicates", "0")?;
        if let Some(before) = before {
            self.set_meta("predecessor", &before.stream.to_string())?;
            self.set_meta("counted_before", "1")?;
        }
        if let Some(binding) = binding {
            self.set_meta("store", binding.store.as_str())?;
        }
        match &settings.machine_id {
            Some(machine) => self.set_meta("machine", &machine_hash(machine)),
            None => Ok(()),
        }
    }

    /// Compares the buffer with what it is bound to, and takes the mark up.
    pub(super) fn bind(
        &self,
        settings: &Settings,
        binding: Option<&Binding>,
        before: Option<Mark>,
    ) -> Result<(), BufferError> {
        let Some(binding) = binding else { return Ok(()) };
        let machine = settings.machine_id.as_deref().map(machine_hash);
        let highest: u64 = parsed::<u64>(&self.meta("next_sequence")?.unwrap_or_default())? - 1;
        let differs = |one: &Option<String>, other: &Option<String>| matches!((one, other), (Some(one), Some(other)) if one != other);
        let predecessor = self.meta("predecessor")?;
        let store = Some(binding.store.as_str().to_owned());
        let why = if differs(&self.meta("store")?, &store) {
            Some(Unbound::OtherStore)
        } else if differs(&self.meta("machine")?, &machine) {
            Some(Unbound::OtherMachine)
        } else {
            match &before {
                // It was made and not used: its mark was not written yet.
                None => (highest > 0).then_some(Unbound::MarkGone),
                Some(mark) if mark.stream == self.stream => {
                    if differs(&mark.machine, &machine) {
                        Some(Unbound::OtherMachine)
                    } else {
                        (mark.sequence > highest).then_some(Unbound::RolledBack)
                    }
                }
                Some(mark) => {
                    let is_next = highest == 0 && predecessor == Some(mark.stream.to_string());
                    (!is_next).then_some(Unbound::OtherStream)
                }
            }
        };
        if let Some(why) = why {
            return Err(BufferError::Unbound { path: self.path.clone(), why });
        }
        let own = before.filter(|mark| mark.stream == self.stream);
        let sequence = own.map_or(0, |mark| mark.sequence);
        let mark = Mark { stream: self.stream, machine, sequence };
        self.counter.replace(Some(Counter::begin(&binding.counter, mark)?));
        Ok(())
    }

    /// Marks that all batches up to a sequence, which are committed, may have left the house.
    pub(in crate::buffer) fn raise_mark(&self, last: Sequence) -> Result<(), BufferError> {
        self.counter.borrow_mut().as_mut().map_or(Ok(()), |counter| counter.raise(last.get()))
    }

    /// Returns the store that the buffer is of.
    pub(in crate::buffer) fn store(&self) -> Result<Option<StoreId>, BufferError> {
        self.meta("store")?.map(|text| parsed(&text)).transpose()
    }

    /// Makes the mark durable.
    pub(in crate::buffer) fn sync_mark(&self) -> Result<(), BufferError> {
        self.counter.borrow_mut().as_mut().map_or(Ok(()), Counter::sync)
    }

    /// Returns sequences that no batch has told yet as abandoned; the one that is cut tells them.
    pub(super) fn take_abandoned(&self, teller: Sequence) -> Result<Ranges, BufferError> {
        let sql = "UPDATE abandoned SET told_in = ?1 WHERE first IN \
                   (SELECT first FROM abandoned WHERE told_in IS NULL ORDER BY first LIMIT ?2) \
                   RETURNING first, last";
        let teller = teller.get().cast_signed();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let mut told = Ranges::new();
        for (first, last) in self.rows(sql, &[&teller, &ABANDONED_MAX], read)? {
            told.insert_range(first.unsigned_abs(), last.unsigned_abs());
        }
        Ok(told)
    }
}
