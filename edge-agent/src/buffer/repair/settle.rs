//! What the rows of a repaired buffer mean together: which sequences are gone, what a batch already
//! holds, which receipts are in nothing that can be read.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row, ToSql, params};
use shared::ids::{Label, ReceiptNumber, StreamId, TillId};
use shared::minute::{Closing, Loss, StoreMinute};
use shared::money::Cents;
use shared::ranges::Ranges;
use shared::receipt::Receipt;
use shared::time::{Minute, Timestamp};

use super::Repaired;
use crate::aggregate::fold::Corrected;
use crate::buffer::counter::{Mark, machine_hash};
use crate::buffer::sqlite::known::{Under, merge};
use crate::buffer::sqlite::version::VERSION;
use crate::buffer::sqlite::{database, digests, from_json, id_time, meta, parsed, rows};
use crate::buffer::{Binding, BufferError, Settings, spelled};

/// Rows that are read at once.
const ROWS_AT_ONCE: u32 = 200;

/// What the batches and the open minutes that can be read hold.
#[derive(Default)]
struct Counted {
    stream: Option<StreamId>,
    sequences: Ranges,
    /// Per till and series, as batches name it, what counts and what was no sale.
    tills: BTreeMap<(String, String), Numbers>,
    ids: BTreeSet<(String, String, String)>,
    movements: BTreeSet<String>,
    closings: BTreeSet<String>,
    corrections: BTreeSet<String>,
}

struct Numbers {
    sales: Ranges,
    others: Ranges,
    first: Minute,
    last: Minute,
}

/// Makes the rows that came back a buffer that can go on.
pub(super) fn settle(
    made: &Connection,
    (settings, binding, mark): (&Settings, &Binding, Option<&Mark>),
    repaired: &mut Repaired,
) -> Result<(), BufferError> {
    let mut counted = Counted::default();
    unfit(made, repaired)?;
    counted.read_batches(made, repaired)?;
    what_waits(made)?;
    let stream = match (meta(made, "stream")?, counted.stream, mark) {
        (Some(stream), _, _) => parsed(&stream)?,
        (None, Some(stream), _) => stream,
        (None, None, Some(mark)) => mark.stream,
        (None, None, None) => StreamId::new(id_time(settings.now)),
    };
    let own_mark = mark.filter(|mark| mark.stream == stream).map_or(0, |mark| mark.sequence);
    sequences(made, (stream, own_mark), &counted, repaired)?;
    note(made, settings, binding)?;
    close_what_is_cut(made, &counted, repaired)?;
    counted.read_open(made)?;
    counted.remember(made, settings.now)?;
    what_is_in_nothing(made, (settings, stream), &counted, repaired)?;
    units_without_bytes(made, repaired)?;
    // Sums that may count what is lost, or of another time, say nothing any more.
    if repaired.is_whole() { Ok(()) } else { digests::begin_anew(made, settings.now) }
}

/// Notes which batches wait: all of which nothing says that they are delivered. The centre knows one
/// that comes again.
fn what_waits(made: &Connection) -> Result<(), BufferError> {
    let sql = "DELETE FROM delivered WHERE sequence NOT IN (SELECT sequence FROM outbox); \
               INSERT INTO waiting (sequence) SELECT sequence FROM outbox \
               WHERE sequence NOT IN (SELECT sequence FROM delivered)";
    made.execute_batch(sql).map_err(database("note what waits"))
}

/// Names the sequences that are gone.
fn sequences(
    made: &Connection,
    (stream, handed_over): (StreamId, u64),
    counted: &Counted,
    repaired: &mut Repaired,
) -> Result<(), BufferError> {
    let number = |name: &str| -> Result<u64, BufferError> {
        meta(made, name)?.map_or(Ok(0), |text| parsed(&text))
    };
    let cut = number("next_sequence")?.saturating_sub(1);
    let highest = cut.max(counted.sequences.last().unwrap_or(0)).max(handed_over);
    let mut known = counted.sequences.clone();
    let forgotten = number("forgotten_sequence")?;
    if forgotten > 0 {
        known.insert_range(1, forgotten);
    }
    for (first, last) in crate::buffer::inspect::abandoned(made)?.iter() {
        known.insert_range(first, last);
    }
    for (first, last) in known.missing_up_to(highest) {
        let sql = "INSERT INTO abandoned (first, last) VALUES (?1, ?2)";
        made.execute(sql, params![first.cast_signed(), last.cast_signed()])
            .map_err(database("name what is gone"))?;
        repaired.abandoned.insert_range(first, last);
    }
    set(made, "stream", &stream.to_string())?;
    // Any of them may have gone out: none is given up for want of room.
    set(made, "handed_through", &highest.to_string())?;
    set(made, "next_sequence", &(highest + 1).to_string())
}

/// Notes what the buffer is, as far as that did not come back, and that it is no first one.
fn note(made: &Connection, settings: &Settings, binding: &Binding) -> Result<(), BufferError> {
    set(made, "schema", VERSION)?;
    set(made, "counted_before", "1")?;
    set(made, "created_at", &settings.now.to_string())?;
    let machine = settings.machine_id.as_deref().map(machine_hash);
    let store = Some(binding.store.to_string());
    let zero = Some("0".to_owned());
    for (name, value) in [("duplicates", zero), ("store", store), ("machine", machine)] {
        let sql = "INSERT OR IGNORE INTO meta (name, value) VALUES (?1, ?2)";
        if let Some(value) = value {
            made.execute(sql, [name, &value]).map_err(database("note its state"))?;
        }
    }
    Ok(())
}

fn set(made: &Connection, name: &str, value: &str) -> Result<(), BufferError> {
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    made.execute(sql, [name, value]).map_err(database("note its state")).map(|_| ())
}

impl Counted {
    /// Adds what the batches hold. One whose bytes are not what its columns say is as good as gone.
    fn read_batches(
        &mut self,
        made: &Connection,
        repaired: &mut Repaired,
    ) -> Result<(), BufferError> {
        let sql = "SELECT sequence, body, receipts, total_cents FROM outbox \
                   WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let read = |row: &Row<'_>| {
            let sums: (i64, i64) = (row.get(2)?, row.get(3)?);
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, sums))
        };
        let mut after = i64::MIN;
        loop {
            let part = rows(made, sql, params![after, ROWS_AT_ONCE], read)?;
            let Some(last) = part.last().map(|row| row.0) else { return Ok(()) };
            for (sequence, body, sums) in part {
                let batch = serde_json::from_slice::<StoreMinute>(&body).ok().filter(|batch| {
                    let (receipts, cents) = crate::buffer::inspect::sums(batch);
                    let own = (i128::from(sums.0), i128::from(sums.1));
                    batch.sequence.get().cast_signed() == sequence && (receipts, cents) == own
                });
                let Some(batch) = batch else {
                    made.execute("DELETE FROM outbox WHERE sequence = ?1", [sequence])
                        .map_err(database("forget a batch"))?;
                    repaired.lose(format!("batch {sequence}: its bytes are not what it held"));
                    continue;
                };
                self.stream = Some(batch.stream);
                self.sequences.insert(sequence.unsigned_abs());
                self.add(batch);
            }
            after = last;
        }
    }

    fn add(&mut self, batch: StoreMinute) {
        for till in batch.tills {
            let name = (till.till.to_string(), till.series.to_string());
            for id in till.receipt_ids {
                self.ids.insert((name.0.clone(), name.1.clone(), id.to_string()));
            }
            let numbers = self.numbers(name, batch.minute);
            for (first, last) in till.receipts.iter() {
                numbers.sales.insert_range(first, last);
            }
            for (first, last) in till.numbers_without_sale.iter() {
                numbers.others.insert_range(first, last);
            }
        }
        self.movements.extend(batch.stock.iter().map(|movement| movement.id.to_string()));
        let closing = |it: &Closing| closing_id(it);
        self.closings.extend(batch.closings.iter().map(closing));
        for it in batch.corrections {
            let id = correction_id((&it.till, it.series.as_str(), &it.receipt), it.total_cents);
            self.corrections.insert(id);
        }
    }

    fn numbers(&mut self, name: (String, String), minute: Minute) -> &mut Numbers {
        let numbers = self.tills.entry(name).or_insert_with(|| Numbers {
            sales: Ranges::new(),
            others: Ranges::new(),
            first: minute,
            last: minute,
        });
        (numbers.first, numbers.last) = (numbers.first.min(minute), numbers.last.max(minute));
        numbers
    }

    /// Returns true where a batch holds the receipt.
    fn holds(&self, receipt: &Receipt) -> bool {
        let name = (receipt.till.to_string(), receipt.series.to_string());
        let Some(number) = receipt.receipt.as_number() else {
            let (till, series) = name;
            return self.ids.contains(&(till, series, receipt.receipt.to_string()));
        };
        let numbers = self.tills.get(&name);
        numbers.is_some_and(|held| {
            if receipt.counts { held.sales.contains(number) } else { held.others.contains(number) }
        })
    }

    /// Adds the receipts of open minutes.
    fn read_open(&mut self, made: &Connection) -> Result<(), BufferError> {
        for_each_open(made, "receipt", |_, body| {
            let receipt: Receipt = from_json(body)?;
            let name = (receipt.till.to_string(), receipt.series.to_string());
            match receipt.receipt.as_number() {
                Some(number) => {
                    let numbers = self.numbers(name, receipt.ended_at.minute());
                    let of = if receipt.counts { &mut numbers.sales } else { &mut numbers.others };
                    of.insert(number);
                }
                None => {
                    self.ids.insert((name.0, name.1, receipt.receipt.to_string()));
                }
            }
            Ok(())
        })
    }

    /// Adds what is counted to what is remembered of receipt numbers, where that did not come back.
    fn remember(&self, made: &Connection, now: Timestamp) -> Result<(), BufferError> {
        for ((till, series), numbers) in &self.tills {
            let span = (numbers.first, numbers.last);
            for (purpose, counted) in [("sale", &numbers.sales), ("other", &numbers.others)] {
                merge(made, &Under { till, series, purpose }, counted, span, now)?;
            }
        }
        Ok(())
    }
}

/// Forgets rows whose text is not what it is for: pages of different times can make such ones.
fn unfit(made: &Connection, repaired: &mut Repaired) -> Result<(), BufferError> {
    type Is = fn(&str) -> bool;
    fn is<T: serde::de::DeserializeOwned>(text: &str) -> bool {
        serde_json::from_str::<T>(text).is_ok()
    }
    let rules: [(&str, &str, Is); 6] = [
        ("open_minute", "kind = 'receipt'", is::<Receipt>),
        ("open_minute", "kind = 'movement'", is::<shared::receipt::StockMovement>),
        ("open_minute", "kind = 'closing'", is::<Closing>),
        ("open_minute", "kind = 'correction'", is::<Corrected>),
        ("loss", "true", is::<Loss>),
        ("receipt_key", "true", is::<Ranges>),
    ];
    let sql = "DELETE FROM versioned_receipt WHERE NOT json_valid(body)";
    let count = made.execute(sql, []).map_err(database("forget a row"))?;
    if count > 0 {
        repaired.lose(format!("{count} rows of table versioned_receipt that say nothing"));
    }
    for (table, which, fits) in rules {
        let text = if table == "receipt_key" { "ranges" } else { "body" };
        let sql = format!("SELECT {text} FROM {table} WHERE {which}");
        let texts = rows(made, &sql, &[], |row| row.get::<_, String>(0))?;
        for found in texts.iter().filter(|text| !fits(text)) {
            let sql = format!("DELETE FROM {table} WHERE {which} AND {text} = ?1");
            made.execute(&sql, [found]).map_err(database("forget a row"))?;
            repaired.lose(format!("a row of table {table} that says nothing"));
        }
    }
    Ok(())
}

/// Goes over the open rows of a kind in small parts.
fn for_each_open(
    made: &Connection,
    kind: &str,
    mut work: impl FnMut(i64, &str) -> Result<(), BufferError>,
) -> Result<(), BufferError> {
    let sql = "SELECT id, body FROM open_minute WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
    let mut after = i64::MIN;
    loop {
        let part = rows(made, sql, params![kind, after, ROWS_AT_ONCE], read)?;
        let Some(last) = part.last().map(|row| row.0) else { return Ok(()) };
        for (id, body) in part {
            work(id, &body)?;
        }
        after = last;
    }
}

/// Forgets open rows that a batch holds, and lets every receipt that stays go alone.
fn close_what_is_cut(
    made: &Connection,
    counted: &Counted,
    repaired: &mut Repaired,
) -> Result<(), BufferError> {
    let mut cut = Vec::new();
    for kind in ["receipt", "movement", "closing", "correction"] {
        for_each_open(made, kind, |id, body| {
            let is_cut = match kind {
                "receipt" => counted.holds(&from_json(body)?),
                "movement" => {
                    let movement: shared::receipt::StockMovement = from_json(body)?;
                    counted.movements.contains(movement.id.as_str())
                }
                "closing" => counted.closings.contains(&closing_id(&from_json(body)?)),
                _ => {
                    let it: Corrected = from_json(body)?;
                    let own = (&it.after.till, it.after.series.as_str(), &it.after.receipt);
                    counted.corrections.contains(&correction_id(own, it.total_cents()))
                }
            };
            cut.extend(is_cut.then_some(id));
            Ok(())
        })?;
    }
    for id in &cut {
        made.execute("DELETE FROM open_minute WHERE id = ?1", [id])
            .map_err(database("forget what is cut"))?;
    }
    if let Some(open) = repaired.rows.get_mut("open_minute") {
        *open -= cut.len() as u64;
    }
    made.execute("UPDATE open_minute SET alone = 1 WHERE kind = 'receipt'", [])
        .map_err(database("forget what is cut"))
        .map(|_| ())
}

/// Finds receipts that were taken in and are in nothing that can be read. Their numbers are forgotten,
/// so that a backfill can bring them. Where no batch is gone they were never sent: they are losses.
fn what_is_in_nothing(
    made: &Connection,
    (settings, stream): (&Settings, StreamId),
    counted: &Counted,
    repaired: &mut Repaired,
) -> Result<(), BufferError> {
    let sql = "SELECT till, series, spell, receipt, total_cents, at FROM receipt_hash \
               WHERE purpose = 'sale'";
    let read = |row: &Row<'_>| {
        let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(3)?, row.get(5)?];
        Ok((texts, row.get::<_, u32>(2)?, row.get::<_, i64>(4)?))
    };
    let mut sums: BTreeMap<(String, String), (u64, i64)> = BTreeMap::new();
    for ([till, series, receipt, at], spell, cents) in rows(made, sql, &[], read)? {
        let name = (till.clone(), spelled(&series, spell));
        let number = parsed::<ReceiptNumber>(&receipt)?.as_number();
        let is_held = match number {
            Some(number) => {
                counted.tills.get(&name).is_some_and(|held| held.sales.contains(number))
            }
            None => counted.ids.contains(&(name.0, name.1, receipt.clone())),
        };
        if is_held {
            continue;
        }
        forget(made, (&till, &series, spell), (&receipt, number))?;
        let minute = parsed::<Timestamp>(&at).unwrap_or(settings.now).minute().to_string();
        let sum = sums.entry((till, minute)).or_default();
        *sum = (sum.0 + 1, sum.1 + cents);
    }
    for ((till, minute), (count, cents)) in sums {
        repaired.lose(format!(
            "{count} receipts of till {till}, {cents} cents, read at {minute}: `backfill` brings them"
        ));
        if repaired.abandoned.is_empty() {
            lose(made, (stream, &till, &minute), (count, cents))?;
        }
    }
    Ok(())
}

fn forget(
    made: &Connection,
    (till, series, spell): (&str, &str, u32),
    (receipt, number): (&str, Option<u64>),
) -> Result<(), BufferError> {
    let failed = database("forget a receipt");
    let sql = "DELETE FROM receipt_hash WHERE till = ?1 AND series = ?2 AND purpose = 'sale' \
               AND spell = ?3 AND receipt = ?4";
    made.execute(sql, params![till, series, spell, receipt]).map_err(&failed)?;
    let sql = "DELETE FROM fiscal_key WHERE till = ?1 AND series = ?2 AND receipt = ?3";
    made.execute(sql, params![till, series, receipt]).map_err(&failed)?;
    let Some(number) = number else { return Ok(()) };
    let sql = "SELECT ranges FROM receipt_key \
               WHERE till = ?1 AND series = ?2 AND purpose = 'sale' AND spell = ?3";
    let key: [&dyn ToSql; 3] = [&till, &series, &spell];
    let Some(before) = rows(made, sql, &key, |row| row.get::<_, String>(0))?.pop() else {
        return Ok(());
    };
    let before: Ranges = from_json(&before)?;
    let mut kept = Ranges::new();
    for (first, last) in before.iter() {
        if !(first..=last).contains(&number) {
            kept.insert_range(first, last);
            continue;
        }
        if first < number {
            kept.insert_range(first, number - 1);
        }
        if number < last {
            kept.insert_range(number + 1, last);
        }
    }
    let kept = serde_json::to_string(&kept).expect("ranges are JSON");
    let sql = "UPDATE receipt_key SET ranges = ?4 \
               WHERE till = ?1 AND series = ?2 AND purpose = 'sale' AND spell = ?3";
    made.execute(sql, params![till, series, spell, kept]).map_err(&failed).map(|_| ())
}

fn lose(
    made: &Connection,
    (stream, till, minute): (StreamId, &str, &str),
    (count, cents): (u64, i64),
) -> Result<(), BufferError> {
    let label =
        |text: &str| Label::new(text).map_err(|error| BufferError::Unreadable(error.to_string()));
    let loss = Loss {
        id: label(&format!("{stream}/repair/{till}/{minute}"))?,
        till: Some(parsed::<TillId>(till)?),
        minute: parsed(minute)?,
        count,
        cents: Cents(cents),
        reason: label("unreadable in the damaged buffer")?,
    };
    let body = serde_json::to_string(&loss).expect("a loss is JSON");
    let sql = "INSERT OR IGNORE INTO loss (id, minute, body) VALUES (?1, ?2, ?3)";
    made.execute(sql, params![loss.id.as_str(), minute, body])
        .map_err(database("note a loss"))
        .map(|_| ())
}

/// Forgets what was set aside of which the bytes are gone.
fn units_without_bytes(made: &Connection, repaired: &mut Repaired) -> Result<(), BufferError> {
    let sql = "DELETE FROM quarantine WHERE hash NOT IN (SELECT hash FROM quarantine_unit) \
               RETURNING id, reason";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
    for (id, reason) in rows(made, sql, &[], read)? {
        repaired.lose(format!("the bytes of what was set aside as {id}: {reason}"));
    }
    Ok(())
}

fn closing_id(closing: &Closing) -> String {
    serde_json::to_string(&(&closing.tills, &closing.closing, &closing.source)).expect("texts")
}

fn correction_id((till, series, receipt): (&TillId, &str, &ReceiptNumber), cents: Cents) -> String {
    format!("{till}/{series}/{receipt}/{}", cents.0)
}
