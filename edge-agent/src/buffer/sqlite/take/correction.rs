//! Receipts that their source keeps and may change: a later version takes back what was counted and
//! counts what it should have been, in the minute of the receipt. An earlier one is a second copy.

use rusqlite::{OptionalExtension, params};
use shared::receipt::Receipt;

use super::receipt::{Incoming, content_hash};
use super::{ENTRY_BYTES_MAX, encode};
use crate::aggregate::fold::Corrected;
use crate::aggregate::open::Slot;
use crate::buffer::sqlite::{Sqlite, database, from_json, parsed};
use crate::buffer::{BufferError, Sharing, Taken};

/// A receipt as it was counted last.
pub(super) struct Known {
    version: u64,
    slot: Slot,
    body: Receipt,
}

impl Sqlite {
    /// Returns what was counted of a receipt with versions.
    pub(super) fn known_version(
        &self,
        incoming: &Incoming<'_>,
    ) -> Result<Option<Known>, BufferError> {
        if incoming.receipt.version.is_none() {
            return Ok(None);
        }
        let sql = "SELECT version, minute, business_day, body FROM versioned_receipt \
                   WHERE till = ?1 AND series = ?2 AND receipt = ?3";
        let failed = database("compare a version");
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let found: Option<(i64, String, String, String)> =
            statement.query_row(params_of(incoming), read).optional().map_err(&failed)?;
        let Some((version, minute, day, body)) = found else { return Ok(None) };
        let slot = (parsed(&minute)?, parsed(&day)?);
        Ok(Some(Known { version: version.unsigned_abs(), slot, body: from_json(&body)? }))
    }

    /// Takes a further version in; returns the reason where it must be set aside.
    pub(super) fn take_version(
        &self,
        incoming: &Incoming<'_>,
        known: Known,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let version = incoming.receipt.version.unwrap_or_default();
        let after = in_place_of(&known.body, incoming.receipt);
        let same = content_hash(&known.body) == content_hash(&after)
            && known.body.counts == after.counts
            && known.body.payments == after.payments;
        if version < known.version || (version == known.version && same) {
            return self.second_copy(incoming, taken).map(|()| None);
        }
        if version == known.version {
            let name = incoming.name();
            return Ok(Some(format!("{name} was counted with other content as version {version}")));
        }
        let body = encode(&after);
        if !same {
            let corrected = Corrected { before: known.body, after };
            let row = encode(&corrected);
            if row.len() > ENTRY_BYTES_MAX {
                return Ok(Some(format!("{} does not fit a batch", incoming.name())));
            }
            self.add_open(known.slot, ("correction", Sharing::Shared), &row)?;
            self.correct_in_day(&corrected, known.slot.1, incoming.intake.at)?;
            taken.slots.insert(known.slot);
            taken.fresh += 1;
        }
        let sql = "UPDATE versioned_receipt SET version = ?4, body = ?5, at = ?6 \
                   WHERE till = ?1 AND series = ?2 AND receipt = ?3";
        let own = own(incoming.receipt);
        let at = incoming.intake.at.to_string();
        let values = params![own.0, own.1, own.2, version.cast_signed(), body, at];
        self.execute("note a version", sql, values).map(|_| None)
    }

    /// Remembers the first version of a receipt that counts.
    pub(super) fn remember_version(
        &self,
        incoming: &Incoming<'_>,
        slot: Slot,
        body: &str,
    ) -> Result<(), BufferError> {
        let Some(version) = incoming.receipt.version else { return Ok(()) };
        let sql = "INSERT INTO versioned_receipt (till, series, receipt, version, minute, \
                   business_day, body, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let own = own(incoming.receipt);
        let (minute, day) = (slot.0.to_string(), slot.1.to_string());
        let at = incoming.intake.at.to_string();
        let version = version.cast_signed();
        let values = params![own.0, own.1, own.2, version, minute, day, body, at];
        self.execute("note a version", sql, values).map(|_| ())
    }
}

fn own(receipt: &Receipt) -> (&str, &str, &str) {
    (receipt.till.as_str(), receipt.series.as_str(), receipt.receipt.as_str())
}

fn params_of<'a>(incoming: &Incoming<'a>) -> (&'a str, &'a str, &'a str) {
    own(incoming.receipt)
}

/// Puts a later version where the counted one stands: its minute and day do not move.
fn in_place_of(before: &Receipt, later: &Receipt) -> Receipt {
    Receipt {
        till: before.till.clone(),
        series: before.series.clone(),
        business_day: before.business_day,
        ended_at: before.ended_at,
        channel: before.channel.clone(),
        ..later.clone()
    }
}
