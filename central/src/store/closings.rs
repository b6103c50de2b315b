//! What tills said at their closing, beside what their rows sum up to. A closing names the receipts
//! that it closes, so it is compared with the rows of just these numbers; one that names none is
//! compared with its tills' business day, where it is the only one.

use chrono::NaiveDate;
use shared::time::BusinessDay;
use tokio_postgres::Row;

use super::compared::{Compared, DIFFERENCES_MAX};
use super::totals::parameters;
use super::{Store, StoreError};
use crate::figures::Scope;

/// The widest step between two closings that a missing one explains.
const HOLE_MOST: i32 = 10;

/// How a closing compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Differs,
    /// A minute's row holds receipts of two closings or some without numbers, a receipt was corrected,
    /// or two closings share a day and name no numbers.
    Undecided,
}

/// A closing whose total is not the sum of its receipts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClosingDifference {
    /// The store.
    pub store: String,
    /// The tills that were closed.
    pub tills: Vec<String>,
    /// The closing's own name.
    pub closing: String,
    /// What told of it.
    pub source: String,
    /// The day it belongs to.
    pub day: BusinessDay,
    /// What the till said.
    pub closing_cents: i64,
    /// What the rows say.
    pub rows_cents: i64,
}

/// Every closing in scope, compared; undecided are those that cannot be compared to the cent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Closings {
    /// How they compare with their rows.
    #[serde(flatten)]
    pub compared: Compared<ClosingDifference>,
    /// Closings that are missing between two others, or that close what another one closed.
    pub faults: Vec<ClosingFault>,
}

/// A closing that is missing, or is there twice under two numbers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClosingFault {
    /// The store.
    pub store: String,
    /// The tills that were closed.
    pub tills: Vec<String>,
    /// What told of it.
    pub source: String,
    /// The day of the closing behind the missing ones, or of the second one.
    pub day: BusinessDay,
    /// That closing.
    pub closing: String,
    /// The closing before it, or the first one.
    pub other: String,
    /// True where those between them are missing.
    pub missing: bool,
}

impl std::fmt::Display for ClosingFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, source, day, closing, other, .. } = self;
        let tills = self.tills.join(", ");
        write!(out, "store {store} day {day} tills {tills} ({source}): ")?;
        if self.missing {
            write!(out, "between closings {other} and {closing} one is missing")
        } else {
            write!(out, "closing {closing} closes receipts that closing {other} closes")
        }
    }
}

impl std::fmt::Display for ClosingDifference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, closing, source, day, closing_cents, rows_cents, .. } = self;
        let tills = self.tills.join(", ");
        write!(
            out,
            "store {store} day {day} tills {tills}: closing {closing} ({source}) says {closing_cents}, \
             its receipts sum up to {rows_cents}"
        )
    }
}

impl Store {
    /// Compares closings with the rows of their receipts. One that another supersedes is left out.
    pub async fn compare_closings(&self, scope: &Scope) -> Result<Closings, StoreError> {
        let sql = "
            WITH closing AS (
                SELECT c.*, (SELECT range_agg(int8range((r->>0)::bigint, (r->>1)::bigint, '[]'))
                             FROM jsonb_array_elements(c.receipts) r) AS numbers,
                       count(*) OVER (PARTITION BY store_id, tills, source, business_day) AS that_day
                FROM till_closing c
                WHERE ($1::text IS NULL OR c.store_id = $1) AND ($2::date IS NULL OR c.business_day = $2)
                  AND NOT EXISTS (SELECT 1 FROM till_closing later
                                  WHERE later.store_id = c.store_id AND later.tills = c.tills
                                    AND later.source = c.source AND later.supersedes = c.closing)
            ), part AS (
                SELECT c.store_id, c.tills, c.closing, c.source, m.total_cents,
                       CASE WHEN c.numbers IS NULL THEN c.that_day = 1
                            ELSE m.numbers <@ c.numbers AND m.receipt_ids = '[]' END AS inside
                FROM closing c JOIN LATERAL (
                    SELECT s.total_cents, s.business_day, s.receipt_ids,
                           (SELECT range_agg(int8range((r->>0)::bigint, (r->>1)::bigint, '[]'))
                            FROM jsonb_array_elements(s.receipts) r) AS numbers
                    FROM store_minute s
                    WHERE s.store_id = c.store_id AND s.till = ANY (c.tills)
                      AND s.business_day BETWEEN c.business_day - 1 AND c.business_day + 1
                      -- Numbers that begin anew each day say nothing of another day's.
                      AND (s.business_day = c.business_day OR s.series !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$')
                ) m ON CASE WHEN c.numbers IS NULL THEN m.business_day = c.business_day
                            ELSE m.numbers && c.numbers END
            )
            SELECT c.store_id, c.tills, c.closing, c.source, c.business_day, c.total_cents,
                   coalesce(sum(p.total_cents), 0)::bigint AS rows_cents,
                   coalesce(bool_and(p.inside), c.numbers IS NOT NULL OR c.that_day = 1)
                   -- What corrects a receipt names its number no second time.
                   AND NOT EXISTS (SELECT 1 FROM correction f
                                   WHERE f.store_id = c.store_id AND f.till = ANY (c.tills)
                                     AND f.business_day BETWEEN c.business_day - 1 AND c.business_day + 1)
                       AS decided
            FROM closing c LEFT JOIN part p USING (store_id, tills, closing, source)
            GROUP BY c.store_id, c.tills, c.closing, c.source, c.business_day, c.total_cents, c.numbers,
                     c.that_day
            ORDER BY c.store_id, c.business_day, c.tills, c.closing, c.source";
        let (store, day) = parameters(scope);
        let rows = self
            .connection()
            .await?
            .query(sql, &[&store, &day])
            .await
            .map_err(StoreError::on("compare its closings"))?;
        let mut closings = Closings::default();
        rows.iter().for_each(|row| closings.add(row));
        closings.faults = self.closing_faults(scope).await?;
        Ok(closings)
    }

    /// Finds closings that are missing between two that are numbered, and receipts that two closings
    /// of a day close. A hole counts once its store is complete beyond the closing behind it; a wide
    /// one is another way of numbering.
    async fn closing_faults(&self, scope: &Scope) -> Result<Vec<ClosingFault>, StoreError> {
        let sql = "
            WITH closing AS (
                SELECT store_id, tills, source, closing, business_day, closed_at, supersedes,
                       (SELECT range_agg(int8range((r->>0)::bigint, (r->>1)::bigint, '[]'))
                        FROM jsonb_array_elements(receipts) r) AS numbers
                FROM till_closing WHERE $1::text IS NULL OR store_id = $1
            ), chain AS (
                SELECT *, closing::numeric AS number, lag(closing) OVER run AS before
                FROM closing WHERE closing ~ '^[0-9]{1,18}$'
                WINDOW run AS (PARTITION BY store_id, tills, source ORDER BY closing::numeric, closing)
            ), complete AS (
                SELECT store_id, max(complete_through) AS through FROM ledger GROUP BY store_id
            )
            SELECT store_id, tills, source, business_day, closing, before AS other, true AS missing
            FROM chain JOIN complete USING (store_id)
            WHERE number - before::numeric BETWEEN 2 AND $3::int AND closed_at < through
              AND ($2::date IS NULL OR business_day = $2)
            UNION ALL
            SELECT b.store_id, b.tills, b.source, b.business_day, b.closing, a.closing, false
            FROM closing a JOIN closing b USING (store_id, tills, source, business_day)
            WHERE a.numbers && b.numbers AND (a.closed_at, a.closing) < (b.closed_at, b.closing)
              AND b.supersedes IS DISTINCT FROM a.closing AND a.supersedes IS DISTINCT FROM b.closing
              AND ($2::date IS NULL OR business_day = $2)
            ORDER BY 1, 4, 2, 5 LIMIT $4";
        let (store, day) = parameters(scope);
        let most = i64::try_from(DIFFERENCES_MAX).unwrap_or(i64::MAX);
        let rows = self
            .connection()
            .await?
            .query(sql, &[&store, &day, &HOLE_MOST, &most])
            .await
            .map_err(StoreError::on("look for its closings"))?;
        Ok(rows.iter().map(fault).collect())
    }
}

impl Closings {
    /// Adds what another comparison found.
    pub(crate) fn join(&mut self, other: Self) {
        self.compared.join(other.compared);
        self.faults.extend(other.faults);
        self.faults.truncate(DIFFERENCES_MAX);
    }

    fn add(&mut self, row: &Row) {
        let (said, summed): (i64, i64) = (row.get("total_cents"), row.get("rows_cents"));
        match compare(said, summed, row.get("decided")) {
            Comparison::Equal => self.compared.equal += 1,
            Comparison::Undecided => self.compared.undecided += 1,
            Comparison::Differs => self.compared.differ(difference(row)),
        }
    }
}

fn compare(said: i64, summed: i64, decided: bool) -> Comparison {
    match (decided, said == summed) {
        (_, true) => Comparison::Equal,
        (true, false) => Comparison::Differs,
        (false, false) => Comparison::Undecided,
    }
}

fn fault(row: &Row) -> ClosingFault {
    ClosingFault {
        store: row.get("store_id"),
        tills: row.get("tills"),
        source: row.get("source"),
        day: BusinessDay::new(row.get::<_, NaiveDate>("business_day")),
        closing: row.get("closing"),
        other: row.get("other"),
        missing: row.get("missing"),
    }
}

fn difference(row: &Row) -> ClosingDifference {
    ClosingDifference {
        store: row.get("store_id"),
        tills: row.get("tills"),
        closing: row.get("closing"),
        source: row.get("source"),
        day: BusinessDay::new(row.get::<_, NaiveDate>("business_day")),
        closing_cents: row.get("total_cents"),
        rows_cents: row.get("rows_cents"),
    }
}
