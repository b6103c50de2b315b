//! Receipt numbers that are known without their receipts: the centre has them, or batches name them.

use rusqlite::{Connection, params};
use shared::delivered::{Delivered, DeliveredSeries};
use shared::ids::Sequence;
use shared::ranges::Ranges;
use shared::time::{Minute, Timestamp};

use super::{Sqlite, database, from_json, parsed, rows};
use crate::buffer::{BufferError, Remembered};

/// The series and spell that numbers are remembered under.
pub(in crate::buffer) struct Under<'a> {
    pub(in crate::buffer) till: &'a str,
    /// The series as batches name it.
    pub(in crate::buffer) series: &'a str,
    /// `sale` or `other`.
    pub(in crate::buffer) purpose: &'a str,
}

/// Adds numbers to those that are remembered; times matter only where none were.
pub(in crate::buffer) fn merge(
    connection: &Connection,
    under: &Under<'_>,
    counted: &Ranges,
    (first, last): (Minute, Minute),
    now: Timestamp,
) -> Result<(), BufferError> {
    let Some(number) = counted.last() else { return Ok(()) };
    let (series, spell) = unspelled(under.series);
    let sql = "SELECT ranges FROM receipt_key \
               WHERE till = ?1 AND series = ?2 AND purpose = ?3 AND spell = ?4";
    let key = params![under.till, series, under.purpose, spell];
    let before = rows(connection, sql, key, |row| row.get::<_, String>(0))?.pop();
    let mut ranges: Ranges = before.as_deref().map_or(Ok(Ranges::new()), from_json)?;
    counted.iter().for_each(|(first, last)| ranges.insert_range(first, last));
    let ranges = serde_json::to_string(&ranges).expect("ranges are JSON");
    // The end of the last minute: a smaller number after it begins a new spell.
    let last_at = last.start().plus(std::time::Duration::from_millis(59_999)).to_string();
    let sql = "INSERT INTO receipt_key (till, series, purpose, spell, ranges, \
               last_number, first_at, last_at, updated_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
               ON CONFLICT DO UPDATE SET ranges = excluded.ranges";
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let (first_at, now) = (first.start().to_string(), now.to_string());
    let (till, purpose) = (under.till, under.purpose);
    let values = params![till, series, purpose, spell, ranges, number, first_at, last_at, now];
    connection.execute(sql, values).map_err(database("remember a receipt number")).map(|_| ())
}

impl Sqlite {
    /// Remembers what the centre has.
    pub(in crate::buffer) fn remember_delivered(
        &self,
        delivered: &Delivered,
        now: Timestamp,
    ) -> Result<Remembered, BufferError> {
        let mut remembered = Remembered::default();
        for series in &delivered.tills {
            self.remember_series(series, now)?;
            remembered.series += 1;
            remembered.receipts += series.receipts.count() + series.receipt_ids.len() as u64;
        }
        self.set_meta("counted_before", "1")?;
        let next: u64 = parsed(&self.meta("next_sequence")?.unwrap_or_default())?;
        if let Some(stream) = delivered.stream
            && next == Sequence::FIRST.get()
            && stream != self.stream
        {
            self.set_meta("predecessor", &stream.to_string())?;
        }
        Ok(remembered)
    }

    fn remember_series(&self, series: &DeliveredSeries, now: Timestamp) -> Result<(), BufferError> {
        let under =
            |purpose| Under { till: series.till.as_str(), series: series.series.as_str(), purpose };
        let span = (series.first_minute, series.last_minute);
        merge(&self.connection, &under("sale"), &series.receipts, span, now)?;
        merge(&self.connection, &under("other"), &series.numbers_without_sale, span, now)?;
        let (name, spell) = unspelled(series.series.as_str());
        for id in &series.receipt_ids {
            // Without a content: whatever comes under this id is what the centre has.
            let sql = "INSERT INTO receipt_hash (till, series, purpose, spell, receipt, hash, \
                       total_cents, filled_in, is_number, at) \
                       VALUES (?1, ?2, 'sale', ?3, ?4, x'', 0, 0, 0, ?5) ON CONFLICT DO NOTHING";
            let (till, at) = (series.till.as_str(), now.to_string());
            self.execute("remember a receipt", sql, params![till, name, spell, id.as_str(), at])?;
        }
        Ok(())
    }
}

/// Takes a series apart that stands for a later spell, as `spelled` joins it.
pub(in crate::buffer) fn unspelled(name: &str) -> (&str, u32) {
    let parts = name.rsplit_once('/');
    let parts = parts.and_then(|(series, spell)| Some((series, spell.parse().ok()?)));
    parts.filter(|&(_, spell)| spell >= 2).unwrap_or((name, 1))
}
