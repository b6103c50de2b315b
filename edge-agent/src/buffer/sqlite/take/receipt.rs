//! A receipt on its way in: is it new, a second copy, another receipt under the same number, or a
//! later version of one that was counted?

use rusqlite::{OptionalExtension, params};
use shared::receipt::Receipt;
use shared::time::Timestamp;

use super::fiscal::Twin;
use super::{ENTRY_BYTES_MAX, encode};
use crate::aggregate::open::Slot;
use crate::buffer::spells::{Content, Spell, Standing, standing};
use crate::buffer::sqlite::{Sqlite, database, from_json, parsed};
use crate::buffer::{BufferError, Claim, Intake, Sharing, Taken, number_of, spelled};
use crate::digest;

/// What a receipt's hash covers; a better decoder that finds more fields makes no conflicts.
const HASH_VERSION: u8 = 1;

/// One receipt on its way in, with what is needed to set it aside.
pub(super) struct Incoming<'a> {
    pub(super) intake: &'a Intake,
    pub(super) receipt: &'a Receipt,
    pub(super) hash: Vec<u8>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(intake: &'a Intake, receipt: &'a Receipt) -> Self {
        Self { intake, receipt, hash: content_hash(receipt).to_vec() }
    }

    fn purpose(&self) -> &'static str {
        if self.receipt.counts { "sale" } else { "other" }
    }

    fn fills_in(&self) -> bool {
        self.intake.claim == Claim::Backfills
    }

    /// Names the receipt in a reason.
    pub(super) fn name(&self) -> String {
        let Receipt { receipt, till, series, .. } = self.receipt;
        format!("receipt {receipt} of till {till}, series {series}")
    }
}

impl Sqlite {
    /// Returns the reason where the receipt must be set aside.
    pub(super) fn take_receipt(
        &self,
        incoming: &Incoming<'_>,
        (slot, sharing): (Slot, Sharing),
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        if let Some(fault) = self.counted_elsewhere(incoming)? {
            return Ok(Some(fault));
        }
        if let Some(known) = self.known_version(incoming)? {
            return self.take_version(incoming, known, taken);
        }
        match self.twin(incoming)? {
            Twin::None => {}
            Twin::Same => return self.second_copy(incoming, taken).map(|()| None),
            Twin::Other(fault) => return Ok(Some(fault)),
        }
        match self.standing_of(incoming)? {
            Standing::New(spell) => self.take_new(incoming, spell, (slot, sharing), taken),
            Standing::Duplicate => self.second_copy(incoming, taken).map(|()| None),
            Standing::Conflict => {
                Ok(Some(format!("{} was counted with other content", incoming.name())))
            }
        }
    }

    fn take_new(
        &self,
        incoming: &Incoming<'_>,
        spell: u32,
        (slot, sharing): (Slot, Sharing),
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let receipt = incoming.receipt;
        let mut kept = receipt.clone();
        kept.series = parsed(&spelled(receipt.series.as_str(), spell))?;
        let body = encode(&kept);
        if body.len() > ENTRY_BYTES_MAX {
            return Ok(Some(format!("{} does not fit a batch", incoming.name())));
        }
        self.remember(incoming, spell)?;
        self.add_open(slot, ("receipt", sharing), &body)?;
        self.count_in_day(&kept, slot.1, incoming.intake.at)?;
        taken.slots.insert(slot);
        taken.fresh += 1;
        if receipt.counts {
            self.note_last(receipt)?;
            self.remember_fiscal(incoming)?;
            self.remember_version(incoming, slot, &body)?;
        }
        Ok(None)
    }

    /// Counts a second copy of a sale; that of anything else is nothing.
    pub(super) fn second_copy(
        &self,
        incoming: &Incoming<'_>,
        taken: &mut Taken,
    ) -> Result<(), BufferError> {
        if !incoming.receipt.counts {
            return Ok(());
        }
        taken.duplicates += 1;
        self.notice(&incoming.receipt.till, (1, 0))
    }

    /// Notes which source counts a till. Another one that counts it too would count it twice.
    fn counted_elsewhere(&self, incoming: &Incoming<'_>) -> Result<Option<String>, BufferError> {
        if !incoming.receipt.counts || incoming.fills_in() {
            return Ok(None);
        }
        let (till, source) = (incoming.receipt.till.as_str(), &incoming.intake.source);
        let sql = "INSERT INTO till_source (till, source) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        if self.execute("note who counts a till", sql, params![till, source])? == 1 {
            return Ok(None);
        }
        let counts: String =
            self.one("SELECT source FROM till_source WHERE till = ?1", &[&till])?;
        Ok((counts != *source).then(|| {
            format!("till {till} is counted by source {counts}; this one may only fill in")
        }))
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
        let sql = "SELECT hash, total_cents, filled_in FROM receipt_hash WHERE till = ?1 AND series = ?2 \
                   AND purpose = ?3 AND spell = ?4 AND receipt = ?5";
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let key = params![till, series, incoming.purpose(), spell, receipt.receipt.as_str()];
        let mut statement =
            self.connection.prepare_cached(sql).map_err(database("compare a receipt"))?;
        let found: Option<(Vec<u8>, i64, bool)> = statement
            .query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()
            .map_err(database("compare a receipt"))?;
        Ok(match found {
            None => Content::Forgotten,
            Some(_) if !receipt.counts => Content::Same,
            // The centre has it, whatever it holds.
            Some((hash, _, _)) if hash.is_empty() || hash == incoming.hash => Content::Same,
            // Another format names the same goods otherwise; what was paid is the same.
            Some((_, cents, filled_in))
                if (filled_in || incoming.fills_in()) && cents == receipt.total_cents.0 =>
            {
                Content::Same
            }
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
        let sql = "INSERT INTO receipt_hash (till, series, purpose, spell, receipt, hash, total_cents, \
                   filled_in, is_number, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (till, series) = (receipt.till.as_str(), receipt.series.as_str());
        let (id, purpose, at) = (receipt.receipt.as_str(), incoming.purpose(), incoming.intake.at);
        let is_number = i64::from(number.is_some());
        self.execute(
            "remember a receipt",
            sql,
            params![
                till,
                series,
                purpose,
                spell,
                id,
                incoming.hash,
                receipt.total_cents.0,
                incoming.fills_in(),
                is_number,
                at.to_string()
            ],
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
}

/// Hashes what makes a receipt the same: totals, and of each line what was sold for how much.
pub(super) fn content_hash(receipt: &Receipt) -> [u8; 32] {
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
