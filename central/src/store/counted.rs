//! Whether a dead letter holds anything that is not here already: what a copy of a box, or a new one,
//! has sent once more. It reads only.

use shared::minute::{StoreMinute, TillMinute};

use super::dead_letters::DeadLetter;
use super::write::multirange;
use super::{Store, StoreError};
use crate::validate::rules::NUMBER_MAX;

impl Store {
    /// Tells whether each receipt, number and movement in a letter counts already, by whatever stream.
    /// One that nobody can read, or that holds anything else that moves a figure, does not.
    pub async fn counts_already(&self, letter: &DeadLetter) -> Result<bool, StoreError> {
        let body = letter.body.as_deref().unwrap_or_default();
        let Ok(batch) = serde_json::from_slice::<StoreMinute>(body) else { return Ok(false) };
        let rows = &batch.tills;
        let lists = || rows.iter().flat_map(|row| [&row.receipts, &row.numbers_without_sale]);
        let too_large = lists().any(|list| list.last().is_some_and(|last| last > NUMBER_MAX));
        let moves_more =
            !(batch.corrections.is_empty() && batch.closings.is_empty() && batch.losses.is_empty());
        if too_large || moves_more {
            return Ok(false);
        }
        let of = |text: fn(&TillMinute) -> String| rows.iter().map(text).collect::<Vec<_>>();
        let tills = of(|row| row.till.to_string());
        let series = of(|row| row.series.to_string());
        let receipts = of(|row| multirange(&row.receipts));
        let others = of(|row| multirange(&row.numbers_without_sale));
        let named = |row: &TillMinute| {
            let id = |id: &shared::ids::ReceiptNumber| {
                [row.till.to_string(), row.series.to_string(), id.to_string()]
            };
            row.receipt_ids.iter().map(id).collect::<Vec<_>>()
        };
        let ids: Vec<[String; 3]> = rows.iter().flat_map(named).collect();
        let part = |n: usize| ids.iter().map(|id| id[n].as_str()).collect::<Vec<_>>();
        let movements: Vec<&str> = batch.stock.iter().map(|one| one.id.as_str()).collect();
        let connection = self.connection().await?;
        let row = connection
            .query_one(
                NOTHING_NEW,
                &[
                    &batch.store.as_str(),
                    &tills,
                    &series,
                    &receipts,
                    &others,
                    &part(0),
                    &part(1),
                    &part(2),
                    &movements,
                ],
            )
            .await
            .map_err(StoreError::on("look for what counts already"))?;
        Ok(row.get(0))
    }
}

const NOTHING_NEW: &str = "
    SELECT NOT EXISTS (
        SELECT FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
             q(till, series, receipts, others)
        LEFT JOIN LATERAL (
            SELECT range_agg(r.receipts) AS sold, range_agg(r.receipts + r.without_sale) AS used
            FROM receipt_range r
            WHERE r.store_id = $1 AND r.till = q.till AND r.series = q.series) r ON true
        WHERE NOT coalesce(r.sold, '{}') @> q.receipts::int8multirange
           OR NOT coalesce(r.used, '{}') @> q.others::int8multirange)
    AND NOT EXISTS (
        SELECT FROM unnest($6::text[], $7::text[], $8::text[]) q(till, series, receipt)
        WHERE NOT EXISTS (
            SELECT FROM receipt_id r WHERE r.store_id = $1 AND r.till = q.till
               AND r.series = q.series AND r.receipt = q.receipt))
    AND NOT EXISTS (
        SELECT FROM unnest($9::text[]) q(id)
        WHERE NOT EXISTS (
            SELECT FROM stock_movement m WHERE m.store_id = $1 AND m.movement_id = q.id))";
