//! Receipts as the fiscal device numbers them: the same receipt may come from a till's live feed and
//! from its day export under other numbers, and counts once.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use shared::time::Timestamp;

use super::receipt::Incoming;
use crate::buffer::BufferError;
use crate::buffer::sqlite::{Sqlite, database, parsed};

/// How far two sources may differ in when a receipt ended: one tells the print, one the device's log.
const APART_MOST: Duration = Duration::from_secs(180);

/// What was counted under the same transaction of the same device.
pub(super) enum Twin {
    /// Nothing, or this very receipt by its own number.
    None,
    /// The same receipt under another number.
    Same,
    /// Something else, and what.
    Other(String),
}

/// A row of `fiscal_key`: till, series, receipt, total and end.
type Row = (String, String, String, i64, String);

impl Sqlite {
    /// Finds a receipt's twin.
    pub(super) fn twin(&self, incoming: &Incoming<'_>) -> Result<Twin, BufferError> {
        let receipt = incoming.receipt;
        let Some(fiscal) = receipt.fiscal.as_ref().filter(|_| receipt.counts) else {
            return Ok(Twin::None);
        };
        let sql = "SELECT till, series, receipt, total_cents, ended_at FROM fiscal_key \
                   WHERE tse = ?1 AND device_transaction = ?2";
        let failed = database("compare a receipt");
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let key = params![fiscal.tse.as_str(), fiscal.transaction.cast_signed()];
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let found: Option<Row> = statement.query_row(key, read).optional().map_err(&failed)?;
        let Some((till, series, number, cents, ended_at)) = found else { return Ok(Twin::None) };
        let own = (receipt.till.as_str(), receipt.series.as_str(), receipt.receipt.as_str());
        if own == (till.as_str(), series.as_str(), number.as_str()) {
            return Ok(Twin::None);
        }
        let before: Timestamp = parsed(&ended_at)?;
        let apart = before.since(receipt.ended_at).max(receipt.ended_at.since(before));
        if cents == receipt.total_cents.0 && apart <= APART_MOST {
            return Ok(Twin::Same);
        }
        Ok(Twin::Other(format!(
            "{}: its fiscal transaction {} was counted as receipt {number} of till {till}, with \
             another total or time",
            incoming.name(),
            fiscal.transaction
        )))
    }

    /// Remembers a receipt that counts by its fiscal transaction.
    pub(super) fn remember_fiscal(&self, incoming: &Incoming<'_>) -> Result<(), BufferError> {
        let receipt = incoming.receipt;
        let Some(fiscal) = &receipt.fiscal else { return Ok(()) };
        let sql = "INSERT INTO fiscal_key (tse, device_transaction, till, series, receipt, \
                   total_cents, ended_at, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
                   ON CONFLICT DO NOTHING";
        let key = (fiscal.tse.as_str(), fiscal.transaction.cast_signed());
        let own = (receipt.till.as_str(), receipt.series.as_str(), receipt.receipt.as_str());
        let (ended, at) = (receipt.ended_at.to_string(), incoming.intake.at.to_string());
        let cents = receipt.total_cents.0;
        let values = params![key.0, key.1, own.0, own.1, own.2, cents, ended, at];
        self.execute("remember a fiscal transaction", sql, values).map(|_| ())
    }
}
