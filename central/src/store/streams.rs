//! What arrived of each stream, what is missing and since when, and what nobody waits for any more.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use shared::ids::{Sequence, StoreId, StreamId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::{self, Doer};
use super::write::follow_gaps;
use super::{Store, StoreError};

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrived {
    /// The store.
    pub store: String,
    /// The stream.
    pub stream: Uuid,
    /// Whether its records count.
    pub active: bool,
    /// The highest sequence that was seen.
    pub highest_sequence: i64,
    /// Sequences that count.
    pub accepted: i64,
    /// Sequences that wait as dead letters.
    pub set_aside: i64,
    /// Sequences that never came.
    pub gaps: i64,
    /// Sequences that nobody waits for.
    pub given_up: i64,
    /// Those of them that the agent itself has named.
    pub abandoned: i64,
    /// All minutes up to this one are here; it ends before the first hole.
    pub complete_through: Option<DateTime<Utc>>,
    /// What the agent says of it.
    pub told_through: Option<DateTime<Utc>>,
    /// When a record of it came last.
    pub last_seen: DateTime<Utc>,
}

/// Sequences that never came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The store.
    pub store: String,
    /// The first sequence.
    pub first_sequence: i64,
    /// The last sequence.
    pub last_sequence: i64,
    /// Since when something behind it is here.
    pub since: DateTime<Utc>,
}

/// Which streams are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Everybody's.
    All,
    /// This store's.
    Store(&'a StoreId),
    /// This one.
    Stream(StreamId),
}

impl Store {
    /// Returns what is known of some streams, by store, the active one first.
    pub async fn streams(&self, whose: Whose<'_>) -> Result<Vec<Arrived>, StoreError> {
        let (store, stream) = match whose {
            Whose::All => (None, None),
            Whose::Store(store) => (Some(store.as_str()), None),
            Whose::Stream(stream) => (None, Some(stream.as_uuid())),
        };
        let connection = self.connection().await?;
        let rows = connection
            .query(
                "SELECT store, stream, active, highest_sequence, accepted, set_aside, gaps,
                        given_up, complete_through, told_through, last_seen, abandoned FROM v1.streams
                 WHERE ($1::text IS NULL OR store = $1) AND ($2::uuid IS NULL OR stream = $2)
                 ORDER BY store, active DESC, last_seen DESC",
                &[&store, &stream],
            )
            .await
            .map_err(StoreError::on("list the streams"))?;
        Ok(rows.iter().map(arrived).collect())
    }

    /// Returns the gaps of a stream in order.
    pub async fn gaps(&self, stream: StreamId) -> Result<Vec<Gap>, StoreError> {
        let connection = self.connection().await?;
        let rows = connection
            .query(
                "SELECT store, first_sequence, last_sequence, since FROM v1.gaps
                 WHERE stream = $1 ORDER BY store, first_sequence",
                &[&stream.as_uuid()],
            )
            .await
            .map_err(StoreError::on("list the gaps"))?;
        let gap = |row: &Row| Gap {
            store: row.get(0),
            first_sequence: row.get(1),
            last_sequence: row.get(2),
            since: row.get(3),
        };
        Ok(rows.iter().map(gap).collect())
    }

    /// Waits no longer for the missing ones of some sequences; returns how many there were.
    pub async fn give_up_gap(
        &self,
        (store, stream): (&StoreId, StreamId),
        (first, last): (Sequence, Sequence),
        doer: &Doer,
    ) -> Result<i64, StoreError> {
        let what = StoreError::on("give up a gap");
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(&what)?;
        let (name, id) = (store.as_str(), stream.as_uuid());
        let number =
            |sequence: Sequence| i64::try_from(sequence.get()).expect("a sequence is below 2^53");
        let (first, last) = (number(first), number(last));
        // The judge shares the store's lock: it comes before this deed or after it.
        transaction
            .execute("SELECT FROM store WHERE store_id = $1 FOR UPDATE", &[&name])
            .await
            .map_err(&what)?;
        let row = transaction
            .query_one(
                "SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM ledger l, unnest(
                     l.missing * int8multirange(int8range($3, $4, '[]'))) r
                 WHERE store_id = $1 AND stream_id = $2",
                &[&name, &id, &first, &last],
            )
            .await
            .map_err(&what)?;
        transaction
            .execute(
                "UPDATE ledger SET given_up = given_up
                     + missing * int8multirange(int8range($3, $4, '[]'))
                 WHERE store_id = $1 AND stream_id = $2",
                &[&name, &id, &first, &last],
            )
            .await
            .map_err(&what)?;
        follow_gaps(&transaction, vec![(name.to_owned(), id)]).await?;
        let given_up: i64 = row.get(0);
        let details = json!({"store": store, "stream": stream, "first": first, "last": last,
            "given_up": given_up});
        audit::note(&transaction, doer, "streams give-up", details).await?;
        transaction.commit().await.map_err(StoreError::on("commit"))?;
        Ok(given_up)
    }
}

fn arrived(row: &Row) -> Arrived {
    Arrived {
        store: row.get(0),
        stream: row.get(1),
        active: row.get(2),
        highest_sequence: row.get(3),
        accepted: row.get(4),
        set_aside: row.get(5),
        gaps: row.get(6),
        given_up: row.get(7),
        complete_through: row.get(8),
        told_through: row.get(9),
        last_seen: row.get(10),
        abandoned: row.get(11),
    }
}
