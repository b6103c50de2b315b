//! Stock on hand = the last count + the changes later than it. A movement takes effect when it
//! occurred, a sale at the end of its minute; "later" is strictly later. A count that arrives late
//! and is still the newest takes everything after it from the rows themselves.

use std::collections::BTreeSet;

use shared::ids::{MovementId, StoreId};
use shared::words::StockEffect;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

use super::rows::{Accepted, Values, copy, position, values};
use crate::store::StoreError;

/// Returns which of these movements were delivered before.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    movements: &BTreeSet<(StoreId, MovementId)>,
) -> Result<BTreeSet<(StoreId, MovementId)>, StoreError> {
    if movements.is_empty() {
        return Ok(BTreeSet::new());
    }
    let stores: Vec<&str> = movements.iter().map(|(store, _)| store.as_str()).collect();
    let ids: Vec<&str> = movements.iter().map(|(_, id)| id.as_str()).collect();
    let rows = transaction
        .query(
            "SELECT store_id, movement_id FROM stock_movement
             JOIN unnest($1::text[], $2::text[]) q(store_id, movement_id)
                  USING (store_id, movement_id)",
            &[&stores, &ids],
        )
        .await
        .map_err(StoreError::on("look up stock movements"))?;
    let id = |row: &tokio_postgres::Row| {
        Some((StoreId::new(row.get(0)).ok()?, MovementId::new(row.get(1)).ok()?))
    };
    Ok(rows.iter().filter_map(id).collect())
}

/// Stores movements and brings stock up to date; the batch's sales are in `incoming_sale` already.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), StoreError> {
    write_movements(transaction, accepted)
        .await
        .map_err(StoreError::on("store stock movements"))?;
    let changed = StoreError::on("bring stock up to date");
    transaction.execute(ADD_CHANGES, &[]).await.map_err(&changed)?;
    transaction.execute(TAKE_COUNTS, &[]).await.map_err(&changed)?;
    Ok(())
}

fn effect(effect: StockEffect) -> &'static str {
    match effect {
        StockEffect::None => "none",
        StockEffect::Change => "change",
        StockEffect::Count => "count",
    }
}

const INCOMING: &str = "CREATE TEMP TABLE IF NOT EXISTS incoming_movement (LIKE stock_movement)
    ON COMMIT DELETE ROWS";
const COPY: &str = "COPY incoming_movement (store_id, movement_id, stream_id, sequence, position,
    business_day, minute, article, kind, effect, unit, quantity_milli, occurred_at, order_id,
    counterparty, reason, best_before, lot) FROM STDIN BINARY";

/// Adds what is later than the count known so far; what is earlier changed sales, not stock.
const ADD_CHANGES: &str = "INSERT INTO stock AS s (store_id, article, unit, on_hand_milli)
    SELECT store_id, article, unit, sum(change)::bigint FROM (
        SELECT store_id, article, unit, -quantity_milli AS change,
               minute + interval '60 seconds' AS effective_at
        FROM incoming_sale WHERE moves_stock
        UNION ALL
        SELECT store_id, article, unit, quantity_milli, occurred_at
        FROM incoming_movement WHERE effect = 'change') c
    LEFT JOIN stock k USING (store_id, article, unit)
    WHERE k.counted_at IS NULL OR c.effective_at > k.counted_at
    GROUP BY store_id, article, unit ORDER BY store_id, article, unit
    ON CONFLICT (store_id, article, unit) DO UPDATE SET
        on_hand_milli = s.on_hand_milli + excluded.on_hand_milli, updated_at = now()";

/// Takes the newest count of the batch where it is newer than the one known, and adds what the
/// rows say happened after it, this batch's own among them.
const TAKE_COUNTS: &str = "INSERT INTO stock AS s
        (store_id, article, unit, on_hand_milli, counted_at, counted_id, counted_milli)
    SELECT n.store_id, n.article, n.unit,
        n.quantity_milli + coalesce((
            SELECT -sum(quantity_milli) FROM sale
            WHERE store_id = n.store_id AND article = n.article AND unit = n.unit AND moves_stock
              AND minute > n.occurred_at - interval '60 seconds')::bigint, 0)
        + coalesce((
            SELECT sum(quantity_milli) FROM stock_movement
            WHERE store_id = n.store_id AND article = n.article AND unit = n.unit
              AND effect = 'change' AND occurred_at > n.occurred_at)::bigint, 0),
        n.occurred_at, n.movement_id, n.quantity_milli
    FROM (
        SELECT DISTINCT ON (store_id, article, unit) *
        FROM incoming_movement WHERE effect = 'count'
        ORDER BY store_id, article, unit, occurred_at DESC, movement_id DESC) n
    LEFT JOIN stock k USING (store_id, article, unit)
    WHERE k.counted_at IS NULL OR (n.occurred_at, n.movement_id) > (k.counted_at, k.counted_id)
    ORDER BY n.store_id, n.article, n.unit
    ON CONFLICT (store_id, article, unit) DO UPDATE SET
        on_hand_milli = excluded.on_hand_milli, counted_at = excluded.counted_at,
        counted_id = excluded.counted_id, counted_milli = excluded.counted_milli,
        updated_at = now()";

async fn write_movements(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), Error> {
    const TYPES: [Type; 18] = [
        Type::TEXT,
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
        Type::INT8,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::DATE,
        Type::TEXT,
    ];
    transaction.batch_execute(INCOMING).await?;
    copy(transaction, COPY, &TYPES, movements(accepted).collect()).await?;
    let keep = "INSERT INTO stock_movement SELECT * FROM incoming_movement";
    transaction.execute(keep, &[]).await.map(|_| ())
}

fn movements<'a>(accepted: &'a [Accepted<'a>]) -> impl Iterator<Item = Values<'a>> {
    accepted.iter().flat_map(|&(place, batch)| {
        batch.stock.iter().enumerate().map(move |(n, movement)| {
            values![
                place.store.as_str(),
                movement.id.as_str(),
                place.stream.as_uuid(),
                place.sequence,
                position(n),
                batch.business_day.date(),
                batch.minute.start().utc(),
                movement.article.as_str(),
                movement.kind.as_str(),
                effect(movement.kind.effect()),
                movement.unit.as_str(),
                movement.quantity_milli.0,
                movement.occurred_at.utc(),
                movement.order.as_ref().map(|label| label.as_str()),
                movement.counterparty.as_ref().map(|label| label.as_str()),
                movement.reason.as_ref().map(|label| label.as_str()),
                movement.best_before.map(|day| day.date()),
                movement.lot.as_ref().map(|label| label.as_str()),
            ]
        })
    })
}
