//! What agents say that they have counted of their days. What is told with a later sequence replaces
//! what was told before, in whatever order records come.

use tokio_postgres::Transaction;

use super::rows::{Accepted, count};
use crate::store::StoreError;

/// Adds what is told; digests are rare: some a day and till.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    accepted: &[Accepted<'_>],
) -> Result<(), StoreError> {
    for (place, batch) in accepted {
        for digest in &batch.digests {
            transaction
                .execute(
                    "INSERT INTO day_digest AS d (store_id, business_day, till, series, stream_id,
                        first_sequence, sequence, receipts, cents, keys)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                     ON CONFLICT (store_id, business_day, till, series, stream_id, first_sequence)
                     DO UPDATE SET sequence = excluded.sequence, receipts = excluded.receipts,
                        cents = excluded.cents, keys = excluded.keys, told_at = now()
                     WHERE d.sequence < excluded.sequence",
                    &[
                        &place.store.as_str(),
                        &digest.business_day.date(),
                        &digest.till.as_str(),
                        &digest.series.as_str(),
                        &place.stream.as_uuid(),
                        &count(digest.first_sequence.get()),
                        &place.sequence,
                        &count(digest.receipts),
                        &digest.cents.0,
                        &digest.keys.bytes().as_slice(),
                    ],
                )
                .await
                .map_err(StoreError::on("store what an agent has counted"))?;
        }
    }
    Ok(())
}
