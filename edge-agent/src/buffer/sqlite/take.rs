//! Taking in what a source read: what is new joins its open minute, a second copy is counted and
//! dropped, what must not count is set aside with its bytes.

use rusqlite::{OptionalExtension, params};
use shared::ids::TillId;
use shared::minute::Closing;
use shared::receipt::{Receipt, StockMovement};
use shared::time::Timestamp;

use super::{Sqlite, database, from_json, parsed};
use crate::aggregate::open::Slot;
use crate::buffer::spells::{Content, Spell, Standing, standing};
use crate::buffer::{BufferError, Entry, Intake, IntakeUnit, Sharing, Taken, number_of, spelled};
use crate::digest;

/// Bytes of JSON that one receipt or movement may have: it must fit a batch alone.
const ENTRY_BYTES_MAX: usize = shared::wire::BODY_BYTES_MAX - 20_000;

/// What a receipt's hash covers; a better decoder that finds more fields makes no conflicts.
const HASH_VERSION: u8 = 1;

/// One receipt on its way in, with what is needed to set it aside.
struct Incoming<'a> {
    intake: &'a Intake,
    receipt: &'a Receipt,
    hash: Vec<u8>,
}

impl Incoming<'_> {
    fn purpose(&self) -> &'static str {
        if self.receipt.counts { "sale" } else { "other" }
    }
}

impl Sqlite {
    /// Takes an intake in, within the caller's transaction.
    pub(in crate::buffer) fn take(&self, intake: &Intake) -> Result<Taken, BufferError> {
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
                let hash = content_hash(receipt).to_vec();
                let incoming = Incoming { intake, receipt, hash };
                let fault = self.take_receipt(&incoming, *slot, *sharing, taken)?;
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

    /// Returns the reason where the receipt must be set aside.
    fn take_receipt(
        &self,
        incoming: &Incoming<'_>,
        slot: Slot,
        sharing: Sharing,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let receipt = incoming.receipt;
        let (till, series) = (&receipt.till, &receipt.series);
        let name = || format!("receipt {} of till {till}, series {series}", receipt.receipt);
        match self.standing_of(incoming)? {
            Standing::New(spell) => {
                let mut kept = receipt.clone();
                kept.series = parsed(&spelled(series.as_str(), spell))?;
                let body = encode(&kept);
                if body.len() > ENTRY_BYTES_MAX {
                    return Ok(Some(format!("{} does not fit a batch", name())));
                }
                self.remember(incoming, spell)?;
                self.add_open(slot, ("receipt", sharing), &body)?;
                taken.slots.insert(slot);
                taken.fresh += 1;
                if receipt.counts {
                    self.note_last(receipt)?;
                }
                Ok(None)
            }
            Standing::Duplicate => {
                if receipt.counts {
                    taken.duplicates += 1;
                    self.notice(till, (1, 0))?;
                }
                Ok(None)
            }
            Standing::Conflict => Ok(Some(format!("{} was counted with other content", name()))),
        }
    }

    fn standing_of(&self, incoming: &Incoming<'_>) -> Result<Standing, BufferError> {
        let receipt = incoming.receipt;
        let Some(number) = number_of(&receipt.receipt) else {
            return Ok(match self.compare(incoming, 1)? {
                Content::Forgotten => Standing::New(1),
                Content::Same => Standing::Duplicate,
                Content::Other => Standing::Conflict,
            });
        };
        let spells = self.spells(incoming)?;
        let mut fault = None;
        let found = standing(&spells, number, receipt.ended_at, |spell| {
            self.compare(incoming, spell).unwrap_or_else(|error| {
                fault = Some(error);
                Content::Forgotten
            })
        });
        fault.map_or(Ok(found), Err)
    }

    /// Compares with what was counted under the same number; what is no sale is always the same.
    fn compare(&self, incoming: &Incoming<'_>, spell: u32) -> Result<Content, BufferError> {
        let receipt = incoming.receipt;
        let sql = "SELECT hash FROM receipt_hash WHERE till = ?1 AND series = ?2 \
                   AND purpose = ?3 AND spell = ?4 AND receipt = ?5";
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let key = params![till, series, incoming.purpose(), spell, receipt.receipt.as_str()];
        let mut statement =
            self.connection.prepare_cached(sql).map_err(database("compare a receipt"))?;
        let found: Option<Vec<u8>> = statement
            .query_row(key, |row| row.get(0))
            .optional()
            .map_err(database("compare a receipt"))?;
        Ok(match found {
            None => Content::Forgotten,
            Some(_) if !receipt.counts => Content::Same,
            Some(hash) if hash == incoming.hash => Content::Same,
            Some(_) => Content::Other,
        })
    }

    fn spells(&self, incoming: &Incoming<'_>) -> Result<Vec<Spell>, BufferError> {
        let receipt = incoming.receipt;
        let sql = "SELECT spell, ranges, last_number, first_at, last_at FROM receipt_key \
                   WHERE till = ?1 AND series = ?2 AND purpose = ?3 ORDER BY spell";
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let read = |row: &rusqlite::Row<'_>| {
            let texts: [String; 3] = [row.get(1)?, row.get(3)?, row.get(4)?];
            Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(2)?, texts))
        };
        let found = self.rows(sql, &[&till, &series, &incoming.purpose()], read)?;
        let spell = |(spell, last, [ranges, first_at, last_at]): (u32, i64, [String; 3])| {
            Ok(Spell {
                spell,
                ranges: from_json(&ranges)?,
                last_number: last.unsigned_abs(),
                first_at: parsed(&first_at)?,
                last_at: parsed(&last_at)?,
            })
        };
        found.into_iter().map(spell).collect()
    }

    fn remember(&self, incoming: &Incoming<'_>, spell: u32) -> Result<(), BufferError> {
        let receipt = incoming.receipt;
        let number = number_of(&receipt.receipt);
        let sql = "INSERT INTO receipt_hash (till, series, purpose, spell, receipt, hash, is_number, at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let (id, purpose, at) = (receipt.receipt.as_str(), incoming.purpose(), incoming.intake.at);
        let is_number = i64::from(number.is_some());
        self.execute(
            "remember a receipt",
            sql,
            params![till, series, purpose, spell, id, incoming.hash, is_number, at.to_string()],
        )?;
        number.map_or(Ok(()), |number| self.remember_number(incoming, spell, number))
    }

    fn remember_number(
        &self,
        incoming: &Incoming<'_>,
        spell: u32,
        number: u64,
    ) -> Result<(), BufferError> {
        let receipt = incoming.receipt;
        let known = self.spells(incoming)?.into_iter().find(|known| known.spell == spell);
        let kept = match known {
            Some(mut known) => {
                known.add(number, receipt.ended_at);
                known
            }
            None => Spell::begin(spell, number, receipt.ended_at),
        };
        let sql = "INSERT OR REPLACE INTO receipt_key \
                   (till, series, purpose, spell, ranges, last_number, first_at, last_at, updated_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let last = i64::try_from(kept.last_number).expect("a receipt number fits 63 bits");
        let (first_at, last_at) = (kept.first_at.to_string(), kept.last_at.to_string());
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let (ranges, at) = (encode(&kept.ranges), incoming.intake.at.to_string());
        let purpose = incoming.purpose();
        self.execute(
            "remember a receipt number",
            sql,
            params![till, series, purpose, spell, ranges, last, first_at, last_at, at],
        )
        .map(|_| ())
    }

    /// Returns the reason where the movement must be set aside.
    fn take_movement(
        &self,
        intake: &Intake,
        slot: Slot,
        movement: &StockMovement,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let body = encode(movement);
        if body.len() > ENTRY_BYTES_MAX {
            return Ok(Some(format!("movement {} does not fit a batch", movement.id)));
        }
        let hash = digest::of(body.as_bytes()).to_vec();
        let (id, at) = (movement.id.as_str(), intake.at.to_string());
        let sql =
            "INSERT INTO movement_key (id, hash, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        if self.execute("remember a movement", sql, params![id, hash, at])? == 1 {
            self.add_open(slot, ("movement", Sharing::Shared), &body)?;
            taken.slots.insert(slot);
            taken.fresh += 1;
            return Ok(None);
        }
        let before: Vec<u8> = self.one("SELECT hash FROM movement_key WHERE id = ?1", &[&id])?;
        if before == hash {
            taken.duplicates += 1;
            return Ok(None);
        }
        Ok(Some(format!("movement {id} was counted with other content")))
    }

    /// Returns the reason where the closing must be set aside. It is known by tills, number and source.
    fn take_closing(
        &self,
        intake: &Intake,
        slot: Slot,
        closing: &Closing,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let body = encode(closing);
        if body.len() > ENTRY_BYTES_MAX {
            return Ok(Some(format!("closing {} does not fit a batch", closing.closing)));
        }
        let id = encode(&(&closing.tills, &closing.closing, &closing.source));
        let (hash, at) = (digest::of(body.as_bytes()).to_vec(), intake.at.to_string());
        let sql =
            "INSERT INTO closing_key (id, hash, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        if self.execute("remember a closing", sql, params![id, hash, at])? == 1 {
            self.add_open(slot, ("closing", Sharing::Shared), &body)?;
            taken.slots.insert(slot);
            taken.fresh += 1;
            return Ok(None);
        }
        let before: Vec<u8> = self.one("SELECT hash FROM closing_key WHERE id = ?1", &[&id])?;
        if before == hash {
            taken.duplicates += 1;
            return Ok(None);
        }
        Ok(Some(format!("closing {} was counted with other content", closing.closing)))
    }

    fn add_open(&self, slot: Slot, what: (&str, Sharing), body: &str) -> Result<(), BufferError> {
        let sql = "INSERT INTO open_minute (minute, business_day, kind, alone, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let alone = i64::from(what.1 == Sharing::Alone);
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        self.execute("keep a receipt", sql, params![minute, day, what.0, alone, body]).map(|_| ())
    }

    fn note_last(&self, receipt: &Receipt) -> Result<(), BufferError> {
        let sql = "SELECT ended_at FROM till_last WHERE till = ?1";
        let till = receipt.till.as_str();
        let before = self.rows(sql, &[&till], |row| row.get::<_, String>(0))?;
        let before: Option<Timestamp> = before.first().map(|text| parsed(text)).transpose()?;
        if before.is_some_and(|before| before > receipt.ended_at) {
            return Ok(());
        }
        let sql = "INSERT OR REPLACE INTO till_last (till, receipt, ended_at) VALUES (?1, ?2, ?3)";
        let at = receipt.ended_at.to_string();
        self.execute("note a till's last", sql, params![till, receipt.receipt.as_str(), at])
            .map(|_| ())
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

    /// Sets a unit aside with its bytes; the same bytes for the same reason are kept once.
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
        let sql = "INSERT INTO quarantine (hash, reason, bytes, source, feed, first_offset, \
                   end_offset, seen, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?8)";
        let (source, feed) = (&intake.source, &intake.feed);
        self.execute(
            "set a unit aside",
            sql,
            params![hash, reason, unit.bytes, source, feed, start, end, at],
        )?;
        till.map_or(Ok(()), |till| self.notice(till, (0, 1)))
    }
}

fn encode<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our types have text keys and no failing parts")
}

/// Hashes what makes a receipt the same: totals, and of each line what was sold for how much.
fn content_hash(receipt: &Receipt) -> [u8; 32] {
    let mut digest = digest::Digest::default();
    let totals = [receipt.total_cents, receipt.tax_added_cents, receipt.adjustment_cents];
    digest.update(&[HASH_VERSION]);
    totals.iter().for_each(|cents| digest.update(&cents.0.to_be_bytes()));
    for line in &receipt.lines {
        for text in [line.article.as_str(), line.kind.as_str()] {
            digest.update(text.as_bytes());
            digest.update(&[0]);
        }
        digest.update(&line.quantity_milli.0.to_be_bytes());
        digest.update(&line.amount_cents.0.to_be_bytes());
    }
    digest.value()
}
