//! What agents say that they have counted of their days, beside what the rows hold of the very batches
//! that they speak of: how many receipts, which ones, and their total.

use std::pin::pin;

use chrono::NaiveDate;
use futures_util::TryStreamExt;
use serde_json::Value;
use shared::digest::{DayOfTill, KeySum};
use shared::time::BusinessDay;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::compared::Compared;
use super::totals::parameters;
use super::{Store, StoreError};
use crate::figures::Scope;

/// What is counted of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counted {
    /// How many receipts.
    pub receipts: i64,
    /// Their total.
    pub cents: i64,
    /// Sum of their keys.
    pub keys: KeySum,
}

/// A day of a till that the agent has counted otherwise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DigestDifference {
    /// The store.
    pub store: String,
    /// The till.
    pub till: String,
    /// The numbering run.
    pub series: String,
    /// The day.
    pub day: BusinessDay,
    /// The agent's stream.
    pub stream: Uuid,
    /// The first batch that the agent speaks of.
    pub first_sequence: i64,
    /// The last one.
    pub last_sequence: i64,
    /// What the agent has counted.
    pub agent: Counted,
    /// What the rows of these batches hold.
    pub rows: Counted,
}

/// Every sum of a day in scope, compared; undecided are those of which batches are missing, set aside
/// or given up, or were there with other bytes, too; and those whose difference was lost.
pub type Digests = Compared<DigestDifference>;

impl std::fmt::Display for DigestDifference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, till, series, day, stream, agent, rows, .. } = self;
        let same = agent.receipts == rows.receipts && agent.keys != rows.keys;
        write!(
            out,
            "store {store} day {day} till {till} series {series}: the agent has counted {} receipts, \
             {} cents in batches {} to {} of {stream}, their rows hold {}{}, {} cents",
            agent.receipts,
            agent.cents,
            self.first_sequence,
            self.last_sequence,
            rows.receipts,
            if same { " others" } else { "" },
            rows.cents
        )
    }
}

/// One day while its rows come in.
struct Day {
    found: DigestDifference,
    /// Whether all of the batches counted, and no copy of the buffer has sent others in their place.
    whole: bool,
    /// Receipts and cents that the agent has named as lost since.
    lost: (i64, i64),
}

impl Store {
    /// Compares what agents have counted with the rows. All comes from one statement: what is told and
    /// its rows were stored together.
    pub async fn compare_digests(&self, scope: &Scope) -> Result<Digests, StoreError> {
        let sql = "
            SELECT d.store_id, d.till, d.series, d.business_day, d.stream_id, d.first_sequence,
                   d.sequence, d.receipts, d.cents, d.keys,
                   coalesce(l.accepted @> int8range(d.first_sequence, d.sequence, '[]'), false)
                   AND NOT EXISTS (
                       SELECT FROM batch b JOIN dead_letter x ON x.id = b.dead_letter_id
                       WHERE b.store_id = d.store_id AND b.stream_id = d.stream_id
                        AND b.sequence BETWEEN d.first_sequence AND d.sequence
                        AND b.verdict = 'refused' AND x.reasons @> jsonb_build_array(
                            jsonb_build_object('rule', 'sequence_reused'))) AS whole,
                   x.count AS lost_receipts, x.cents AS lost_cents,
                   m.receipt_count, m.total_cents, m.receipts AS ranges, m.receipt_ids AS ids
            FROM day_digest d
            LEFT JOIN ledger l USING (store_id, stream_id)
            LEFT JOIN LATERAL (
                SELECT coalesce(sum(count), 0)::bigint AS count, coalesce(sum(cents), 0)::bigint AS cents
                FROM loss WHERE loss.store_id = d.store_id AND loss.stream_id = d.stream_id
                 AND loss.till = d.till AND loss.sequence BETWEEN d.first_sequence AND d.sequence) x ON true
            LEFT JOIN store_minute m ON m.store_id = d.store_id AND m.business_day = d.business_day
             AND m.till = d.till AND m.series = d.series AND m.stream_id = d.stream_id
             AND m.sequence BETWEEN d.first_sequence AND d.sequence
            WHERE ($1::text IS NULL OR d.store_id = $1) AND ($2::date IS NULL OR d.business_day = $2)
            ORDER BY d.store_id, d.business_day, d.till, d.series, d.stream_id, d.first_sequence";
        let failed = StoreError::on("compare what agents have counted");
        let mut connection = self.connection().await?;
        let transaction =
            connection.build_transaction().read_only(true).start().await.map_err(&failed)?;
        // Over all days it may take longer than a statement of the judge may.
        transaction.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(&failed)?;
        let (store, day) = parameters(scope);
        let values: [&(dyn ToSql + Sync); 2] = [&store, &day];
        let rows = transaction.query_raw(sql, values).await.map_err(&failed)?;
        let mut rows = pin!(rows);
        let (mut digests, mut open) = (Digests::default(), None::<Day>);
        while let Some(row) = rows.try_next().await.map_err(&failed)? {
            let next = Day::of(&row);
            if open.as_ref().is_none_or(|day| !day.is(&next)) {
                open.replace(next).into_iter().for_each(|day| day.tell(&mut digests));
            }
            if let Some(day) = &mut open {
                day.add(&row);
            }
        }
        open.into_iter().for_each(|day| day.tell(&mut digests));
        Ok(digests)
    }
}

impl Day {
    fn of(row: &Row) -> Self {
        let keys: Vec<u8> = row.get("keys");
        let keys = keys.try_into().expect("the table holds 32 bytes");
        let agent = Counted {
            receipts: row.get("receipts"),
            cents: row.get("cents"),
            keys: KeySum::from_bytes(keys),
        };
        let found = DigestDifference {
            store: row.get("store_id"),
            till: row.get("till"),
            series: row.get("series"),
            day: BusinessDay::new(row.get::<_, NaiveDate>("business_day")),
            stream: row.get("stream_id"),
            first_sequence: row.get("first_sequence"),
            last_sequence: row.get("sequence"),
            agent,
            rows: Counted::default(),
        };
        let lost = (row.get("lost_receipts"), row.get("lost_cents"));
        Self { found, whole: row.get("whole"), lost }
    }

    fn is(&self, other: &Self) -> bool {
        let key = |day: &Self| {
            let found = &day.found;
            (
                found.stream,
                found.first_sequence,
                found.day,
                found.till.clone(),
                found.series.clone(),
            )
        };
        self.found.store == other.found.store && key(self) == key(other)
    }

    /// Adds how the day compares, once all its rows are in.
    fn tell(self, digests: &mut Digests) {
        let (agent, rows) = (self.found.agent, self.found.rows);
        let lost = (agent.receipts - rows.receipts, agent.cents - rows.cents);
        if agent == rows {
            digests.equal += 1;
        } else if !self.whole || (lost == self.lost && lost != (0, 0)) {
            digests.undecided += 1;
        } else {
            digests.differ(self.found);
        }
    }

    /// Adds a row of a minute, where there is one.
    fn add(&mut self, row: &Row) {
        let Some(count) = row.get::<_, Option<i64>>("receipt_count") else { return };
        let DigestDifference { till, series, day: business_day, rows, .. } = &mut self.found;
        let day = DayOfTill { till, series, business_day: *business_day };
        rows.receipts += count;
        rows.cents += row.get::<_, i64>("total_cents");
        for (first, last) in spans(&row.get("ranges")) {
            (first..=last).for_each(|number| rows.keys.add(&day, &number.to_string()));
        }
        let ids: Value = row.get("ids");
        let ids = ids.as_array().into_iter().flatten().filter_map(Value::as_str);
        ids.for_each(|id| rows.keys.add(&day, id));
    }
}

/// Reads ranges as they are stored; what is none adds nothing, so that its receipts are missed.
fn spans(ranges: &Value) -> Vec<(u64, u64)> {
    let pair = |pair: &Value| Some((pair.get(0)?.as_u64()?, pair.get(1)?.as_u64()?));
    // A range that was altered to an endless one is not walked through.
    let walks = |&(first, last): &(u64, u64)| last.saturating_sub(first) < SPAN_MAX;
    ranges.as_array().into_iter().flatten().filter_map(pair).filter(walks).collect()
}

/// Receipts of one minute that one range holds at most.
const SPAN_MAX: u64 = 1_000_000;
