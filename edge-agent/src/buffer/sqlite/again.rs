//! Once more: batches that the broker had confirmed and lost, and units that were set aside and are
//! read rightly now.

use rusqlite::{OptionalExtension, params};
use shared::ids::Sequence;

use super::{Sqlite, database};
use crate::buffer::{AsideUnit, BufferError, Intake, Taken};

impl Sqlite {
    /// Makes confirmed batches wait again, with the same bytes.
    pub(in crate::buffer) fn resend(
        &self,
        from: Sequence,
        to: Sequence,
    ) -> Result<u64, BufferError> {
        let (from, to) = (from.get().cast_signed(), to.get().cast_signed());
        let sql = "INSERT INTO waiting (sequence) \
                   SELECT sequence FROM delivered WHERE sequence BETWEEN ?1 AND ?2";
        self.execute("send batches again", sql, params![from, to])?;
        let sql = "DELETE FROM delivered WHERE sequence BETWEEN ?1 AND ?2";
        self.execute("send batches again", sql, params![from, to]).map(|count| count as u64)
    }

    /// Returns what was set aside under a number.
    pub(in crate::buffer) fn aside(&self, id: i64) -> Result<Option<AsideUnit>, BufferError> {
        let sql = "SELECT source, feed, first_offset, bytes \
                   FROM quarantine JOIN quarantine_unit USING (hash) WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(AsideUnit {
                source: row.get(0)?,
                feed: row.get(1)?,
                start: row.get::<_, i64>(2)?.unsigned_abs(),
                bytes: row.get(3)?,
            })
        };
        let found = self.connection.query_row(sql, [id], read).optional();
        found.map_err(database("be read"))
    }

    /// Takes in what was set aside. Fails, and so changes nothing, where any of it is refused again.
    pub(in crate::buffer) fn retry(&self, id: i64, intake: &Intake) -> Result<Taken, BufferError> {
        let taken = self.take(intake)?;
        if taken.quarantined > 0 {
            let sql = "SELECT reason FROM quarantine ORDER BY last_at DESC, id DESC LIMIT 1";
            return Err(BufferError::RefusedAgain(self.one(sql, &[])?));
        }
        let sql = "DELETE FROM quarantine WHERE id = ?1";
        self.execute("forget what was set aside", sql, params![id])?;
        Ok(taken)
    }
}
