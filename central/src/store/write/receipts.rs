//! Receipts that tills delivered, in any stream: looked up before a batch is judged, added when it
//! counts.

use std::collections::BTreeMap;

use shared::ids::{Series, StoreId, TillId};
use shared::minute::{StoreMinute, TillMinute};
use shared::ranges::Ranges;
use tokio_postgres::{Error, Row, Transaction};

use super::rows::{Accepted, tills};
use crate::store::StoreError;
use crate::validate::delivered::Delivered;
use crate::validate::rules::NUMBER_MAX;

/// Returns what these batches would double, by store.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    batches: &[&StoreMinute],
) -> Result<BTreeMap<StoreId, Delivered>, StoreError> {
    let mut delivered = BTreeMap::new();
    known_numbers(transaction, batches, &mut delivered)
        .await
        .map_err(StoreError::on("look for receipt numbers"))?;
    known_ids(transaction, batches, &mut delivered)
        .await
        .map_err(StoreError::on("look for receipts"))?;
    Ok(delivered)
}

/// The tills of all batches, with their store.
fn listed<'a>(batches: &'a [&StoreMinute]) -> impl Iterator<Item = (&'a str, &'a TillMinute)> {
    batches
        .iter()
        .flat_map(|batch| batch.tills.iter().map(move |till| (batch.store.as_str(), till)))
}

async fn known_numbers(
    transaction: &Transaction<'_>,
    batches: &[&StoreMinute],
    to: &mut BTreeMap<StoreId, Delivered>,
) -> Result<(), Error> {
    let fits = |ranges: &Ranges| ranges.last().is_some_and(|last| last <= NUMBER_MAX);
    let asked: Vec<_> = listed(batches).filter(|(_, till)| fits(&till.receipts)).collect();
    let stores: Vec<&str> = asked.iter().map(|(store, _)| *store).collect();
    let tills: Vec<&str> = asked.iter().map(|(_, till)| till.till.as_str()).collect();
    let series: Vec<&str> = asked.iter().map(|(_, till)| till.series.as_str()).collect();
    let numbers: Vec<String> = asked.iter().map(|(_, till)| multirange(&till.receipts)).collect();
    let rows = transaction
        .query(
            "SELECT q.store_id, q.till, q.series, lower(common), upper(common) - 1
             FROM (SELECT store_id, till, series, range_agg(numbers::int8multirange) AS numbers
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
                        q(store_id, till, series, numbers)
                   GROUP BY store_id, till, series) q
             JOIN receipt_range r USING (store_id, till, series),
             unnest(r.receipts * q.numbers) common",
            &[&stores, &tills, &series, &numbers],
        )
        .await?;
    for row in &rows {
        let mut numbers = Ranges::new();
        let number = |at| u64::try_from(row.get::<_, i64>(at)).expect("numbers are not negative");
        numbers.insert_range(number(3), number(4));
        let (store, till, series) = place(row);
        to.entry(store).or_default().add_numbers(till, series, numbers);
    }
    Ok(())
}

async fn known_ids(
    transaction: &Transaction<'_>,
    batches: &[&StoreMinute],
    to: &mut BTreeMap<StoreId, Delivered>,
) -> Result<(), Error> {
    let asked: Vec<_> = listed(batches)
        .flat_map(|(store, till)| till.receipt_ids.iter().map(move |id| (store, till, id)))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let stores: Vec<&str> = asked.iter().map(|(store, ..)| *store).collect();
    let tills: Vec<&str> = asked.iter().map(|(_, till, _)| till.till.as_str()).collect();
    let series: Vec<&str> = asked.iter().map(|(_, till, _)| till.series.as_str()).collect();
    let ids: Vec<&str> = asked.iter().map(|(.., id)| id.as_str()).collect();
    let rows = transaction
        .query(
            "SELECT store_id, till, series, receipt FROM receipt_id
             JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[])
                  q(store_id, till, series, receipt) USING (store_id, till, series, receipt)",
            &[&stores, &tills, &series, &ids],
        )
        .await?;
    for row in &rows {
        let (store, till, series) = place(row);
        let id = row.get::<_, String>(3).parse().expect("what was asked for is an id");
        to.entry(store).or_default().add_id(till, series, id);
    }
    Ok(())
}

/// Reads the place of a row; it is one that was asked for.
fn place(row: &Row) -> (StoreId, TillId, Series) {
    let text = |at| row.get::<_, String>(at);
    const WHY: &str = "what was asked for is an id";
    (text(0).parse().expect(WHY), text(1).parse().expect(WHY), text(2).parse().expect(WHY))
}

/// Writes ranges as Postgres writes a multirange.
pub(in crate::store) fn multirange(ranges: &Ranges) -> String {
    let parts: Vec<String> =
        ranges.iter().map(|(first, last)| format!("[{first},{last}]")).collect();
    format!("{{{}}}", parts.join(","))
}

/// Adds what counts.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    write_numbers(transaction, accepted).await?;
    write_ids(transaction, accepted).await
}

async fn write_numbers(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    let rows: Vec<_> = tills(accepted).collect();
    let stores: Vec<&str> = rows.iter().map(|((place, _), ..)| place.store.as_str()).collect();
    let streams: Vec<_> = rows.iter().map(|((place, _), ..)| place.stream.as_uuid()).collect();
    let tills: Vec<&str> = rows.iter().map(|(.., till)| till.till.as_str()).collect();
    let series: Vec<&str> = rows.iter().map(|(.., till)| till.series.as_str()).collect();
    let receipts: Vec<String> = rows.iter().map(|(.., till)| multirange(&till.receipts)).collect();
    let others: Vec<String> =
        rows.iter().map(|(.., till)| multirange(&till.numbers_without_sale)).collect();
    transaction
        .execute(
            "INSERT INTO receipt_range AS r (store_id, till, series, stream_id, receipts, without_sale)
             SELECT store_id, till, series, stream_id, range_agg(receipts::int8multirange),
                    range_agg(others::int8multirange)
             FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[])
                  q(store_id, till, series, stream_id, receipts, others)
             GROUP BY store_id, till, series, stream_id ORDER BY store_id, till, series, stream_id
             ON CONFLICT (store_id, till, series, stream_id) DO UPDATE SET
                 receipts = r.receipts + excluded.receipts,
                 without_sale = r.without_sale + excluded.without_sale",
            &[&stores, &tills, &series, &streams, &receipts, &others],
        )
        .await
        .map(|_| ())
}

async fn write_ids(transaction: &Transaction<'_>, accepted: &[Accepted<'_>]) -> Result<(), Error> {
    let rows: Vec<_> = tills(accepted)
        .flat_map(|((place, _), _, till)| till.receipt_ids.iter().map(move |id| (place, till, id)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let stores: Vec<&str> = rows.iter().map(|(place, ..)| place.store.as_str()).collect();
    let tills: Vec<&str> = rows.iter().map(|(_, till, _)| till.till.as_str()).collect();
    let series: Vec<&str> = rows.iter().map(|(_, till, _)| till.series.as_str()).collect();
    let ids: Vec<&str> = rows.iter().map(|(.., id)| id.as_str()).collect();
    let streams: Vec<_> = rows.iter().map(|(place, ..)| place.stream.as_uuid()).collect();
    let sequences: Vec<i64> = rows.iter().map(|(place, ..)| place.sequence).collect();
    transaction
        .execute(
            "INSERT INTO receipt_id (store_id, till, series, receipt, stream_id, sequence)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[],
                  $6::bigint[])",
            &[&stores, &tills, &series, &ids, &streams, &sequences],
        )
        .await
        .map(|_| ())
}
