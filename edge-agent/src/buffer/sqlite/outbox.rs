//! Closing a minute and handing its batches out. A batch's bytes are written once and never change,
//! so that sending it again sends the same.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use shared::ids::{Label, Sequence, TillId};
use shared::minute::{Counts, Loss, StoreMinute};
use shared::receipt::Receipt;
use shared::time::Timestamp;
use shared::wire;
use shared::words::BatchKind;

use super::{Sqlite, database, from_json, parsed};
use crate::buffer::{BufferError, Fold, Open, Outgoing, Slot};
use crate::digest;

/// Losses that one closing takes along; more wait for the next.
const LOSSES_MAX: u32 = 100;

impl Sqlite {
    /// Closes a slot, within the caller's transaction.
    pub(in crate::buffer) fn close(
        &self,
        slot: Slot,
        at: Timestamp,
        fold: &Fold,
    ) -> Result<Vec<Sequence>, BufferError> {
        let Some(open) = self.held(slot)? else { return Ok(Vec::new()) };
        let (first, held) = (open.first, Held::of(&open));
        let bodies = fold(open);
        assert_eq!(held, Held::in_bodies(&bodies), "batches hold what the minute held");
        let mut next = first;
        for body in &bodies {
            assert_eq!(body.sequence, next, "sequences have no hole");
            self.put(body, at)?;
            next = next.next();
            self.forget_notices(body)?;
        }
        self.set_meta("next_sequence", &next.to_string())?;
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        let sql = "DELETE FROM open_minute WHERE minute = ?1 AND business_day = ?2";
        self.execute("close a minute", sql, params![minute, day])?;
        Ok(bodies.iter().map(|body| body.sequence).collect())
    }

    /// Returns the slots with open rows.
    pub(in crate::buffer) fn open_slots(&self) -> Result<Vec<Slot>, BufferError> {
        let sql = "SELECT DISTINCT minute, business_day FROM open_minute ORDER BY 1, 2";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let parse = |(minute, day): (String, String)| Ok((parsed(&minute)?, parsed(&day)?));
        self.rows(sql, &[], read)?.into_iter().map(parse).collect()
    }

    /// Returns batches that wait, the oldest first.
    pub(in crate::buffer) fn waiting(
        &self,
        after: Option<Sequence>,
        most: usize,
    ) -> Result<Vec<Outgoing>, BufferError> {
        let sql = "SELECT sequence, headers, body FROM outbox \
                   WHERE acked_at IS NULL AND sequence > ?1 ORDER BY sequence LIMIT ?2";
        let after = after.map_or(0, Sequence::get).cast_signed();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?))
        };
        let parse = |(sequence, headers, body): (i64, String, Vec<u8>)| {
            Ok(Outgoing { sequence: sequence_of(sequence)?, headers: from_json(&headers)?, body })
        };
        self.rows(sql, params![after, most], read)?.into_iter().map(parse).collect()
    }

    /// Notes that the broker has the batches.
    pub(in crate::buffer) fn acknowledge(
        &self,
        sequences: &[Sequence],
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let at = at.to_string();
        for sequence in sequences {
            let sql = "UPDATE outbox SET acked_at = ?2 WHERE sequence = ?1 AND acked_at IS NULL";
            self.execute("note a delivery", sql, params![sequence.get().cast_signed(), at])?;
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
        let key = sequence.get().cast_signed();
        let sql = "SELECT body FROM outbox WHERE sequence = ?1 AND acked_at IS NULL";
        let body: Option<Vec<u8>> = self
            .connection
            .query_row(sql, [key], |row| row.get(0))
            .optional()
            .map_err(database("give a batch up"))?;
        let Some(body) = body else { return Ok(()) };
        let mut batch: StoreMinute = serde_json::from_slice(&body)
            .map_err(|error| BufferError::Unreadable(error.to_string()))?;
        let losses = losses(&batch, reason);
        let sql = "INSERT INTO quarantine (hash, reason, bytes, source, feed, first_offset, \
                   end_offset, seen, first_at, last_at) \
                   VALUES (?1, ?2, ?3, 'outbox', ?4, 0, ?5, 1, ?6, ?6) ON CONFLICT DO NOTHING";
        let hash = digest::of(&body).to_vec();
        let (feed, at) = (sequence.to_string(), at.to_string());
        let length = i64::try_from(body.len()).unwrap_or(i64::MAX);
        self.execute("give a batch up", sql, params![hash, reason, body, feed, length, at])?;
        (batch.tills, batch.sales, batch.stock) = (Vec::new(), Vec::new(), Vec::new());
        (batch.corrections, batch.closings) = (Vec::new(), Vec::new());
        batch.losses.extend(losses);
        let sql = "UPDATE outbox SET body = ?2, receipts = 0, lines = 0, total_cents = 0 \
                   WHERE sequence = ?1";
        self.execute("give a batch up", sql, params![key, wire::encode(&batch)]).map(|_| ())
    }

    fn held(&self, slot: Slot) -> Result<Option<Open>, BufferError> {
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        let sql = "SELECT kind, alone, body FROM open_minute \
                   WHERE minute = ?1 AND business_day = ?2 ORDER BY id";
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        };
        let rows = self.rows(sql, params![minute, day], read)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let sql = "SELECT count(*) FROM outbox WHERE minute = ?1 AND business_day = ?2";
        let before: i64 = self.one(sql, params![minute, day])?;
        let kind = if before == 0 { BatchKind::Original } else { BatchKind::Supplement };
        let mut open = Open {
            stream: self.stream,
            first: parsed_sequence(&self.meta("next_sequence")?.unwrap_or_default())?,
            kind,
            receipts: Vec::new(),
            alone: Vec::new(),
            movements: Vec::new(),
            noticed: self.notices()?,
            losses: self.take_losses()?,
        };
        for (kind, alone, body) in rows {
            match (kind.as_str(), alone) {
                ("receipt", 0) => open.receipts.push((from_json(&body)?, body.len())),
                ("receipt", _) => open.alone.push(from_json(&body)?),
                _ => open.movements.push(from_json(&body)?),
            }
        }
        Ok(Some(open))
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

    fn put(&self, body: &StoreMinute, at: Timestamp) -> Result<(), BufferError> {
        let headers = wire::store_minute_headers(body, at);
        let headers = serde_json::to_string(&headers).expect("texts are JSON");
        let held = Held::in_bodies(std::slice::from_ref(body));
        let receipts = i64::try_from(held.receipts).unwrap_or(i64::MAX);
        let cents = i64::try_from(held.cents).expect("a batch's total fits 64 bits");
        let sql = "INSERT INTO outbox (sequence, minute, business_day, kind, headers, body, \
                   receipts, lines, total_cents, cut_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (minute, day) = (body.minute.to_string(), body.business_day.to_string());
        let (sequence, kind) = (body.sequence.get().cast_signed(), body.kind.as_str());
        let lines: u64 = body.sales.iter().map(|row| row.lines).sum();
        let (bytes, lines, at) = (wire::encode(body), lines.cast_signed(), at.to_string());
        let values =
            params![sequence, minute, day, kind, headers, bytes, receipts, lines, cents, at];
        self.execute("cut a batch", sql, values).map(|_| ())
    }
}

/// What goes in must come out.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    receipts: u64,
    cents: i128,
    movements: usize,
}

impl Held {
    fn of(open: &Open) -> Self {
        let all = || open.receipts.iter().map(|(receipt, _)| receipt).chain(&open.alone);
        let counted = || all().filter(|receipt: &&Receipt| receipt.counts);
        Self {
            receipts: counted().map(|_| 1).sum(),
            cents: counted().map(|receipt| i128::from(receipt.total_cents.0)).sum(),
            movements: open.movements.len(),
        }
    }

    fn in_bodies(bodies: &[StoreMinute]) -> Self {
        let tills = || bodies.iter().flat_map(|body| &body.tills);
        Self {
            receipts: tills().map(|till| till.receipt_count).sum(),
            cents: tills().map(|till| i128::from(till.total_cents.0)).sum(),
            movements: bodies.iter().map(|body| body.stock.len()).sum(),
        }
    }
}

fn sequence_of(number: i64) -> Result<Sequence, BufferError> {
    Sequence::new(number.unsigned_abs())
        .ok_or_else(|| BufferError::Unreadable(format!("the sequence {number}")))
}

fn parsed_sequence(text: &str) -> Result<Sequence, BufferError> {
    sequence_of(parsed(text)?)
}

/// Returns one loss per till, or one for the whole batch where it held movements only.
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
    if batch.tills.is_empty() {
        return vec![loss(0, None)];
    }
    batch.tills.iter().enumerate().map(|(at, till)| loss(at, Some(till))).collect()
}
