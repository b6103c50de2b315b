//! One consumed batch in one transaction: offsets, verdicts, dead letters, ledger and rows, by COPY
//! and set-based statements. The caller decides what counts; this file only stores it.
//!
//! Order inside the transaction: the offsets move first, which takes their rows' locks, so that a
//! second consumer of the same partition waits here and then finds that it was overtaken.

mod digests;
mod ledger;
mod letters;
mod receipts;
mod registry;
mod rows;
mod stock;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::ids::{MovementId, StoreId, StreamId};
use shared::ledger::Standing;
use shared::minute::StoreMinute;
use shared::time::Timestamp;
use tokio_postgres::Transaction;

use super::progress::LastRecord;
use super::{Connection, StoreError};
use crate::validate::delivered::Delivered;
use crate::validate::registry::Registered;

pub use letters::Replay;
pub use registry::Changes;

pub(super) use ledger::follow_gaps;
pub(super) use letters::read as read_headers;
pub(super) use receipts::multirange;

/// A partition's step: from the offset that was read to the one after the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The partition.
    pub partition: i32,
    /// The stored offset as it was read.
    pub from: i64,
    /// The offset after the last record.
    pub to: i64,
    /// That record.
    pub last: LastRecord,
}

/// A place in a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The store.
    pub store: StoreId,
    /// The stream.
    pub stream: StreamId,
    /// The sequence.
    pub sequence: i64,
}

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What became of the sequence.
    pub standing: Standing,
    /// The hash that was accepted for it.
    pub hash: Option<[u8; 32]>,
    /// The hash of the dead letter that it was set aside by.
    pub aside: Option<[u8; 32]>,
}

/// A record with its verdict.
#[derive(Debug, Clone)]
pub struct Judged<'a> {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// What identifies its bytes.
    pub hash: [u8; 32],
    /// The place that it may claim.
    pub place: Option<Place>,
    /// The body, where it can be read.
    pub batch: Option<&'a StoreMinute>,
    /// The dead letter that has the very same bytes.
    pub letter: Option<i64>,
    /// The verdict.
    pub outcome: Outcome<'a>,
}

/// A verdict as it is stored.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// Its rows count.
    Accepted,
    /// It counts nothing.
    Duplicate,
    /// It becomes a dead letter, or joins the one with the same bytes.
    Refused(Letter<'a>),
}

/// What a dead letter keeps.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The headers in order.
    pub headers: &'a [(String, Vec<u8>)],
    /// The body's bytes.
    pub body: Option<&'a [u8]>,
    /// When the broker took the record.
    pub appended_at: Timestamp,
    /// Every reason: `[{"rule", "at", "says"}]`.
    pub reasons: Value,
}

/// Where the records of a batch lie.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Its id.
    pub generation: &'a str,
}

/// The transaction of one consumed batch. Dropping it undoes everything.
pub struct BatchWriter<'a> {
    transaction: Transaction<'a>,
    source: Source<'a>,
}

impl<'a> BatchWriter<'a> {
    /// Begins the transaction and moves the offsets in it, or fails as overtaken.
    pub async fn begin(
        connection: &'a mut Connection,
        source: Source<'a>,
        steps: &[Step],
    ) -> Result<Self, StoreError> {
        let transaction =
            connection.transaction().await.map_err(StoreError::on("begin a transaction"))?;
        let writer = Self { transaction, source };
        writer.advance(steps).await?;
        Ok(writer)
    }

    /// Moves each offset from where it was read; a row that does not stand there is another's.
    async fn advance(&self, steps: &[Step]) -> Result<(), StoreError> {
        let partitions: Vec<i32> = steps.iter().map(|step| step.partition).collect();
        let from: Vec<i64> = steps.iter().map(|step| step.from).collect();
        let to: Vec<i64> = steps.iter().map(|step| step.to).collect();
        let hashes: Vec<&[u8]> = steps.iter().map(|step| step.last.hash.as_slice()).collect();
        let times: Vec<_> = steps.iter().map(|step| step.last.appended_at.utc()).collect();
        let moved = self
            .transaction
            .execute(
                "UPDATE progress p SET next_offset = s.next, last_record = s.hash,
                        last_appended_at = s.appended_at, updated_at = now()
                 FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bytea[], $6::timestamptz[])
                      s(partition, read, next, hash, appended_at)
                 WHERE p.topic_generation = $1 AND p.partition = s.partition
                   AND p.next_offset = s.read",
                &[&self.source.generation, &partitions, &from, &to, &hashes, &times],
            )
            .await
            .map_err(StoreError::on("move the offsets"))?;
        if moved == steps.len() as u64 { Ok(()) } else { Err(StoreError::Overtaken) }
    }

    /// Returns what is known of each place, in their order.
    pub async fn known(&self, places: &[Place]) -> Result<Vec<Known>, StoreError> {
        ledger::known(&self.transaction, places).await
    }

    /// Returns which of these movements were delivered before.
    pub async fn known_movements(
        &self,
        movements: &BTreeSet<(StoreId, MovementId)>,
    ) -> Result<BTreeSet<(StoreId, MovementId)>, StoreError> {
        stock::known(&self.transaction, movements).await
    }

    /// Returns what the registry says of these stores, and holds them until the end.
    pub async fn known_stores(
        &self,
        stores: &BTreeSet<StoreId>,
    ) -> Result<BTreeMap<StoreId, Registered>, StoreError> {
        registry::known(&self.transaction, stores).await
    }

    /// Returns which receipts of these batches were delivered before.
    pub async fn known_receipts(
        &self,
        batches: &[&StoreMinute],
    ) -> Result<BTreeMap<StoreId, Delivered>, StoreError> {
        receipts::known(&self.transaction, batches).await
    }

    /// Returns which of these records are dead letters that came again.
    pub async fn known_letters(
        &self,
        replays: &[Replay<'_>],
    ) -> Result<BTreeMap<usize, i64>, StoreError> {
        letters::origins(&self.transaction, replays).await
    }

    /// Stores verdicts, dead letters, ledger, registry and the rows of what counts.
    pub async fn write(&self, records: &[Judged<'_>], changes: &Changes) -> Result<(), StoreError> {
        let letters = letters::write(&self.transaction, self.source, records).await?;
        letters::close(&self.transaction, records).await?;
        registry::write(&self.transaction, changes).await?;
        ledger::write(&self.transaction, self.source, records, &letters).await?;
        let accepted: Vec<(&Place, &StoreMinute)> = records
            .iter()
            .filter(|record| matches!(record.outcome, Outcome::Accepted))
            .map(|record| {
                let place = record.place.as_ref().expect("what counts has a place");
                (place, record.batch.expect("what counts was readable"))
            })
            .collect();
        if accepted.is_empty() {
            return Ok(());
        }
        rows::write(&self.transaction, &accepted).await?;
        digests::write(&self.transaction, &accepted).await?;
        stock::write(&self.transaction, &accepted).await
    }

    /// Makes everything visible at once.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await.map_err(StoreError::on("commit"))
    }
}
