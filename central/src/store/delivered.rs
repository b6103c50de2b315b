//! What is here of a store's receipts, for a box whose buffer is gone. It changes nothing but the
//! audit, which says who took it.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::delivered::{Delivered, DeliveredSeries};
use shared::ids::{StoreId, StreamId};
use shared::time::{Minute, Timestamp};
use tokio_postgres::{IsolationLevel, Row};

use super::audit::{self, Doer};
use super::{Store, StoreError};

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DeliveredError {
    /// The store is not in the registry.
    #[error("store {0} is not in the registry")]
    Unknown(StoreId),
    /// A row holds what no agent can have sent.
    #[error("the receipts of till {till} are not readable")]
    Row {
        /// The till.
        till: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Postgres did not answer.
    #[error("the receipts cannot be read")]
    Store(#[source] StoreError),
}

impl Store {
    /// Returns what counted of a store, whatever stream brought it, and the stream that is active.
    pub async fn delivered(
        &self,
        store: &StoreId,
        made_at: Timestamp,
        doer: &Doer,
    ) -> Result<Delivered, DeliveredError> {
        let failed = |source| DeliveredError::Store(StoreError::on("list receipts")(source));
        let mut connection = self.connection().await.map_err(DeliveredError::Store)?;
        // The stream and the receipts are of one moment.
        let transaction = connection
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(failed)?;
        let name = store.as_str();
        let sql = "SELECT a.stream_id FROM store s
                   LEFT JOIN store_stream a ON a.store_id = s.store_id AND a.retired_at IS NULL
                   WHERE s.store_id = $1";
        let known = transaction.query_opt(sql, &[&name]).await.map_err(failed)?;
        let known = known.ok_or_else(|| DeliveredError::Unknown(store.clone()))?;
        let sql = "
            WITH number AS (
                SELECT till, series, range_agg(receipts) AS receipts, range_agg(without_sale) AS without_sale
                FROM receipt_range WHERE store_id = $1 GROUP BY till, series
            ), minutes AS (
                SELECT till, series, min(minute) AS first, max(minute) AS last
                FROM store_minute WHERE store_id = $1 GROUP BY till, series
            ), id AS (
                SELECT till, series, jsonb_agg(receipt ORDER BY receipt) AS ids
                FROM receipt_id WHERE store_id = $1 GROUP BY till, series
            )
            SELECT till, series, first, last, coalesce(ids, '[]') AS ids,
                   (SELECT coalesce(jsonb_agg(jsonb_build_array(lower(r), upper(r) - 1) ORDER BY r), '[]')
                    FROM unnest(receipts) r) AS receipts,
                   (SELECT coalesce(jsonb_agg(jsonb_build_array(lower(r), upper(r) - 1) ORDER BY r), '[]')
                    FROM unnest(without_sale) r) AS without_sale
            FROM number JOIN minutes USING (till, series) LEFT JOIN id USING (till, series)
            ORDER BY till, series";
        let rows = transaction.query(sql, &[&name]).await.map_err(failed)?;
        let details = json!({"store": name, "series": rows.len()});
        let noted = audit::note(&transaction, doer, "stores export-receipts", details).await;
        noted.map_err(DeliveredError::Store)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Delivered {
            store: store.clone(),
            stream: known.get::<_, Option<uuid::Uuid>>(0).map(StreamId::from_uuid),
            made_at,
            tills: rows.iter().map(series).collect::<Result<_, _>>()?,
        })
    }
}

fn series(row: &Row) -> Result<DeliveredSeries, DeliveredError> {
    Ok(DeliveredSeries {
        till: of(row, row.get::<_, String>("till").into())?,
        series: of(row, row.get::<_, String>("series").into())?,
        receipts: of(row, row.get("receipts"))?,
        receipt_ids: of(row, row.get("ids"))?,
        numbers_without_sale: of(row, row.get("without_sale"))?,
        first_minute: minute(row, "first"),
        last_minute: minute(row, "last"),
    })
}

fn of<T: DeserializeOwned>(row: &Row, value: Value) -> Result<T, DeliveredError> {
    let failed = |source| DeliveredError::Row { till: row.get("till"), source };
    serde_json::from_value(value).map_err(failed)
}

fn minute(row: &Row, column: &str) -> Minute {
    Timestamp::from_utc(row.get::<_, DateTime<Utc>>(column)).minute()
}
