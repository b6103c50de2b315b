//! What was refused, why, and its bytes; and what operators do about it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::ids::StoreId;
use shared::time::Timestamp;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::audit::{self, Doer};
use super::write::{follow_gaps, read_headers};
use super::{Store, StoreError};

/// A dead letter with its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Where it lay: topic, generation, partition, offset.
    pub topic: String,
    /// The topic's id.
    pub generation: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Value,
    /// The body's bytes.
    pub body: Option<Vec<u8>>,
    /// Every reason: `[{"rule", "at", "says"}]`.
    pub reasons: Value,
    /// When the broker took the record.
    pub first_seen: DateTime<Utc>,
    /// When the broker took the same bytes last.
    pub last_seen: DateTime<Utc>,
    /// How often they were refused.
    pub times: i64,
    /// `open`, `replayed` or `discarded`.
    pub state: String,
    /// The place in a store's stream that it claims, where it may claim one.
    pub place: Option<(String, Uuid, i64)>,
}

impl DeadLetter {
    /// Returns the headers as the record had them.
    pub fn header_bytes(&self) -> Option<Vec<(String, Vec<u8>)>> {
        read_headers(&self.headers)
    }

    /// Returns the names of the rules that refuse it.
    pub fn rules(&self) -> Vec<&str> {
        let all = self.reasons.as_array().into_iter().flatten();
        all.map(|reason| reason["rule"].as_str().unwrap_or_default()).collect()
    }
}

/// Which dead letters are meant; what is absent says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The store of the record's key.
    pub store: Option<StoreId>,
    /// A rule that refuses it.
    pub reason: Option<String>,
    /// Refused at this time or later.
    pub since: Option<Timestamp>,
    /// What became of it.
    pub state: Option<String>,
}

/// Why nothing was done about a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// There is none of this number.
    #[error("there is no dead letter {0}")]
    Absent(i64),
    /// It was dealt with before.
    #[error("dead letter {id} is {state}")]
    Closed {
        /// Its number.
        id: i64,
        /// `replayed` or `discarded`.
        state: String,
    },
    /// The database.
    #[error("cannot deal with a dead letter")]
    Store(#[source] StoreError),
}

const SELECT: &str = "SELECT d.id, d.topic, d.topic_generation, d.partition, d.record_offset, \
    d.record_key, d.headers, d.body, d.reasons, d.first_seen, d.last_seen, d.times, d.state, \
    b.store_id, b.stream_id, b.sequence \
    FROM dead_letter d LEFT JOIN batch b USING (topic_generation, partition, record_offset)";
const WHERE: &str = "($1::text IS NULL OR d.record_key = convert_to($1, 'UTF8')) \
    AND ($2::text IS NULL OR d.reasons @> jsonb_build_array(jsonb_build_object('rule', $2::text))) \
    AND ($3::timestamptz IS NULL OR d.last_seen >= $3) AND ($4::text IS NULL OR d.state = $4)";

impl Store {
    /// Returns the newest of these dead letters, at most `limit`, the newest first.
    pub async fn dead_letters(
        &self,
        filter: &Filter,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let tail = format!("WHERE {WHERE} ORDER BY d.id DESC LIMIT $5");
        self.select_letters(filter, (&tail, &[&limit])).await
    }

    /// Returns the oldest of these dead letters behind `id`, at most `limit`, the oldest first.
    pub async fn dead_letters_behind(
        &self,
        filter: &Filter,
        (id, limit): (i64, i64),
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let tail = format!("WHERE {WHERE} AND d.id > $5 ORDER BY d.id LIMIT $6");
        self.select_letters(filter, (&tail, &[&id, &limit])).await
    }

    async fn select_letters(
        &self,
        filter: &Filter,
        (tail, more): (&str, &[&(dyn tokio_postgres::types::ToSql + Sync)]),
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let store = filter.store.as_ref().map(StoreId::as_str);
        let since = filter.since.map(Timestamp::utc);
        let asked: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&store, &filter.reason, &since, &filter.state];
        let statement = format!("{SELECT} {tail}");
        let connection = self.connection().await?;
        let rows = connection
            .query(&statement, &[&asked, more].concat())
            .await
            .map_err(StoreError::on("list the dead letters"))?;
        Ok(rows.iter().map(dead_letter).collect())
    }

    /// Returns one dead letter.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        let statement = format!("{SELECT} WHERE d.id = $1");
        let connection = self.connection().await?;
        let row = connection
            .query_opt(&statement, &[&id])
            .await
            .map_err(StoreError::on("show a dead letter"))?;
        Ok(row.as_ref().map(dead_letter))
    }

    /// Notes who let a dead letter be judged again.
    pub async fn note_replay(
        &self,
        id: i64,
        (partition, offset): (i32, i64),
        doer: &Doer,
    ) -> Result<(), StoreError> {
        let details = json!({"id": id, "partition": partition, "offset": offset});
        self.note(doer, ("deadletters replay", details)).await
    }

    /// Notes who did something that changes no row.
    pub async fn note(
        &self,
        doer: &Doer,
        (action, details): (&str, Value),
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let begun = connection.transaction().await;
        let transaction = begun.map_err(StoreError::on("begin a transaction"))?;
        audit::note(&transaction, doer, action, details).await?;
        transaction.commit().await.map_err(StoreError::on("commit"))
    }

    /// Closes a dead letter for good: its place in the stream is given up, nobody waits for it.
    pub async fn discard_letter(&self, id: i64, doer: &Doer) -> Result<(), LetterError> {
        let Some(letter) = self.dead_letter(id).await.map_err(LetterError::Store)? else {
            return Err(LetterError::Absent(id));
        };
        let mut connection = self.connection().await.map_err(LetterError::Store)?;
        let transaction = connection.transaction().await.map_err(on("begin a transaction"))?;
        if let Some((store, ..)) = &letter.place {
            // The judge shares this lock: it comes before this deed or after it.
            transaction
                .execute("SELECT FROM store WHERE store_id = $1 FOR UPDATE", &[store])
                .await
                .map_err(on("hold a store"))?;
        }
        let row = transaction
            .query_one("SELECT state FROM dead_letter WHERE id = $1 FOR UPDATE", &[&id])
            .await
            .map_err(on("hold a dead letter"))?;
        let state: String = row.get(0);
        if state != "open" {
            return Err(LetterError::Closed { id, state });
        }
        transaction
            .execute(
                "UPDATE dead_letter SET state = 'discarded', closed_at = now(), closed_by = $2,
                        closed_reason = $3 WHERE id = $1",
                &[&id, &doer.name, &doer.reason],
            )
            .await
            .map_err(on("discard a dead letter"))?;
        if let Some(place) = &letter.place {
            give_up(&transaction, id, place).await?;
        }
        audit::note(&transaction, doer, "deadletters discard", json!({ "id": id }))
            .await
            .map_err(LetterError::Store)?;
        transaction.commit().await.map_err(on("commit"))
    }
}

fn on(what: &'static str) -> impl Fn(tokio_postgres::Error) -> LetterError {
    move |source| LetterError::Store(StoreError::on(what)(source))
}

/// Gives a place up where no other open letter claims it.
async fn give_up(
    transaction: &Transaction<'_>,
    id: i64,
    (store, stream, sequence): &(String, Uuid, i64),
) -> Result<(), LetterError> {
    transaction
        .execute(
            "UPDATE ledger l SET set_aside = l.set_aside - one, given_up = l.given_up + one
             FROM (SELECT int8multirange(int8range($4, $4, '[]')) AS one) q
             WHERE l.store_id = $2 AND l.stream_id = $3 AND l.set_aside @> $4::bigint
               AND NOT EXISTS (
                   SELECT FROM batch b JOIN dead_letter d ON d.id = b.dead_letter_id
                   WHERE b.store_id = $2 AND b.stream_id = $3 AND b.sequence = $4
                     AND b.verdict = 'refused' AND d.state = 'open' AND d.id <> $1)",
            &[&id, store, stream, sequence],
        )
        .await
        .map_err(on("give up a place"))?;
    follow_gaps(transaction, vec![(store.clone(), *stream)]).await.map_err(LetterError::Store)
}

fn dead_letter(row: &Row) -> DeadLetter {
    let place = (row.get(13), row.get(14), row.get(15));
    DeadLetter {
        id: row.get(0),
        topic: row.get(1),
        generation: row.get(2),
        partition: row.get(3),
        offset: row.get(4),
        key: row.get(5),
        headers: row.get(6),
        body: row.get(7),
        reasons: row.get(8),
        first_seen: row.get(9),
        last_seen: row.get(10),
        times: row.get(11),
        state: row.get(12),
        place: match place {
            (Some(store), Some(stream), Some(sequence)) => Some((store, stream, sequence)),
            (None, ..) | (_, None, _) | (.., None) => None,
        },
    }
}
