//! The rows of accepted batches. Sales go through a temporary table, from which the sums per day
//! are made by one statement; everything else is copied or inserted as it stands.

use std::pin::pin;

use serde::Serialize;
use serde_json::Value;
use shared::minute::{StoreMinute, TillMinute};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Transaction};

use super::{Place, receipts};
use crate::store::StoreError;

/// A batch that counts, at its place.
pub(super) type Accepted<'a> = (&'a Place, &'a StoreMinute);

/// One row's values in the order of the columns.
pub(super) type Values<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

macro_rules! values {
    ($($value:expr),+ $(,)?) => {{
        let row: Values<'_> = vec![$(Box::new($value)),+];
        row
    }};
}
pub(super) use values;

/// Copies rows in Postgres' binary form, which neither quotes nor parses.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    statement: &str,
    types: &[Type],
    rows: Vec<Values<'_>>,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sink = transaction.copy_in(statement).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
    for row in rows {
        let row: Vec<&(dyn ToSql + Sync)> =
            row.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await.map(|_| ())
}

pub(super) async fn write(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), StoreError> {
    write_tills(transaction, accepted).await.map_err(StoreError::on("store the tills' totals"))?;
    write_vat(transaction, accepted).await.map_err(StoreError::on("store VAT"))?;
    write_payments(transaction, accepted).await.map_err(StoreError::on("store payments"))?;
    receipts::write(transaction, accepted).await.map_err(StoreError::on("store receipts"))?;
    write_sales(transaction, accepted).await.map_err(StoreError::on("store sales"))?;
    write_closings(transaction, accepted).await.map_err(StoreError::on("store closings"))?;
    write_losses(transaction, accepted).await.map_err(StoreError::on("store losses"))?;
    write_corrections(transaction, accepted).await.map_err(StoreError::on("store corrections"))
}

/// A position within a batch; a body of a megabyte holds fewer than 2^31 of anything.
pub(super) fn position(index: usize) -> i32 {
    i32::try_from(index).expect("a record holds fewer than 2^31 rows")
}

/// A count or rate that the judge has bounded far below 2^63.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).expect("the judge bounds counts")
}

fn rate(bp: Option<u32>) -> Option<i32> {
    bp.map(|bp| i32::try_from(bp).expect("the judge bounds rates"))
}

fn json<T: Serialize>(part: &T) -> Value {
    serde_json::to_value(part).expect("our types have text keys and no failing parts")
}

/// Numbers the tills' rows over the whole batch.
pub(super) fn tills<'a>(
    accepted: &'a [Accepted<'a>],
) -> impl Iterator<Item = (Accepted<'a>, usize, &'a TillMinute)> {
    accepted.iter().flat_map(|&(place, batch)| {
        batch.tills.iter().enumerate().map(move |(n, till)| ((place, batch), n, till))
    })
}

async fn write_tills(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    const TYPES: [Type; 22] = [
        Type::TEXT,
        Type::UUID,
        Type::INT8,
        Type::INT4,
        Type::DATE,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
        Type::JSONB,
        Type::JSONB,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::JSONB,
        Type::JSONB,
        Type::JSONB,
    ];
    let rows = tills(accepted).map(|((place, batch), n, till)| {
        values![
            place.store.as_str(),
            place.stream.as_uuid(),
            place.sequence,
            position(n),
            batch.business_day.date(),
            batch.minute.start().utc(),
            batch.kind.as_str(),
            till.till.as_str(),
            till.series.as_str(),
            till.channel.as_str(),
            json(&till.receipts),
            json(&till.receipt_ids),
            json(&till.numbers_without_sale),
            count(till.receipt_count),
            till.lines_cents.0,
            till.tax_added_cents.0,
            till.adjustment_cents.0,
            till.total_cents.0,
            till.voided_cents.0,
            json(&till.adjustments),
            json(&till.cash_moves),
            json(&till.counts),
        ]
    });
    copy(
        transaction,
        "COPY store_minute (store_id, stream_id, sequence, position, business_day, minute, kind,
            till, series, channel, receipts, receipt_ids, numbers_without_sale, receipt_count,
            lines_cents, tax_added_cents, adjustment_cents, total_cents, voided_cents, adjustments,
            cash_moves, counts) FROM STDIN BINARY",
        &TYPES,
        rows.collect(),
    )
    .await
}

async fn write_vat(transaction: &Transaction<'_>, accepted: &[Accepted<'_>]) -> Result<(), Error> {
    const TYPES: [Type; 13] = [
        Type::TEXT,
        Type::UUID,
        Type::INT8,
        Type::INT4,
        Type::DATE,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ];
    let rows = accepted.iter().flat_map(|&(place, batch)| {
        let all = batch.tills.iter().flat_map(|till| till.vat.iter().map(move |vat| (till, vat)));
        all.enumerate().map(move |(n, (till, vat))| {
            values![
                place.store.as_str(),
                place.stream.as_uuid(),
                place.sequence,
                position(n),
                batch.business_day.date(),
                batch.minute.start().utc(),
                till.till.as_str(),
                till.series.as_str(),
                vat.key.as_str(),
                rate(vat.bp),
                vat.gross_cents.0,
                vat.net_cents.0,
                vat.tax_cents.0,
            ]
        })
    });
    copy(
        transaction,
        "COPY till_vat (store_id, stream_id, sequence, position, business_day, minute, till, series,
            vat_key, vat_bp, gross_cents, net_cents, tax_cents) FROM STDIN BINARY",
        &TYPES,
        rows.collect(),
    )
    .await
}

async fn write_payments(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    const TYPES: [Type; 11] = [
        Type::TEXT,
        Type::UUID,
        Type::INT8,
        Type::INT4,
        Type::DATE,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
    ];
    let rows = accepted.iter().flat_map(|&(place, batch)| {
        let all =
            batch.tills.iter().flat_map(|till| till.payments.iter().map(move |paid| (till, paid)));
        all.enumerate().map(move |(n, (till, paid))| {
            values![
                place.store.as_str(),
                place.stream.as_uuid(),
                place.sequence,
                position(n),
                batch.business_day.date(),
                batch.minute.start().utc(),
                till.till.as_str(),
                till.series.as_str(),
                paid.kind.as_str(),
                paid.cents.0,
                paid.currency.as_ref().map(|label| label.as_str()),
            ]
        })
    });
    copy(
        transaction,
        "COPY till_payment (store_id, stream_id, sequence, position, business_day, minute, till,
            series, kind, cents, currency) FROM STDIN BINARY",
        &TYPES,
        rows.collect(),
    )
    .await
}

const INCOMING_SALES: &str =
    "CREATE TEMP TABLE IF NOT EXISTS incoming_sale (LIKE sale) ON COMMIT DELETE ROWS";
const COPY_SALES: &str =
    "COPY incoming_sale (store_id, stream_id, sequence, position, business_day,
    minute, till, article, text, kind, void, unit, vat_key, vat_bp, seller, restock, moves_stock,
    quantity_milli, amount_cents, discount_cents, adjustment_share_cents, lines) FROM STDIN BINARY";
const ADD_DAYS: &str =
    "INSERT INTO article_day AS d (store_id, business_day, article, kind, unit, own,
        quantity_milli, amount_cents, discount_cents, adjustment_share_cents, lines)
    SELECT store_id, business_day, article, kind, unit, seller IS NULL, sum(quantity_milli)::bigint,
        sum(amount_cents)::bigint, sum(discount_cents)::bigint, sum(adjustment_share_cents)::bigint,
        sum(lines)::bigint
    FROM incoming_sale GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (store_id, business_day, article, kind, unit, own) DO UPDATE SET
        quantity_milli = d.quantity_milli + excluded.quantity_milli,
        amount_cents = d.amount_cents + excluded.amount_cents,
        discount_cents = d.discount_cents + excluded.discount_cents,
        adjustment_share_cents = d.adjustment_share_cents + excluded.adjustment_share_cents,
        lines = d.lines + excluded.lines, updated_at = now()";

async fn write_sales(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    const TYPES: [Type; 22] = [
        Type::TEXT,
        Type::UUID,
        Type::INT8,
        Type::INT4,
        Type::DATE,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::BOOL,
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::TEXT,
        Type::BOOL,
        Type::BOOL,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ];
    transaction.batch_execute(INCOMING_SALES).await?;
    copy(transaction, COPY_SALES, &TYPES, sales(accepted).collect()).await?;
    transaction.execute("INSERT INTO sale SELECT * FROM incoming_sale", &[]).await?;
    transaction.execute(ADD_DAYS, &[]).await.map(|_| ())
}

fn sales<'a>(accepted: &'a [Accepted<'a>]) -> impl Iterator<Item = Values<'a>> {
    accepted.iter().flat_map(|&(place, batch)| {
        batch.sales.iter().enumerate().map(move |(n, sale)| {
            values![
                place.store.as_str(),
                place.stream.as_uuid(),
                place.sequence,
                position(n),
                batch.business_day.date(),
                batch.minute.start().utc(),
                sale.till.as_str(),
                sale.article.as_str(),
                sale.text.as_ref().map(|label| label.as_str()),
                sale.kind.as_str(),
                sale.void,
                sale.unit.as_str(),
                sale.vat_key.as_ref().map(|label| label.as_str()),
                rate(sale.vat_bp),
                sale.seller.as_ref().map(|label| label.as_str()),
                sale.restock,
                sale.moves_stock(),
                sale.quantity_milli.0,
                sale.amount_cents.0,
                sale.discount_cents.0,
                sale.adjustment_share_cents.0,
                count(sale.lines),
            ]
        })
    })
}

/// Closings are rare: a statement each. One that is known already stays as it was told first.
async fn write_closings(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    for (place, batch) in accepted {
        for closing in &batch.closings {
            let tills: Vec<&str> = closing.tills.iter().map(|till| till.as_str()).collect();
            transaction
                .execute(
                    "INSERT INTO till_closing (store_id, tills, closing, source, stream_id, sequence,
                        business_day, opened_at, closed_at, receipts, total_cents, cases, payments,
                        cash_moves, supersedes)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
                     ON CONFLICT DO NOTHING",
                    &[
                        &place.store.as_str(),
                        &tills,
                        &closing.closing.as_str(),
                        &closing.source.as_str(),
                        &place.stream.as_uuid(),
                        &place.sequence,
                        &batch.business_day.date(),
                        &closing.opened_at.map(|at| at.utc()),
                        &closing.closed_at.utc(),
                        &json(&closing.receipts),
                        &closing.total_cents.0,
                        &json(&closing.cases),
                        &json(&closing.payments),
                        &json(&closing.cash_moves),
                        &closing.supersedes.as_ref().map(|label| label.as_str()),
                    ],
                )
                .await?;
        }
    }
    Ok(())
}

async fn write_losses(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    for (place, batch) in accepted {
        for loss in &batch.losses {
            transaction
                .execute(
                    "INSERT INTO loss (store_id, loss_id, stream_id, sequence, till, minute, count,
                        cents, reason)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
                    &[
                        &place.store.as_str(),
                        &loss.id.as_str(),
                        &place.stream.as_uuid(),
                        &place.sequence,
                        &loss.till.as_ref().map(|till| till.as_str()),
                        &loss.minute.start().utc(),
                        &count(loss.count),
                        &loss.cents.0,
                        &loss.reason.as_str(),
                    ],
                )
                .await?;
        }
    }
    Ok(())
}

async fn write_corrections(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    for (place, batch) in accepted {
        for (n, correction) in batch.corrections.iter().enumerate() {
            transaction
                .execute(
                    "INSERT INTO correction (store_id, stream_id, sequence, position, business_day,
                        till, series, receipt, total_cents)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    &[
                        &place.store.as_str(),
                        &place.stream.as_uuid(),
                        &place.sequence,
                        &position(n),
                        &batch.business_day.date(),
                        &correction.till.as_str(),
                        &correction.series.as_str(),
                        &correction.receipt.as_str(),
                        &correction.total_cents.0,
                    ],
                )
                .await?;
        }
    }
    Ok(())
}
