//! What the views hold, summed up to be compared with the topic and the lake. All sums of one
//! comparison come from one snapshot of the database.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use shared::time::{BusinessDay, Timestamp};
use tokio_postgres::Transaction;
use tokio_postgres::{IsolationLevel, Row};

use super::{Store, StoreError};
use crate::figures::{Figures, FiguresByKey, Grain, Key, Part, Scope};

/// Per partition the offset before which records count.
pub type Cut = BTreeMap<i32, i64>;

/// Differences that a comparison within the database tells at most.
const DIFFERENCES_MAX: i64 = 20;

/// What is to be summed up.
#[derive(Debug)]
pub struct Question<'a> {
    /// The topic's id.
    pub generation: &'a str,
    /// Where each part ends, as the lake has it.
    pub cuts: &'a BTreeMap<Part, Cut>,
    /// Stores and days.
    pub scope: &'a Scope,
    /// How fine.
    pub grain: Grain,
}

/// An article's day whose kept sums are not the sums of its rows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ArticleDifference {
    /// Store, day, article, kind and unit.
    pub place: String,
    /// Quantity, amount and lines as kept.
    pub kept: [i64; 3],
    /// The same as the rows say.
    pub rows: [i64; 3],
}

impl Part {
    fn view(self) -> &'static str {
        match self {
            Self::Sales => "v1.sales",
            Self::Tills => "v1.tills",
            Self::Stock => "v1.stock_movements",
        }
    }

    /// The three sums, in the order of [`Figures::of_part`].
    fn sums(self) -> &'static str {
        match self {
            Self::Sales => {
                "sum(lines)::bigint, sum(quantity_milli)::bigint, sum(amount_cents)::bigint"
            }
            Self::Tills => {
                "count(DISTINCT (stream, sequence)), sum(receipt_count)::bigint,
                 sum(total_cents)::bigint"
            }
            Self::Stock => "count(*), sum(quantity_milli)::bigint, 0::bigint",
        }
    }

    fn key(self, grain: Grain) -> &'static str {
        match (grain, self) {
            (Grain::Day, _) => "store, business_day",
            (Grain::Till, Self::Stock) => "store, business_day, minute",
            (Grain::Till, Self::Sales | Self::Tills) => "store, business_day, minute, till",
        }
    }
}

impl Store {
    /// Sums up the views, without the batches that lie behind the cuts.
    pub async fn figures(&self, question: &Question<'_>) -> Result<FiguresByKey, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(StoreError::on("open a snapshot"))?;
        // Sums over all days may take longer than a statement of the judge may.
        transaction
            .batch_execute("SET LOCAL statement_timeout = 0")
            .await
            .map_err(StoreError::on("lift the time limit"))?;
        let mut figures = FiguresByKey::new();
        for part in Part::ALL {
            for row in part_rows(&transaction, part, question).await? {
                add_row(&mut figures, part, &row);
            }
        }
        Ok(figures)
    }

    /// Compares the sums kept per article and day with the rows, and returns the first differences.
    pub async fn article_day_differences(
        &self,
        scope: &Scope,
    ) -> Result<Vec<ArticleDifference>, StoreError> {
        let sql = "
            WITH kept AS (
                SELECT store_id AS store, business_day, article, kind, unit, own,
                       quantity_milli, amount_cents, lines
                FROM article_day
            ), summed AS (
                SELECT store, business_day, article, kind, unit, seller IS NULL AS own,
                       sum(quantity_milli)::bigint AS quantity_milli,
                       sum(amount_cents)::bigint AS amount_cents, sum(lines)::bigint AS lines
                FROM v1.sales GROUP BY store, business_day, article, kind, unit, seller IS NULL
            )
            SELECT format('store %s day %s article %s %s %s', store, business_day, article, kind, unit),
                   coalesce(k.quantity_milli, 0), coalesce(k.amount_cents, 0), coalesce(k.lines, 0),
                   coalesce(s.quantity_milli, 0), coalesce(s.amount_cents, 0), coalesce(s.lines, 0)
            FROM kept k FULL JOIN summed s USING (store, business_day, article, kind, unit, own)
            WHERE (coalesce(k.quantity_milli, 0), coalesce(k.amount_cents, 0), coalesce(k.lines, 0))
               <> (coalesce(s.quantity_milli, 0), coalesce(s.amount_cents, 0), coalesce(s.lines, 0))
              AND ($1::text IS NULL OR store = $1) AND ($2::date IS NULL OR business_day = $2)
            ORDER BY store, business_day, article, kind, unit LIMIT $3";
        let (store, day) = parameters(scope);
        let rows = self
            .connection()
            .await?
            .query(sql, &[&store, &day, &DIFFERENCES_MAX])
            .await
            .map_err(StoreError::on("compare its article days"))?;
        Ok(rows.iter().map(article_difference).collect())
    }

    /// Counts the accepted batches between a part's cut and `judged` that have rows of the part: what
    /// the lake still lacks.
    pub async fn lacking(
        &self,
        generation: &str,
        part: Part,
        span: (&Cut, &Cut),
    ) -> Result<i64, StoreError> {
        let (cut, judged) = span;
        let partitions: Vec<i32> = judged.keys().copied().collect();
        let from: Vec<i64> =
            partitions.iter().map(|one| cut.get(one).copied().unwrap_or(0)).collect();
        let to: Vec<i64> = judged.values().copied().collect();
        let sql = format!(
            "SELECT count(*) FROM unnest($2::int[], $3::bigint[], $4::bigint[]) c (partition, first, after)
             JOIN batch b ON b.topic_generation = $1 AND b.partition = c.partition
              AND b.record_offset >= c.first AND b.record_offset < c.after AND b.verdict = 'accepted'
             WHERE EXISTS (SELECT 1 FROM {} r WHERE r.store = b.store_id AND r.stream = b.stream_id
                            AND r.sequence = b.sequence AND r.business_day = b.business_day)",
            part.view()
        );
        let row = self
            .connection()
            .await?
            .query_one(&sql, &[&generation, &partitions, &from, &to])
            .await
            .map_err(StoreError::on("count what the lake lacks"))?;
        Ok(row.get(0))
    }

    /// Returns the days that got rows from these offsets on; nothing where the topic is another one
    /// by now, or the database an older one, so that nobody can tell.
    pub async fn days_since(
        &self,
        generation: &str,
        judged: &Cut,
    ) -> Result<Option<BTreeSet<BusinessDay>>, StoreError> {
        let partitions: Vec<i32> = judged.keys().copied().collect();
        let offsets: Vec<i64> = judged.values().copied().collect();
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT DISTINCT b.business_day, false AS strange
                 FROM unnest($2::int[], $3::bigint[]) c (partition, judged)
                 JOIN batch b ON b.topic_generation = $1 AND b.partition = c.partition
                  AND b.record_offset >= c.judged AND b.verdict = 'accepted'
                 UNION ALL
                 SELECT NULL, true FROM progress p
                 LEFT JOIN unnest($2::int[], $3::bigint[]) c (partition, judged) USING (partition)
                 WHERE (p.topic_generation = $1
                        AND (c.judged IS NULL OR p.next_offset < c.judged))
                    OR (p.topic_generation <> $1 AND p.updated_at > (
                        SELECT coalesce(max(updated_at), '-infinity') FROM progress
                        WHERE topic_generation = $1))",
                &[&generation, &partitions, &offsets],
            )
            .await
            .map_err(StoreError::on("tell the days that changed"))?;
        if rows.iter().any(|row| row.get("strange")) {
            return Ok(None);
        }
        Ok(Some(rows.iter().map(|row| BusinessDay::new(row.get("business_day"))).collect()))
    }

    /// Returns the offset of the first accepted record of some days, per partition that has one.
    pub async fn first_of_days(
        &self,
        generation: &str,
        days: &BTreeSet<BusinessDay>,
    ) -> Result<Cut, StoreError> {
        let days: Vec<NaiveDate> = days.iter().map(|day| day.date()).collect();
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT partition, min(record_offset) FROM batch
                 WHERE topic_generation = $1 AND verdict = 'accepted' AND business_day = ANY ($2)
                 GROUP BY partition",
                &[&generation, &days],
            )
            .await
            .map_err(StoreError::on("tell where days begin"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Returns the stores' days of which the topic no longer holds every accepted record: it began
    /// before the first offset that is still there, or in an earlier generation.
    pub async fn days_before(
        &self,
        generation: &str,
        first: &Cut,
    ) -> Result<BTreeSet<(String, BusinessDay)>, StoreError> {
        let partitions: Vec<i32> = first.keys().copied().collect();
        let offsets: Vec<i64> = first.values().copied().collect();
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT DISTINCT b.store_id, b.business_day FROM batch b
                 LEFT JOIN unnest($2::int[], $3::bigint[]) c (partition, first) USING (partition)
                 WHERE b.verdict = 'accepted'
                   AND (b.topic_generation <> $1 OR b.record_offset < coalesce(c.first, 0))",
                &[&generation, &partitions, &offsets],
            )
            .await
            .map_err(StoreError::on("tell the days that the topic forgot"))?;
        Ok(rows.iter().map(|row| (row.get(0), BusinessDay::new(row.get(1)))).collect())
    }
}

async fn part_rows(
    transaction: &Transaction<'_>,
    part: Part,
    question: &Question<'_>,
) -> Result<Vec<Row>, StoreError> {
    let cut = question.cuts.get(&part).cloned().unwrap_or_default();
    let partitions: Vec<i32> = cut.keys().copied().collect();
    let offsets: Vec<i64> = cut.values().copied().collect();
    let (store, day) = parameters(question.scope);
    let (sums, key, view) = (part.sums(), part.key(question.grain), part.view());
    let sql = format!(
        "WITH beyond AS MATERIALIZED (
             SELECT b.store_id, b.stream_id, b.sequence FROM batch b
             LEFT JOIN unnest($2::int[], $3::bigint[]) c (partition, after) USING (partition)
             WHERE b.topic_generation = $1 AND b.verdict = 'accepted'
               AND b.record_offset >= coalesce(c.after, 0)
         )
         SELECT {sums}, {key} FROM {view} r
         WHERE ($4::text IS NULL OR store = $4) AND ($5::date IS NULL OR business_day = $5)
           AND NOT EXISTS (SELECT 1 FROM beyond b WHERE b.store_id = r.store
                            AND b.stream_id = r.stream AND b.sequence = r.sequence)
         GROUP BY {key}"
    );
    transaction
        .query(&sql, &[&question.generation, &partitions, &offsets, &store, &day])
        .await
        .map_err(StoreError::on("sum up its views"))
}

pub(super) fn parameters(scope: &Scope) -> (Option<String>, Option<NaiveDate>) {
    (scope.store.as_ref().map(|store| store.as_str().to_owned()), scope.day.map(BusinessDay::date))
}

fn add_row(figures: &mut FiguresByKey, part: Part, row: &Row) {
    let key = Key {
        store: row.get("store"),
        day: BusinessDay::new(row.get("business_day")),
        minute: row.try_get::<_, DateTime<Utc>>("minute").ok().map(Timestamp::from_utc),
        till: row.try_get("till").ok(),
    };
    let sums = [row.get(0), row.get(1), row.get(2)];
    figures.entry(key).or_default().add(&Figures::of_part(part, sums));
}

fn article_difference(row: &Row) -> ArticleDifference {
    ArticleDifference {
        place: row.get(0),
        kept: [row.get(1), row.get(2), row.get(3)],
        rows: [row.get(4), row.get(5), row.get(6)],
    }
}
