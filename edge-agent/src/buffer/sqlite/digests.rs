//! What is counted of each till's business day in this stream, told once the day is over and again when
//! it changes. A sum begins at a sequence: what lies in batches before that is not in it.

use rusqlite::{Connection, OptionalExtension, Row, params};
use shared::digest::{DayDigest, DayOfTill, KeySum};
use shared::ids::Sequence;
use shared::minute::{Closing, StoreMinute};
use shared::money::Cents;
use shared::receipt::Receipt;
use shared::time::{BusinessDay, Timestamp};

use super::outbox::sequence_of;
use super::{Sqlite, database, from_json, meta, parsed, rows};
use crate::aggregate::fold::Corrected;
use crate::aggregate::open::Slot;
use crate::buffer::BufferError;

/// Sums that one batch tells; more wait for the next.
const DIGESTS_MAX: u32 = 32;

/// Sums that were not told yet of which one closing looks at the oldest.
const LOOKED_AT_MAX: u32 = 256;

/// Days after which a day is over, whatever its till says.
const DAYS_OPEN: i64 = 2;

/// What changes in a day's sum.
struct Change<'a> {
    day: DayOfTill<'a>,
    receipts: i64,
    cents: Cents,
    /// When it was noted.
    at: Timestamp,
}

/// A day's sum as it stands.
#[derive(Default)]
struct Sum {
    receipts: i64,
    cents: i64,
    keys: KeySum,
}

impl Sqlite {
    /// Counts a receipt under the name that its batch will give it.
    pub(super) fn count_in_day(
        &self,
        receipt: &Receipt,
        day: BusinessDay,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        count(&self.connection, receipt, day, at)
    }

    /// Adds what a later version of a counted receipt changes.
    pub(super) fn correct_in_day(
        &self,
        corrected: &Corrected,
        day: BusinessDay,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        correct(&self.connection, corrected, day, at)
    }

    /// Notes that tills were closed: what they sold up to that day is told with the next batch.
    pub(super) fn end_days(&self, closing: &Closing, day: BusinessDay) -> Result<(), BufferError> {
        let sql = "UPDATE day_digest SET ended = 1 \
                   WHERE till = ?1 AND business_day <= ?2 AND ended = 0";
        for till in &closing.tills {
            self.execute("end a day", sql, params![till.as_str(), day.to_string()])?;
        }
        Ok(())
    }

    /// Returns the sums of days that are over and of which no receipt waits in another slot than the
    /// one that is closed; the batch that is cut tells them.
    pub(super) fn tell_digests(
        &self,
        teller: Sequence,
        slot: Slot,
        at: Timestamp,
    ) -> Result<Vec<DayDigest>, BufferError> {
        let sql = "SELECT till, series, business_day, first_sequence, receipts, cents, keys FROM \
                   (SELECT * FROM day_digest WHERE told_in IS NULL ORDER BY business_day LIMIT ?1) d \
                   WHERE (ended = 1 OR business_day <= ?2 OR EXISTS (SELECT 1 FROM day_digest later \
                          WHERE later.till = d.till AND later.business_day > d.business_day)) \
                     AND NOT EXISTS (SELECT 1 FROM open_minute o WHERE o.business_day = d.business_day \
                          AND (o.business_day <> ?3 OR o.minute <> ?4)) \
                   ORDER BY business_day, till, series LIMIT ?5";
        let over = at.utc().date_naive() - chrono::TimeDelta::days(DAYS_OPEN);
        let (minute, day, over) = (slot.0.to_string(), slot.1.to_string(), over.to_string());
        let values = params![LOOKED_AT_MAX, over, day, minute, DIGESTS_MAX];
        let found = self.rows(sql, values, digest_row)?;
        let found: Vec<DayDigest> = found.into_iter().map(digest).collect::<Result<_, _>>()?;
        let sql = "UPDATE day_digest SET told_in = ?4 \
                   WHERE till = ?1 AND business_day = ?2 AND series = ?3";
        for one in &found {
            let day = one.business_day.to_string();
            let teller = teller.get().cast_signed();
            let values = params![one.till.as_str(), day, one.series.as_str(), teller];
            self.execute("tell a day's sum", sql, values)?;
        }
        Ok(found)
    }

    /// Takes back what a batch held that will never be sent, and what it told: its sums are told again.
    pub(super) fn uncount_in_days(&self, batch: &StoreMinute) -> Result<(), BufferError> {
        let sequence = batch.sequence.get().cast_signed();
        for till in &batch.tills {
            let day = DayOfTill {
                till: till.till.as_str(),
                series: till.series.as_str(),
                business_day: batch.business_day,
            };
            let Some(mut sum) = begun_by(&self.connection, &day, sequence)? else { continue };
            let numbers = till.receipts.iter().flat_map(|(first, last)| first..=last);
            numbers.for_each(|number| sum.keys.subtract(&day, &number.to_string()));
            till.receipt_ids.iter().for_each(|id| sum.keys.subtract(&day, id.as_str()));
            sum.receipts -=
                i64::try_from(till.receipt_count).expect("a batch's receipts fit 63 bits");
            sum.cents -= till.total_cents.0;
            let sql = "UPDATE day_digest SET receipts = ?4, cents = ?5, keys = ?6, told_in = NULL \
                       WHERE till = ?1 AND business_day = ?2 AND series = ?3";
            let name = (day.till, day.business_day.to_string(), day.series);
            let keys = sum.keys.bytes().as_slice();
            let values = params![name.0, name.1, name.2, sum.receipts, sum.cents, keys];
            self.execute("take a batch back", sql, values)?;
        }
        let sql = "UPDATE day_digest SET told_in = NULL WHERE told_in = ?1";
        self.execute("take a batch back", sql, params![sequence]).map(|_| ())
    }
}

/// Returns all sums as they stand.
pub(in crate::buffer) fn digests(connection: &Connection) -> Result<Vec<DayDigest>, BufferError> {
    let sql = "SELECT till, series, business_day, first_sequence, receipts, cents, keys FROM \
               day_digest";
    rows(connection, sql, &[], digest_row)?.into_iter().map(digest).collect()
}

/// Begins all sums anew with what waits in open minutes, within the caller's transaction: after this
/// the sums say nothing of batches that were cut.
pub(in crate::buffer) fn begin_anew(
    connection: &Connection,
    at: Timestamp,
) -> Result<(), BufferError> {
    let failed = database("sum up its days");
    connection.execute("DELETE FROM day_digest", []).map_err(&failed)?;
    let sql = "SELECT kind, business_day, body FROM open_minute \
               WHERE kind IN ('receipt', 'correction') ORDER BY id";
    let mut statement = connection.prepare(sql).map_err(&failed)?;
    let mut open = statement.query([]).map_err(&failed)?;
    while let Some(row) = open.next().map_err(&failed)? {
        let [kind, day, body]: [String; 3] = [
            row.get(0).map_err(&failed)?,
            row.get(1).map_err(&failed)?,
            row.get(2).map_err(&failed)?,
        ];
        if kind == "receipt" {
            count(connection, &from_json(&body)?, parsed(&day)?, at)?;
        } else {
            correct(connection, &from_json(&body)?, parsed(&day)?, at)?;
        }
    }
    Ok(())
}

fn count(
    connection: &Connection,
    receipt: &Receipt,
    day: BusinessDay,
    at: Timestamp,
) -> Result<(), BufferError> {
    if !receipt.counts {
        return Ok(());
    }
    let change = Change { day: of(receipt, day), receipts: 1, cents: receipt.total_cents, at };
    change_day(connection, &change, |keys| keys.add(&change.day, receipt.receipt.as_str()))
}

fn correct(
    connection: &Connection,
    corrected: &Corrected,
    day: BusinessDay,
    at: Timestamp,
) -> Result<(), BufferError> {
    let cents = corrected.total_cents();
    let change = Change { day: of(&corrected.before, day), receipts: 0, cents, at };
    change_day(connection, &change, |_| {})
}

fn of(receipt: &Receipt, business_day: BusinessDay) -> DayOfTill<'_> {
    DayOfTill { till: receipt.till.as_str(), series: receipt.series.as_str(), business_day }
}

/// Changes a day's sum; a day that goes on after its closing is told again when it is over.
fn change_day(
    connection: &Connection,
    change: &Change<'_>,
    add: impl FnOnce(&mut KeySum),
) -> Result<(), BufferError> {
    let Change { day, receipts, cents, at } = change;
    let failed = database("sum up a day");
    let (sum, first) = match begun_by(connection, day, i64::MAX)? {
        Some(sum) => (sum, None),
        None => (Sum::default(), Some(next_sequence(connection)?)),
    };
    let Sum { receipts: before, cents: cents_before, mut keys } = sum;
    add(&mut keys);
    let (receipts, cents) = (before + receipts, cents_before + cents.0);
    let sql = "INSERT INTO day_digest (till, business_day, series, first_sequence, receipts, cents, \
               keys, ended, told_in, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, NULL, ?8) \
               ON CONFLICT (till, business_day, series) DO UPDATE SET receipts = excluded.receipts, \
               cents = excluded.cents, keys = excluded.keys, ended = 0, told_in = NULL, \
               updated_at = excluded.updated_at";
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let (business_day, at) = (day.business_day.to_string(), at.to_string());
    let first = first.unwrap_or(1);
    let keys = keys.bytes().as_slice();
    statement
        .execute(params![day.till, business_day, day.series, first, receipts, cents, keys, at])
        .map_err(&failed)
        .map(|_| ())
}

/// Returns a day's sum where it begins no later than a sequence.
fn begun_by(
    connection: &Connection,
    day: &DayOfTill<'_>,
    sequence: i64,
) -> Result<Option<Sum>, BufferError> {
    let failed = database("sum up a day");
    let sql = "SELECT receipts, cents, keys FROM day_digest \
               WHERE till = ?1 AND business_day = ?2 AND series = ?3 AND first_sequence <= ?4";
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let values = params![day.till, day.business_day.to_string(), day.series, sequence];
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
    let found = statement.query_row(values, read).optional().map_err(&failed)?;
    let sum = |(receipts, cents, keys)| Ok(Sum { receipts, cents, keys: key_sum(keys)? });
    found.map(sum).transpose()
}

fn next_sequence(connection: &Connection) -> Result<i64, BufferError> {
    parsed(&meta(connection, "next_sequence")?.unwrap_or_default())
}

fn key_sum(bytes: Vec<u8>) -> Result<KeySum, BufferError> {
    let bytes = bytes.try_into();
    bytes.map(KeySum::from_bytes).map_err(|_| BufferError::Unreadable("a sum of keys".to_owned()))
}

type DigestRow = ([String; 3], [i64; 3], Vec<u8>);

fn digest_row(row: &Row<'_>) -> rusqlite::Result<DigestRow> {
    let texts = [row.get(0)?, row.get(1)?, row.get(2)?];
    Ok((texts, [row.get(3)?, row.get(4)?, row.get(5)?], row.get(6)?))
}

fn digest((texts, numbers, keys): DigestRow) -> Result<DayDigest, BufferError> {
    let ([till, series, day], [first, receipts, cents]) = (texts, numbers);
    Ok(DayDigest {
        till: parsed(&till)?,
        series: parsed(&series)?,
        business_day: parsed(&day)?,
        first_sequence: sequence_of(first)?,
        receipts: receipts.unsigned_abs(),
        cents: Cents(cents),
        keys: key_sum(keys)?,
    })
}
