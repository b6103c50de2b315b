//! Taking in what a source read: what is new joins its open minute, a second copy is counted and
//! dropped, what must not count is set aside with its bytes.

use rusqlite::params;
use shared::ids::TillId;

use super::{Sqlite, parsed};
use crate::aggregate::open::Slot;
use crate::buffer::{BufferError, Entry, Intake, IntakeUnit, Sharing, Taken};
use crate::digest;

mod correction;
mod document;
mod fiscal;
mod receipt;

use receipt::Incoming;

/// Bytes of JSON that one receipt or movement may have: it must fit a batch alone.
const ENTRY_BYTES_MAX: usize = shared::wire::BODY_BYTES_MAX - 20_000;

impl Sqlite {
    /// Takes an intake in, within the caller's transaction.
    pub(in crate::buffer) fn take(&self, intake: &Intake) -> Result<Taken, BufferError> {
        self.make_room(intake)?;
        let mut taken = Taken::default();
        for unit in &intake.units {
            for entry in &unit.entries {
                self.take_entry(intake, unit, entry, &mut taken)?;
            }
        }
        if let Some(mark) = &intake.mark {
            let sql = "INSERT INTO source_position (source, feed, mark, updated_at) \
                       VALUES (?1, ?2, ?3, ?4) ON CONFLICT (source, feed) \
                       DO UPDATE SET mark = excluded.mark, updated_at = excluded.updated_at";
            let at = intake.at.to_string();
            self.execute("note a position", sql, &[&intake.source, &intake.feed, mark, &at])?;
        }
        if taken.duplicates > 0 {
            let before: u64 = parsed(&self.meta("duplicates")?.unwrap_or_default())?;
            self.set_meta("duplicates", &(before + taken.duplicates).to_string())?;
        }
        Ok(taken)
    }

    fn take_entry(
        &self,
        intake: &Intake,
        unit: &IntakeUnit,
        entry: &Entry,
        taken: &mut Taken,
    ) -> Result<(), BufferError> {
        let fault = match entry {
            Entry::Receipt(slot, sharing, receipt) => {
                let incoming = Incoming::new(intake, receipt);
                let fault = self.take_receipt(&incoming, (*slot, *sharing), taken)?;
                fault.map(|why| (why, Some(&receipt.till)))
            }
            Entry::Movement(slot, movement) => {
                self.take_movement(intake, *slot, movement, taken)?.map(|why| (why, None))
            }
            Entry::Closing(slot, closing) => {
                self.take_closing(intake, *slot, closing, taken)?.map(|why| (why, None))
            }
            Entry::Refused(reason, till) => Some((reason.clone(), till.as_ref())),
        };
        let Some((reason, till)) = fault else { return Ok(()) };
        taken.quarantined += 1;
        self.set_aside(intake, unit, (&reason, till))
    }

    fn add_open(&self, slot: Slot, what: (&str, Sharing), body: &str) -> Result<(), BufferError> {
        let sql = "INSERT INTO open_minute (minute, business_day, kind, alone, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let alone = i64::from(what.1 == Sharing::Alone);
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        self.execute("keep a receipt", sql, params![minute, day, what.0, alone, body]).map(|_| ())
    }

    fn notice(&self, till: &TillId, (again, aside): (u64, u64)) -> Result<(), BufferError> {
        let sql = "INSERT INTO till_notice (till, duplicates, quarantined) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (till) DO UPDATE SET duplicates = duplicates + excluded.duplicates, \
                   quarantined = quarantined + excluded.quarantined";
        self.execute(
            "count a copy",
            sql,
            params![till.as_str(), again.cast_signed(), aside.cast_signed()],
        )
        .map(|_| ())
    }

    /// Sets a unit aside with its bytes; the same bytes are kept once, whatever is wrong in them, and
    /// the same reason is told once.
    fn set_aside(
        &self,
        intake: &Intake,
        unit: &IntakeUnit,
        (reason, till): (&str, Option<&TillId>),
    ) -> Result<(), BufferError> {
        let hash = digest::of(&unit.bytes).to_vec();
        let (start, end) = (unit.start.cast_signed(), unit.end.cast_signed());
        let at = intake.at.to_string();
        let again = "UPDATE quarantine SET seen = seen + 1, last_at = ?3 \
                     WHERE hash = ?1 AND reason = ?2";
        if self.execute("set a unit aside", again, params![hash, reason, at])? > 0 {
            return Ok(());
        }
        let sql =
            "INSERT INTO quarantine_unit (hash, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.execute("set a unit aside", sql, params![hash, unit.bytes])?;
        let sql = "INSERT INTO quarantine (hash, reason, source, feed, first_offset, end_offset, \
                   seen, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)";
        let (source, feed) = (&intake.source, &intake.feed);
        self.execute("set a unit aside", sql, params![hash, reason, source, feed, start, end, at])?;
        till.map_or(Ok(()), |till| self.notice(till, (0, 1)))
    }
}

fn encode<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our types have text keys and no failing parts")
}
