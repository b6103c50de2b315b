//! Receipt numbers per till and series: which are missing between two that are there, and which are
//! there twice. A number that was no sale is not missing.

use chrono::{DateTime, Utc};
use shared::time::Timestamp;
use tokio_postgres::Row;

use super::totals::parameters;
use super::{Store, StoreError};
use crate::figures::Scope;

/// Faults that one comparison tells at most.
const FAULTS_MAX: i64 = 20;

/// What is wrong with numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberFault {
    /// Nothing tells of them, and their store is complete beyond the minute of the next one.
    Missing,
    /// Two rows hold them.
    Doubled,
}

/// Receipt numbers that are missing or there twice.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReceiptNumbers {
    /// The store.
    pub store: String,
    /// The till.
    pub till: String,
    /// The numbering run.
    pub series: String,
    /// The minute of the first row that holds a later or the same number.
    pub minute: Timestamp,
    /// What is wrong.
    pub fault: NumberFault,
    /// The first number.
    pub first: i64,
    /// The last number.
    pub last: i64,
}

impl std::fmt::Display for ReceiptNumbers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, till, series, minute, first, last, .. } = self;
        let fault = match self.fault {
            NumberFault::Missing => "missing before",
            NumberFault::Doubled => "there twice, again in",
        };
        write!(
            out,
            "store {store} till {till} series {series}: receipts {first} to {last} are {fault} \
             the minute {minute}"
        )
    }
}

impl Store {
    /// Finds missing and doubled receipt numbers. A hole counts only once its store is complete
    /// through the minute of the number behind it: until then its receipts may be under way.
    pub async fn receipt_numbers(&self, scope: &Scope) -> Result<Vec<ReceiptNumbers>, StoreError> {
        let sql = "
            WITH span AS (
                SELECT store_id, till, series, minute, true AS sold,
                       (r->>0)::bigint AS first, (r->>1)::bigint AS last
                FROM store_minute, jsonb_array_elements(receipts) r
                WHERE ($1::text IS NULL OR store_id = $1) AND ($2::date IS NULL OR business_day = $2)
                UNION ALL
                SELECT store_id, till, series, minute, false, (r->>0)::bigint, (r->>1)::bigint
                FROM store_minute, jsonb_array_elements(numbers_without_sale) r
                WHERE ($1::text IS NULL OR store_id = $1) AND ($2::date IS NULL OR business_day = $2)
            ), chain AS (
                SELECT *, max(last) OVER (run ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS told,
                       max(last) FILTER (WHERE sold)
                           OVER (run ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS sold_before
                FROM span WINDOW run AS (PARTITION BY store_id, till, series ORDER BY first, last, minute)
            ), complete AS (
                SELECT store_id, max(complete_through) AS through FROM ledger GROUP BY store_id
            ), fault AS (
                SELECT store_id, till, series, minute, true AS missing, told + 1 AS first, chain.first - 1 AS last
                FROM chain JOIN complete USING (store_id)
                WHERE chain.first > told + 1 AND minute < through
                UNION ALL
                SELECT store_id, till, series, minute, false, first, least(last, sold_before)
                FROM chain WHERE sold AND first <= sold_before
            )
            SELECT store_id, till, series, minute, missing, first, last FROM fault
            ORDER BY store_id, till, series, first LIMIT $3";
        let (store, day) = parameters(scope);
        let rows = self
            .connection()
            .await?
            .query(sql, &[&store, &day, &FAULTS_MAX])
            .await
            .map_err(StoreError::on("compare its receipt numbers"))?;
        Ok(rows.iter().map(receipt_numbers).collect())
    }
}

fn receipt_numbers(row: &Row) -> ReceiptNumbers {
    ReceiptNumbers {
        store: row.get("store_id"),
        till: row.get("till"),
        series: row.get("series"),
        minute: Timestamp::from_utc(row.get::<_, DateTime<Utc>>("minute")),
        fault: if row.get("missing") { NumberFault::Missing } else { NumberFault::Doubled },
        first: row.get("first"),
        last: row.get("last"),
    }
}
