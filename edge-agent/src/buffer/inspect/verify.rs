//! Is the buffer whole? Every page by its checksum and structure, every reference, every sequence, and
//! every batch's figures against its bytes, and every day's sum against its batches. Read-only, in short
//! transactions.

use std::panic::resume_unwind;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use shared::minute::StoreMinute;
use shared::ranges::Ranges;

use super::days::Days;
use super::{InspectError, Inspector};
use crate::buffer::BufferError;
use crate::buffer::sqlite::{database, meta, rows};

/// Faults that are told; more say nothing new.
const FAULTS_MAX: usize = 100;

/// Batches that are read in one transaction.
const BATCHES_AT_ONCE: u32 = 200;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Pages of the file.
    pub pages: i64,
    /// Batches read.
    pub batches: u64,
    /// What is wrong; nothing where the buffer is whole.
    pub faults: Vec<String>,
}

impl Verdict {
    fn fault(&mut self, fault: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault.into());
        }
    }
}

impl Inspector {
    /// Checks all of it.
    pub fn verify(&self) -> Result<Verdict, InspectError> {
        let other = Self::open(&self.path, &self.key)?;
        // Pages and batches by two at once: each takes about as long as the other.
        let (pages, batches) = std::thread::scope(|scope| {
            let batches = scope.spawn(move || verify_batches(&other.connection));
            let pages = verify_pages(&self.connection);
            (pages, batches.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (mut verdict, batches) =
            (pages.map_err(InspectError::Buffer)?, batches.map_err(InspectError::Buffer)?);
        verdict.batches = batches.batches;
        batches.faults.into_iter().for_each(|fault| verdict.fault(fault));
        Ok(verdict)
    }
}

/// Checks each page, what the tables are made of, and what refers to what.
fn verify_pages(connection: &Connection) -> Result<Verdict, BufferError> {
    let mut verdict = Verdict::default();
    let one =
        |sql: &str| connection.query_row(sql, [], |row| row.get(0)).map_err(database("be read"));
    verdict.pages = one("PRAGMA page_count")?;
    let checks = [
        ("a page's checksum", "PRAGMA cipher_integrity_check"),
        ("structure", "PRAGMA integrity_check"),
        ("a reference", "PRAGMA foreign_key_check"),
    ];
    // The first looks at the file alone. Under a log pages may be half copied, after a power cut as
    // beside an agent at work; all that counts is read through the log by the second.
    for (what, sql) in checks.into_iter().skip(usize::from(has_log(connection))) {
        for found in rows(connection, sql, &[], text_of)? {
            if found != "ok" {
                verdict.fault(format!("{what}: {found}"));
            }
        }
    }
    Ok(verdict)
}

/// Checks sequences, where batches stand, and what they and the days sum up to.
fn verify_batches(connection: &Connection) -> Result<Verdict, BufferError> {
    let mut verdict = Verdict::default();
    sequences(connection, &mut verdict)?;
    standings(connection, &mut verdict)?;
    batches(connection, &mut verdict)?;
    Ok(verdict)
}

/// Tells whether a write-ahead log lies over the file.
fn has_log(connection: &Connection) -> bool {
    let log = connection.path().map(|path| format!("{path}-wal"));
    log.and_then(|log| std::fs::metadata(log).ok()).is_some_and(|log| log.len() > 0)
}

/// Returns a row of a PRAGMA as one text.
fn text_of(row: &Row<'_>) -> rusqlite::Result<String> {
    let columns = row.as_ref().column_count();
    let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
    let shown = |value: rusqlite::types::Value| match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Null
        | rusqlite::types::Value::Real(_)
        | rusqlite::types::Value::Blob(_) => "-".to_owned(),
    };
    values.map(|value| value.map(shown)).collect::<Result<Vec<_>, _>>().map(|all| all.join(" "))
}

/// Sequences have no hole above what was forgotten after its time.
fn sequences(connection: &Connection, verdict: &mut Verdict) -> Result<(), BufferError> {
    // One view of all of it: beside an agent at work a batch may be cut at any time.
    let view = connection.unchecked_transaction().map_err(database("be read"))?;
    let connection = &*view;
    let number = |name: &str| -> Result<i64, BufferError> {
        let text = meta(connection, name)?.unwrap_or_else(|| "0".to_owned());
        text.parse().map_err(|_| BufferError::Unreadable(format!("{name} = {text:?}")))
    };
    let (next, forgotten) = (number("next_sequence")?, number("forgotten_sequence")?);
    let sql = "SELECT sequence FROM outbox WHERE sequence > ?1 ORDER BY sequence";
    let failed = database("be read");
    let mut statement = connection.prepare(sql).map_err(&failed)?;
    let mut found = statement.query(params![forgotten]).map_err(&failed)?;
    let abandoned = abandoned(connection)?;
    let named = |first: i64, last: i64| {
        (first..=last).all(|number| abandoned.contains(number.unsigned_abs()))
    };
    let mut expected = forgotten + 1;
    while let Some(row) = found.next().map_err(&failed)? {
        let sequence: i64 = row.get(0).map_err(&failed)?;
        if sequence != expected && !named(expected, sequence - 1) {
            verdict.fault(format!("batches {expected} to {} are missing", sequence - 1));
        }
        expected = sequence + 1;
    }
    if expected != next && !named(expected, next - 1) {
        verdict.fault(format!("the next batch would be {next}, the last one is {}", expected - 1));
    }
    Ok(())
}

/// Every batch either waits or is delivered, and nothing else is said to.
fn standings(connection: &Connection, verdict: &mut Verdict) -> Result<(), BufferError> {
    let sql = format!(
        "SELECT sequence, sum(is_batch), sum(waits), sum(is_delivered) FROM \
               (SELECT sequence, 1 AS is_batch, 0 AS waits, 0 AS is_delivered FROM outbox UNION ALL \
                SELECT sequence, 0, 1, 0 FROM waiting UNION ALL \
                SELECT sequence, 0, 0, 1 FROM delivered) \
               GROUP BY sequence HAVING sum(is_batch) <> 1 OR sum(waits) + sum(is_delivered) <> 1 \
               LIMIT {FAULTS_MAX}"
    );
    let read = |row: &Row<'_>| {
        let of: [i64; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((row.get::<_, i64>(0)?, of))
    };
    for (sequence, of) in rows(connection, &sql, &[], read)? {
        verdict.fault(match of {
            [0, _, _] => format!("{sequence} is said to wait or to be delivered, and is no batch"),
            [_, 0, _] => format!("batch {sequence} neither waits nor is it delivered"),
            _ => format!("batch {sequence} waits and is delivered"),
        });
    }
    Ok(())
}

/// Returns the sequences that a repair has named: they are no hole.
pub(in crate::buffer) fn abandoned(connection: &Connection) -> Result<Ranges, BufferError> {
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let mut found = Ranges::new();
    for (first, last) in rows(connection, "SELECT first, last FROM abandoned", &[], read)? {
        if first > last || first < 1 {
            return Err(BufferError::Unreadable(format!("the range {first} to {last}")));
        }
        found.insert_range(first.unsigned_abs(), last.unsigned_abs());
    }
    Ok(found)
}

/// Every batch is readable, its columns say what its bytes hold, and so does the sum of its day.
fn batches(connection: &Connection, verdict: &mut Verdict) -> Result<(), BufferError> {
    let mut days = Days::of(connection)?;
    let sql = "SELECT sequence, body, receipts, total_cents FROM outbox \
               WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let read = |row: &Row<'_>| {
        let (receipts, cents): (i64, i64) = (row.get(2)?, row.get(3)?);
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, receipts, cents))
    };
    let mut after = 0;
    loop {
        let part = rows(connection, sql, params![after, BATCHES_AT_ONCE], read)?;
        let Some(last) = part.last().map(|row| row.0) else { break };
        for (sequence, body, receipts, cents) in part {
            verdict.batches += 1;
            match serde_json::from_slice::<StoreMinute>(&body) {
                Ok(batch) => {
                    if sums(&batch) != (i128::from(receipts), i128::from(cents)) {
                        verdict.fault(format!("batch {sequence}: its sums are not its bytes'"));
                    }
                    days.add(&batch);
                }
                Err(error) => verdict.fault(format!("batch {sequence} is not readable: {error}")),
            }
        }
        after = last;
    }
    for told in days.wrong(connection)? {
        let (till, day) = (&told.till, told.business_day);
        verdict.fault(format!("the sum of till {till} on {day} is not what its batches hold"));
    }
    Ok(())
}

/// Returns a batch's receipts and their total.
pub(in crate::buffer) fn sums(batch: &StoreMinute) -> (i128, i128) {
    let receipts = batch.tills.iter().map(|till| i128::from(till.receipt_count)).sum();
    (receipts, batch.tills.iter().map(|till| i128::from(till.total_cents.0)).sum())
}
