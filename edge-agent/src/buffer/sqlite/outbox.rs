//! Closing a minute and handing its batches out. A batch's bytes are written once and never change,
//! so that sending it again sends the same.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use shared::ids::{Label, Sequence, TillId};
use shared::minute::{Counts, Loss, StoreMinute};
use shared::time::Timestamp;
use shared::wire;
use shared::words::BatchKind;

use super::room::GIVEN_UP;
use super::{Sqlite, database, from_json, parsed};
use crate::aggregate::fold::{Folder, Frame, Rung};
use crate::aggregate::open::Slot;
use crate::buffer::{BufferError, Cut, Outgoing};
use crate::digest;

/// Losses that one closing takes along; more wait for the next.
const LOSSES_MAX: u32 = 100;

impl Sqlite {
    /// Closes a slot, within the caller's transaction. Rows are read one by one and batches written
    /// as they fill, so that a busy minute needs no more memory than one batch.
    pub(in crate::buffer) fn close(
        &self,
        slot: Slot,
        cut: &Cut,
    ) -> Result<Vec<Sequence>, BufferError> {
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        let (mut held, mut written) = (Held::default(), Written::default());
        let mut folder = self.folder(slot, cut)?;
        for loss in self.take_losses()? {
            let bytes = wire::encode(&loss).len();
            self.put(folder.add(Rung::Loss(Box::new(loss)), bytes), cut.at, &mut written)?;
        }
        let sql = "SELECT kind, alone, body FROM open_minute \
                   WHERE minute = ?1 AND business_day = ?2 ORDER BY id";
        let failed = database("read a minute");
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let mut rows = statement.query(params![minute, day]).map_err(&failed)?;
        let mut next = rows.next().map_err(&failed)?.map(rung).transpose()?;
        while let Some((rung, bytes)) = next.take() {
            held.add(&rung);
            let mut batch = folder.add(rung, bytes);
            next = rows.next().map_err(&failed)?.map(self::rung).transpose()?;
            if next.is_none() && folder.is_empty() {
                self.add_digests(&mut batch, slot, cut.at)?;
            }
            self.put(batch, cut.at, &mut written)?;
        }
        let mut batch = folder.finish();
        self.add_digests(&mut batch, slot, cut.at)?;
        self.put(batch, cut.at, &mut written)?;
        assert_eq!(held, written.held, "batches hold what the minute held");
        let sql = "DELETE FROM open_minute WHERE minute = ?1 AND business_day = ?2";
        self.execute("close a minute", sql, params![minute, day])?;
        Ok(written.sequences)
    }

    /// Lets the last batch of a closing tell the days that are over.
    fn add_digests(
        &self,
        batch: &mut Option<StoreMinute>,
        slot: Slot,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let Some(batch) = batch else { return Ok(()) };
        batch.digests = self.tell_digests(batch.sequence, slot, at)?;
        Ok(())
    }

    /// Returns the slots with open rows.
    pub(in crate::buffer) fn open_slots(&self) -> Result<Vec<Slot>, BufferError> {
        let sql = "SELECT DISTINCT minute, business_day FROM open_minute ORDER BY 1, 2";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let parse = |(minute, day): (String, String)| Ok((parsed(&minute)?, parsed(&day)?));
        self.rows(sql, &[], read)?.into_iter().map(parse).collect()
    }

    /// Returns batches that wait, the oldest first, until they reach so many bytes.
    pub(in crate::buffer) fn waiting(
        &self,
        after: Option<Sequence>,
        bytes: usize,
    ) -> Result<Vec<Outgoing>, BufferError> {
        let sql = "SELECT sequence, headers, body FROM waiting CROSS JOIN outbox USING (sequence) \
                   WHERE waiting.sequence > ?1 ORDER BY waiting.sequence";
        let failed = database("read a batch");
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let after = after.map_or(0, Sequence::get).cast_signed();
        let mut rows = statement.query(params![after]).map_err(&failed)?;
        let (mut found, mut read) = (Vec::new(), 0);
        while read < bytes
            && let Some(row) = rows.next().map_err(&failed)?
        {
            let sequence = sequence_of(row.get(0).map_err(&failed)?)?;
            let headers: String = row.get(1).map_err(&failed)?;
            let body: Vec<u8> = row.get(2).map_err(&failed)?;
            read += body.len();
            found.push(Outgoing { sequence, headers: from_json(&headers)?, body });
        }
        if let Some(last) = found.last() {
            self.hand_over(last.sequence)?;
        }
        Ok(found)
    }

    /// Notes that the broker has the batches.
    pub(in crate::buffer) fn acknowledge(
        &self,
        sequences: &[Sequence],
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let at = at.to_string();
        for run in sequences.chunk_by(|one, next| next.get() == one.get() + 1) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let (first, last) = (first.get().cast_signed(), last.get().cast_signed());
            let sql = "INSERT INTO delivered (sequence, acked_at) \
                       SELECT sequence, ?3 FROM waiting WHERE sequence BETWEEN ?1 AND ?2";
            self.execute("note a delivery", sql, params![first, last, at])?;
            let sql = "DELETE FROM waiting WHERE sequence BETWEEN ?1 AND ?2";
            self.execute("note a delivery", sql, params![first, last])?;
        }
        Ok(())
    }

    /// Replaces a batch by an empty one that carries its loss.
    pub(in crate::buffer) fn give_up(
        &self,
        sequence: Sequence,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let Some(body) = self.empty(sequence, reason)? else { return Ok(()) };
        let hash = digest::of(&body).to_vec();
        let (feed, at) = (sequence.to_string(), at.to_string());
        let length = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let sql =
            "INSERT INTO quarantine_unit (hash, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.execute("give a batch up", sql, params![hash, body])?;
        let sql = "INSERT INTO quarantine (hash, reason, source, feed, first_offset, end_offset, \
                   seen, first_at, last_at) \
                   VALUES (?1, ?2, 'outbox', ?3, 0, ?4, 1, ?5, ?5) ON CONFLICT DO NOTHING";
        self.execute("give a batch up", sql, params![hash, reason, feed, length, at]).map(|_| ())
    }

    /// Puts the receipts of its loss in a batch's place, under its sequence; returns its bytes.
    pub(super) fn empty(
        &self,
        sequence: Sequence,
        reason: &str,
    ) -> Result<Option<Vec<u8>>, BufferError> {
        let key = sequence.get().cast_signed();
        let sql = "SELECT body FROM waiting JOIN outbox USING (sequence) WHERE sequence = ?1";
        let body: Option<Vec<u8>> = self
            .connection
            .query_row(sql, [key], |row| row.get(0))
            .optional()
            .map_err(database("give a batch up"))?;
        let Some(body) = body else { return Ok(None) };
        let mut batch: StoreMinute = serde_json::from_slice(&body)
            .map_err(|error| BufferError::Unreadable(error.to_string()))?;
        let losses = losses(&batch, reason);
        self.uncount_in_days(&batch)?;
        batch.digests = Vec::new();
        (batch.tills, batch.sales, batch.stock) = (Vec::new(), Vec::new(), Vec::new());
        (batch.corrections, batch.closings) = (Vec::new(), Vec::new());
        batch.losses.extend(losses);
        let sql = "UPDATE outbox SET body = ?2, receipts = 0, lines = 0, total_cents = 0, kind = ?3 \
                   WHERE sequence = ?1";
        self.execute("give a batch up", sql, params![key, wire::encode(&batch), GIVEN_UP])?;
        self.count_given_up()?;
        Ok(Some(body))
    }

    fn folder(&self, slot: Slot, cut: &Cut) -> Result<Folder, BufferError> {
        let sql = "SELECT count(*) FROM outbox WHERE minute = ?1 AND business_day = ?2";
        let before: i64 = self.one(sql, params![slot.0.to_string(), slot.1.to_string()])?;
        let frame = Frame {
            store: cut.store.clone(),
            stream: self.stream,
            first: self.next_sequence()?,
            minute: slot.0,
            business_day: slot.1,
            kind: if before == 0 { BatchKind::Original } else { BatchKind::Supplement },
            complete_through: cut.complete_through,
        };
        Ok(Folder::new(frame, self.notices()?))
    }

    fn next_sequence(&self) -> Result<Sequence, BufferError> {
        sequence_of(parsed(&self.meta("next_sequence")?.unwrap_or_default())?)
    }

    fn notices(&self) -> Result<BTreeMap<TillId, Counts>, BufferError> {
        let sql = "SELECT till, duplicates, quarantined FROM till_notice";
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        };
        let parse = |(till, duplicates, quarantined): (String, i64, i64)| {
            let counts = Counts {
                duplicates: duplicates.unsigned_abs(),
                quarantined: quarantined.unsigned_abs(),
                ..Counts::default()
            };
            Ok((parsed(&till)?, counts))
        };
        self.rows(sql, &[], read)?.into_iter().map(parse).collect()
    }

    fn forget_notices(&self, body: &StoreMinute) -> Result<(), BufferError> {
        for till in &body.tills {
            let sql = "DELETE FROM till_notice WHERE till = ?1";
            self.execute("hand a count over", sql, params![till.till.as_str()])?;
        }
        Ok(())
    }

    fn take_losses(&self) -> Result<Vec<Loss>, BufferError> {
        let sql = "DELETE FROM loss WHERE id IN (SELECT id FROM loss ORDER BY id LIMIT ?1) \
                   RETURNING body";
        let bodies = self.rows(sql, params![LOSSES_MAX], |row| row.get::<_, String>(0))?;
        bodies.iter().map(|body| from_json(body)).collect()
    }

    /// Writes a batch with the next sequence.
    fn put(
        &self,
        body: Option<StoreMinute>,
        at: Timestamp,
        written: &mut Written,
    ) -> Result<(), BufferError> {
        let Some(mut body) = body else { return Ok(()) };
        if body.sequence == Sequence::FIRST {
            body.predecessor = self.meta("predecessor")?.map(|text| parsed(&text)).transpose()?;
        }
        body.abandoned = self.take_abandoned(body.sequence)?;
        assert_eq!(body.sequence, self.next_sequence()?, "sequences have no hole");
        let headers = wire::store_minute_headers(&body, at);
        let headers = serde_json::to_string(&headers).expect("texts are JSON");
        let held = Held::of(&body);
        let receipts = i64::try_from(held.receipts).unwrap_or(i64::MAX);
        let cents = i64::try_from(held.cents).expect("a batch's total fits 64 bits");
        let sql = "INSERT INTO outbox (sequence, minute, business_day, kind, headers, body, \
                   receipts, lines, total_cents, cut_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (minute, day) = (body.minute.to_string(), body.business_day.to_string());
        let (sequence, kind) = (body.sequence.get().cast_signed(), body.kind.as_str());
        let lines: u64 = body.sales.iter().map(|row| row.lines).sum();
        let (bytes, lines, at) = (wire::encode(&body), lines.cast_signed(), at.to_string());
        let values =
            params![sequence, minute, day, kind, headers, bytes, receipts, lines, cents, at];
        self.execute("cut a batch", sql, values)?;
        let sql = "INSERT INTO waiting (sequence) VALUES (?1)";
        self.execute("cut a batch", sql, params![sequence])?;
        self.forget_notices(&body)?;
        written.held.join(&held);
        written.sequences.push(body.sequence);
        self.set_meta("next_sequence", &body.sequence.next().to_string())
    }
}

/// What one closing has written.
#[derive(Default)]
struct Written {
    held: Held,
    sequences: Vec<Sequence>,
}

/// What goes in must come out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    receipts: u64,
    cents: i128,
    movements: usize,
    closings: usize,
}

impl Held {
    fn add(&mut self, rung: &Rung) {
        match rung {
            Rung::Receipt(receipt) | Rung::Alone(receipt) if receipt.counts => {
                self.receipts += 1;
                self.cents += i128::from(receipt.total_cents.0);
            }
            Rung::Movement(_) => self.movements += 1,
            Rung::Closing(_) => self.closings += 1,
            Rung::Correction(corrected) => self.cents += i128::from(corrected.total_cents().0),
            Rung::Receipt(_) | Rung::Alone(_) | Rung::Loss(_) => {}
        }
    }

    fn of(body: &StoreMinute) -> Self {
        Self {
            receipts: body.tills.iter().map(|till| till.receipt_count).sum(),
            cents: body.tills.iter().map(|till| i128::from(till.total_cents.0)).sum(),
            movements: body.stock.len(),
            closings: body.closings.len(),
        }
    }

    fn join(&mut self, other: &Self) {
        self.receipts += other.receipts;
        self.cents += other.cents;
        self.movements += other.movements;
        self.closings += other.closings;
    }
}

/// Reads one row of an open minute, with the bytes of its JSON.
fn rung(row: &Row<'_>) -> Result<(Rung, usize), BufferError> {
    let failed = database("read a minute");
    let kind: String = row.get(0).map_err(&failed)?;
    let alone: i64 = row.get(1).map_err(&failed)?;
    let body: String = row.get(2).map_err(&failed)?;
    let rung = match (kind.as_str(), alone) {
        ("receipt", 0) => Rung::Receipt(Box::new(from_json(&body)?)),
        ("receipt", _) => Rung::Alone(Box::new(from_json(&body)?)),
        ("movement", _) => Rung::Movement(Box::new(from_json(&body)?)),
        ("correction", _) => Rung::Correction(Box::new(from_json(&body)?)),
        ("closing", _) => Rung::Closing(Box::new(from_json(&body)?)),
        (other, _) => return Err(BufferError::Unreadable(format!("an open row of kind {other}"))),
    };
    Ok((rung, body.len()))
}

pub(super) fn sequence_of(number: i64) -> Result<Sequence, BufferError> {
    Sequence::new(number.unsigned_abs())
        .ok_or_else(|| BufferError::Unreadable(format!("the sequence {number}")))
}

/// Returns one loss per till and series, and one for what belongs to no till.
fn losses(batch: &StoreMinute, reason: &str) -> Vec<Loss> {
    let reason: String = reason.chars().filter(|found| !found.is_control()).take(100).collect();
    let reason = Label::new(&reason).unwrap_or_else(|_| Label::new("refused").expect("a label"));
    let loss = |at: usize, till: Option<&shared::minute::TillMinute>| Loss {
        id: Label::new(&format!("{}/{}/{at}", batch.stream, batch.sequence)).expect("a label"),
        till: till.map(|till| till.till.clone()),
        minute: batch.minute,
        count: till.map_or(0, |till| till.receipt_count),
        cents: till.map_or(shared::money::Cents::ZERO, |till| till.total_cents),
        reason: reason.clone(),
    };
    let mut losses: Vec<Loss> =
        batch.tills.iter().enumerate().map(|(at, till)| loss(at, Some(till))).collect();
    if losses.is_empty() || !batch.stock.is_empty() || !batch.closings.is_empty() {
        losses.push(loss(losses.len(), None));
    }
    losses
}
