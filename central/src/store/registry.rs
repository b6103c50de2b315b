//! The registry of stores as operators change and see it. Every change holds the store's row, so that
//! it comes either before a batch that is being judged or after it, and is noted in the audit.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use shared::ids::{StoreId, StreamId};
use shared::time::Minute;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::audit::{self, Doer};
use super::{Store, StoreError};
use crate::validate::registry::StoreState;

/// Why the registry was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody has named the store.
    #[error("store {0} is not in the registry: `central stores add {0}`")]
    Unknown(StoreId),
    /// The store was named before.
    #[error("store {0} is in the registry already")]
    Known(StoreId),
    /// The database.
    #[error("cannot change the registry")]
    Store(#[source] StoreError),
}

/// A store at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The store.
    pub store: String,
    /// Its opening.
    pub opened_at: DateTime<Utc>,
    /// Its state now.
    pub state: String,
    /// Its active stream.
    pub stream: Option<Uuid>,
    /// Since when its records go aside.
    pub breaker_opened_at: Option<DateTime<Utc>>,
    /// All its minutes up to this one are here.
    pub complete_through: Option<DateTime<Utc>>,
}

/// A store with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// At a glance.
    #[serde(flatten)]
    pub listed: Listed,
    /// Who added it.
    pub added_by: String,
    /// Its states in order.
    pub states: Vec<ShownState>,
    /// Its streams in order.
    pub streams: Vec<ShownStream>,
    /// Bad ones among its last 50 verdicts.
    pub bad_of_last_50: u32,
    /// Its dead letters that nobody dealt with.
    pub open_dead_letters: i64,
}

/// A state from a minute on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownState {
    /// The minute.
    pub from: DateTime<Utc>,
    /// The state.
    pub state: String,
    /// Who set it.
    pub by: String,
}

/// A stream that was active for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownStream {
    /// The stream.
    pub stream: Uuid,
    /// Since when.
    pub activated_at: DateTime<Utc>,
    /// By whom.
    pub by: String,
    /// Until when; nothing for the active one.
    pub retired_at: Option<DateTime<Utc>>,
}

const LISTED: &str =
    "SELECT store, opened_at, state, stream, breaker_opened_at, complete_through FROM v1.stores";

impl Store {
    /// Adds a store that is in a state from its opening on.
    pub async fn add_store(
        &self,
        store: &StoreId,
        (opened_at, state): (Minute, StoreState),
        doer: &Doer,
    ) -> Result<(), RegistryError> {
        let mut connection = self.connection().await.map_err(RegistryError::Store)?;
        let transaction = connection.transaction().await.map_err(on("add a store"))?;
        let (name, from) = (store.as_str(), opened_at.start().utc());
        let added = transaction
            .execute(
                "INSERT INTO store (store_id, opened_at, added_by) VALUES ($1, $2, $3)
                 ON CONFLICT DO NOTHING",
                &[&name, &from, &doer.name],
            )
            .await
            .map_err(on("add a store"))?;
        if added == 0 {
            return Err(RegistryError::Known(store.clone()));
        }
        put_state(&transaction, store, (opened_at, state), doer).await?;
        let details = json!({"store": name, "opened_at": opened_at, "state": state.as_str()});
        finish(transaction, doer, ("stores add", details)).await
    }

    /// Puts a store into a state from a minute on; states that begin later stay.
    pub async fn set_store_state(
        &self,
        store: &StoreId,
        (from, state): (Minute, StoreState),
        doer: &Doer,
    ) -> Result<(), RegistryError> {
        let mut connection = self.connection().await.map_err(RegistryError::Store)?;
        let transaction = hold(connection.transaction().await, store).await?;
        put_state(&transaction, store, (from, state), doer).await?;
        let details = json!({"store": store, "from": from, "state": state.as_str()});
        finish(transaction, doer, ("stores set-state", details)).await
    }

    /// Makes a stream the one that counts, and returns the one that did before.
    pub async fn activate_stream(
        &self,
        store: &StoreId,
        stream: StreamId,
        doer: &Doer,
    ) -> Result<Option<StreamId>, RegistryError> {
        let mut connection = self.connection().await.map_err(RegistryError::Store)?;
        let transaction = hold(connection.transaction().await, store).await?;
        let (name, id) = (store.as_str(), stream.as_uuid());
        let row = transaction
            .query_opt(
                "SELECT stream_id FROM store_stream WHERE store_id = $1 AND retired_at IS NULL",
                &[&name],
            )
            .await
            .map_err(on("tell the active stream"))?;
        let before = row.map(|row| StreamId::from_uuid(row.get(0)));
        if before != Some(stream) {
            transaction
                .execute(
                    "UPDATE store_stream SET retired_at = now()
                     WHERE store_id = $1 AND retired_at IS NULL",
                    &[&name],
                )
                .await
                .map_err(on("retire a stream"))?;
            transaction
                .execute(
                    "INSERT INTO store_stream (store_id, stream_id, activated_by)
                     VALUES ($1, $2, $3)",
                    &[&name, &id, &doer.name],
                )
                .await
                .map_err(on("activate a stream"))?;
        }
        let details = json!({"store": store, "stream": stream, "before": before});
        finish(transaction, doer, ("stores activate-stream", details)).await?;
        Ok(before)
    }

    /// Closes a store's breaker and forgets its bad verdicts; tells since when it was open.
    pub async fn reset_breaker(
        &self,
        store: &StoreId,
        doer: &Doer,
    ) -> Result<Option<DateTime<Utc>>, RegistryError> {
        let mut connection = self.connection().await.map_err(RegistryError::Store)?;
        let transaction = hold(connection.transaction().await, store).await?;
        let row = transaction
            .query_opt(
                "DELETE FROM breaker WHERE store_id = $1 RETURNING opened_at",
                &[&store.as_str()],
            )
            .await
            .map_err(on("close a breaker"))?;
        let opened_at: Option<DateTime<Utc>> = row.and_then(|row| row.get(0));
        let details = json!({"store": store, "opened_at": opened_at});
        finish(transaction, doer, ("stores reset-breaker", details)).await?;
        Ok(opened_at)
    }

    /// Returns all stores in order.
    pub async fn stores(&self) -> Result<Vec<Listed>, StoreError> {
        let connection = self.connection().await?;
        let statement = format!("{LISTED} ORDER BY store");
        let rows =
            connection.query(&statement, &[]).await.map_err(StoreError::on("list the stores"))?;
        Ok(rows.iter().map(listed).collect())
    }

    /// Returns one store with its history.
    pub async fn store(&self, store: &StoreId) -> Result<Option<Shown>, StoreError> {
        let what = StoreError::on("show a store");
        let connection = self.connection().await?;
        let name = store.as_str();
        let statement = format!("{LISTED} WHERE store = $1");
        let Some(row) = connection.query_opt(&statement, &[&name]).await.map_err(&what)? else {
            return Ok(None);
        };
        let facts = connection
            .query_one(
                "SELECT s.added_by, coalesce(b.recent, 0), (SELECT count(*) FROM dead_letter d
                    WHERE d.state = 'open' AND d.record_key = convert_to(s.store_id, 'UTF8'))
                 FROM store s LEFT JOIN breaker b USING (store_id) WHERE store_id = $1",
                &[&name],
            )
            .await
            .map_err(&what)?;
        let states = connection
            .query(
                "SELECT from_minute, state, set_by FROM store_state WHERE store_id = $1
                 ORDER BY from_minute",
                &[&name],
            )
            .await
            .map_err(&what)?;
        let streams = connection
            .query(
                "SELECT stream_id, activated_at, activated_by, retired_at FROM store_stream
                 WHERE store_id = $1 ORDER BY turn",
                &[&name],
            )
            .await
            .map_err(&what)?;
        let state = |row: &Row| ShownState { from: row.get(0), state: row.get(1), by: row.get(2) };
        let stream = |row: &Row| ShownStream {
            stream: row.get(0),
            activated_at: row.get(1),
            by: row.get(2),
            retired_at: row.get(3),
        };
        Ok(Some(Shown {
            listed: listed(&row),
            added_by: facts.get(0),
            states: states.iter().map(state).collect(),
            streams: streams.iter().map(stream).collect(),
            bad_of_last_50: facts.get::<_, i64>(1).count_ones(),
            open_dead_letters: facts.get(2),
        }))
    }
}

fn listed(row: &Row) -> Listed {
    Listed {
        store: row.get(0),
        opened_at: row.get(1),
        state: row.get(2),
        stream: row.get(3),
        breaker_opened_at: row.get(4),
        complete_through: row.get(5),
    }
}

fn on(what: &'static str) -> impl Fn(tokio_postgres::Error) -> RegistryError {
    move |source| RegistryError::Store(StoreError::on(what)(source))
}

/// Holds a store's row until the end of the transaction.
async fn hold<'a>(
    transaction: Result<Transaction<'a>, tokio_postgres::Error>,
    store: &StoreId,
) -> Result<Transaction<'a>, RegistryError> {
    let transaction = transaction.map_err(on("hold a store"))?;
    let found = transaction
        .execute("SELECT FROM store WHERE store_id = $1 FOR UPDATE", &[&store.as_str()])
        .await
        .map_err(on("hold a store"))?;
    if found == 0 { Err(RegistryError::Unknown(store.clone())) } else { Ok(transaction) }
}

async fn put_state(
    transaction: &Transaction<'_>,
    store: &StoreId,
    (from, state): (Minute, StoreState),
    doer: &Doer,
) -> Result<(), RegistryError> {
    transaction
        .execute(
            "INSERT INTO store_state (store_id, from_minute, state, set_by)
             VALUES ($1, $2, $3, $4) ON CONFLICT (store_id, from_minute) DO UPDATE SET
                 state = excluded.state, set_by = excluded.set_by, set_at = now()",
            &[&store.as_str(), &from.start().utc(), &state.as_str(), &doer.name],
        )
        .await
        .map_err(on("set a store's state"))?;
    Ok(())
}

/// Notes the deed and makes it visible.
async fn finish(
    transaction: Transaction<'_>,
    doer: &Doer,
    (action, details): (&str, serde_json::Value),
) -> Result<(), RegistryError> {
    audit::note(&transaction, doer, action, details).await.map_err(RegistryError::Store)?;
    transaction.commit().await.map_err(on("commit"))
}
