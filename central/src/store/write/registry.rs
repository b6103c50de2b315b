//! What the registry says of the stores of a batch, and what the batch changes in it. A store's row
//! is held while it is judged, so that a command comes either before the batch or after it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use shared::ids::{StoreId, StreamId};
use shared::time::{Minute, Timestamp};
use tokio_postgres::{Row, Transaction};

use crate::store::StoreError;
use crate::validate::registry::{Breaker, Registered};

/// What judging changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Stores that nobody has named before.
    pub added: BTreeSet<StoreId>,
    /// First streams of stores that had none.
    pub activated: BTreeMap<StoreId, StreamId>,
    /// Breakers that remember something else than before.
    pub breakers: BTreeMap<StoreId, Breaker>,
}

/// Who did what the judge does by itself.
const JUDGE: &str = "judge";

/// Reads a store's row, its states, stream and breaker.
const READ: &str = "SELECT s.store_id, s.opened_at, a.stream_id, coalesce(b.recent, 0),
        b.opened_at IS NOT NULL, t.minutes, t.states
    FROM store s
    LEFT JOIN store_stream a ON a.store_id = s.store_id AND a.retired_at IS NULL
    LEFT JOIN breaker b ON b.store_id = s.store_id
    LEFT JOIN LATERAL (
        SELECT array_agg(from_minute ORDER BY from_minute) AS minutes,
               array_agg(state ORDER BY from_minute) AS states
        FROM store_state WHERE store_id = s.store_id) t ON true
    WHERE s.store_id = ANY($1)";

/// Holds the stores' rows and reads them.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    stores: &BTreeSet<StoreId>,
) -> Result<BTreeMap<StoreId, Registered>, StoreError> {
    let names: Vec<&str> = stores.iter().map(StoreId::as_str).collect();
    // Two statements: the second one sees what a command did while the first one waited for it.
    transaction
        .execute(
            "SELECT FROM store WHERE store_id = ANY($1) ORDER BY store_id FOR KEY SHARE",
            &[&names],
        )
        .await
        .map_err(StoreError::on("hold the stores"))?;
    let rows =
        transaction.query(READ, &[&names]).await.map_err(StoreError::on("read the registry"))?;
    let mut known: BTreeMap<String, Registered> =
        rows.iter().map(|row| (row.get(0), registered(row))).collect();
    let found = |store: &StoreId| Some((store.clone(), known.remove(store.as_str())?));
    Ok(stores.iter().filter_map(found).collect())
}

fn registered(row: &Row) -> Registered {
    let minutes: Option<Vec<DateTime<Utc>>> = row.get(5);
    let states: Option<Vec<String>> = row.get(6);
    let states = minutes.into_iter().flatten().zip(states.into_iter().flatten());
    let state = |word: String| word.parse().expect("the table holds these words only");
    let recent = u64::try_from(row.get::<_, i64>(3)).expect("the table holds 50 bits");
    Registered {
        opened_at: minute(row.get(1)),
        states: states.map(|(from, word)| (minute(from), state(word))).collect(),
        active_stream: row.get::<_, Option<_>>(2).map(StreamId::from_uuid),
        breaker: if row.get(4) { Breaker::opened(recent) } else { Breaker::closed(recent) },
    }
}

fn minute(at: DateTime<Utc>) -> Minute {
    Timestamp::from_utc(at).minute()
}

/// Stores what judging changed.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    changes: &Changes,
) -> Result<(), StoreError> {
    add(transaction, &changes.added).await?;
    activate(transaction, &changes.activated).await?;
    write_breakers(transaction, &changes.breakers).await
}

/// Adds stores. One that a command has added meanwhile has to be judged by what the command said.
async fn add(transaction: &Transaction<'_>, stores: &BTreeSet<StoreId>) -> Result<(), StoreError> {
    if stores.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = stores.iter().map(StoreId::as_str).collect();
    let ever = Registered::since_ever().opened_at.start().utc();
    let added = transaction
        .execute(
            "INSERT INTO store (store_id, opened_at, added_by)
             SELECT name, $2, $3 FROM unnest($1::text[]) name ON CONFLICT DO NOTHING",
            &[&names, &ever, &JUDGE],
        )
        .await
        .map_err(StoreError::on("add stores"))?;
    if added != stores.len() as u64 {
        return Err(StoreError::Overtaken);
    }
    transaction
        .execute(
            "INSERT INTO store_state (store_id, from_minute, state, set_by)
             SELECT name, $2, 'open', $3 FROM unnest($1::text[]) name",
            &[&names, &ever, &JUDGE],
        )
        .await
        .map_err(StoreError::on("open stores"))?;
    Ok(())
}

async fn activate(
    transaction: &Transaction<'_>,
    streams: &BTreeMap<StoreId, StreamId>,
) -> Result<(), StoreError> {
    if streams.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = streams.keys().map(StoreId::as_str).collect();
    let ids: Vec<_> = streams.values().map(StreamId::as_uuid).collect();
    transaction
        .execute(
            "INSERT INTO store_stream (store_id, stream_id, activated_by)
             SELECT name, stream, $3 FROM unnest($1::text[], $2::uuid[]) q(name, stream)",
            &[&names, &ids, &JUDGE],
        )
        .await
        .map_err(StoreError::on("activate streams"))?;
    Ok(())
}

async fn write_breakers(
    transaction: &Transaction<'_>,
    breakers: &BTreeMap<StoreId, Breaker>,
) -> Result<(), StoreError> {
    if breakers.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = breakers.keys().map(StoreId::as_str).collect();
    let bits = |one: &Breaker| i64::try_from(one.recent()).expect("a breaker has 50 bits");
    let recent: Vec<i64> = breakers.values().map(bits).collect();
    let open: Vec<bool> = breakers.values().map(|one| one.is_open()).collect();
    transaction
        .execute(
            "INSERT INTO breaker AS b (store_id, recent, opened_at)
             SELECT name, recent, CASE WHEN open THEN now() END
             FROM unnest($1::text[], $2::bigint[], $3::bool[]) q(name, recent, open) ORDER BY name
             ON CONFLICT (store_id) DO UPDATE SET recent = excluded.recent,
                 opened_at = CASE WHEN excluded.opened_at IS NULL THEN NULL
                                  ELSE coalesce(b.opened_at, excluded.opened_at) END",
            &[&names, &recent, &open],
        )
        .await
        .map_err(StoreError::on("write the breakers"))?;
    Ok(())
}
