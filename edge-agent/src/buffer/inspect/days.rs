//! Do the sums of days hold what the batches hold that they speak of, and the minutes still open? They
//! are counted receipt by receipt by another way than batches are cut, so each proves the other.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use shared::digest::{DayDigest, DayOfTill, KeySum};
use shared::ids::{Series, TillId};
use shared::minute::StoreMinute;
use shared::receipt::Receipt;
use shared::time::BusinessDay;

use crate::aggregate::fold::Corrected;
use crate::buffer::BufferError;
use crate::buffer::sqlite::digests::digests;
use crate::buffer::sqlite::{database, from_json, meta, parsed, rows};

/// A till's business day within a series.
type Name = (BusinessDay, TillId, Series);

/// What batches or receipts hold of each day.
#[derive(Debug, Default)]
pub(super) struct Days {
    /// From which batch on a day is summed up; all of a day that has no sum yet.
    firsts: BTreeMap<Name, u64>,
    held: BTreeMap<Name, Held>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    receipts: i128,
    cents: i128,
    keys: KeySum,
}

impl Days {
    /// Begins with nothing, for the sums that the buffer has now.
    pub(super) fn of(connection: &Connection) -> Result<Self, BufferError> {
        let named = |told: DayDigest| (name(&told), told.first_sequence.get());
        let firsts = digests(connection)?.into_iter().map(named).collect();
        Ok(Self { firsts, held: BTreeMap::new() })
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, batch: &StoreMinute) {
        for till in &batch.tills {
            let name = (batch.business_day, till.till.clone(), till.series.clone());
            if self.firsts.get(&name).is_some_and(|&first| batch.sequence.get() < first) {
                continue;
            }
            let day = day_of(&name);
            let held = self.held.entry(name.clone()).or_default();
            held.receipts += i128::from(till.receipt_count);
            held.cents += i128::from(till.total_cents.0);
            let numbers = till.receipts.iter().flat_map(|(first, last)| first..=last);
            numbers.for_each(|number| held.keys.add(&day, &number.to_string()));
            till.receipt_ids.iter().for_each(|id| held.keys.add(&day, id.as_str()));
        }
    }

    fn add_receipt(&mut self, receipt: &Receipt, day: BusinessDay) {
        if receipt.counts {
            let name = (day, receipt.till.clone(), receipt.series.clone());
            let of = day_of(&name);
            let held = self.held.entry(name.clone()).or_default();
            held.receipts += 1;
            held.cents += i128::from(receipt.total_cents.0);
            held.keys.add(&of, receipt.receipt.as_str());
        }
    }

    fn add_correction(&mut self, corrected: &Corrected, day: BusinessDay) {
        let name = (day, corrected.before.till.clone(), corrected.before.series.clone());
        self.held.entry(name).or_default().cents += i128::from(corrected.total_cents().0);
    }

    fn holds(&self, told: &DayDigest) -> bool {
        let (receipts, cents) = (i128::from(told.receipts), i128::from(told.cents.0));
        let told_of = Held { receipts, cents, keys: told.keys };
        self.held.get(&name(told)).unwrap_or(&Held::default()) == &told_of
    }

    /// Returns the sums that are not what was added. Days with minutes still open, and those that changed
    /// while the batches were read, are looked at once more, each in one view of all of it.
    pub(super) fn wrong(&self, connection: &Connection) -> Result<Vec<DayDigest>, BufferError> {
        let mut doubtful = digests(connection)?;
        doubtful.retain(|told| !self.holds(told));
        let mut days: Vec<BusinessDay> = doubtful.iter().map(|told| told.business_day).collect();
        days.sort_unstable();
        days.dedup();
        let mut wrong = Vec::new();
        for day in days {
            wrong.extend(wrong_in_one_view(connection, day)?);
        }
        Ok(wrong)
    }
}

/// Returns the sums of one day that are not what its batches and open minutes hold. Of a sum that speaks
/// of batches forgotten since, nothing can be said.
fn wrong_in_one_view(
    connection: &Connection,
    day: BusinessDay,
) -> Result<Vec<DayDigest>, BufferError> {
    let view = connection.unchecked_transaction().map_err(database("be read"))?;
    let forgotten = meta(&view, "forgotten_sequence")?.unwrap_or_else(|| "0".to_owned());
    let forgotten: u64 = parsed(&forgotten)?;
    let mut days = Days::of(&view)?;
    read_batches(&view, day, &mut days)?;
    read_open(&view, day, &mut days)?;
    let mut told = digests(&view)?;
    told.retain(|told| {
        let decided = told.first_sequence.get() > forgotten;
        told.business_day == day && decided && !days.holds(told)
    });
    Ok(told)
}

fn read_batches(view: &Connection, day: BusinessDay, days: &mut Days) -> Result<(), BufferError> {
    let failed = database("be read");
    let sql = "SELECT body FROM outbox WHERE business_day = ?1";
    let mut statement = view.prepare(sql).map_err(&failed)?;
    let mut rows = statement.query(params![day.to_string()]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let body: Vec<u8> = row.get(0).map_err(&failed)?;
        // One that is not readable is told by itself.
        if let Ok(batch) = serde_json::from_slice(&body) {
            days.add(&batch);
        }
    }
    Ok(())
}

fn read_open(view: &Connection, day: BusinessDay, days: &mut Days) -> Result<(), BufferError> {
    let sql = "SELECT kind, body FROM open_minute \
               WHERE business_day = ?1 AND kind IN ('receipt', 'correction')";
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    for (kind, body) in rows(view, sql, params![day.to_string()], read)? {
        if kind == "receipt" {
            days.add_receipt(&from_json(&body)?, day);
        } else {
            days.add_correction(&from_json(&body)?, day);
        }
    }
    Ok(())
}

fn name(told: &DayDigest) -> Name {
    (told.business_day, told.till.clone(), told.series.clone())
}

fn day_of(name: &Name) -> DayOfTill<'_> {
    DayOfTill { till: name.1.as_str(), series: name.2.as_str(), business_day: name.0 }
}
