//! One Delta table and how far it has come: the rows of a slice of the topic and the offset after it
//! become one commit.
//!
//! The identifier `<generation>/<partition>` = next offset, in the table's own log, is the only memory
//! of that. The library refuses a writer whose snapshot is stale, but takes a repeated identifier on
//! a fresh one: hence the identifier is always read from the very snapshot that is committed on, and
//! what lies below it is dropped. The few batches that may be there by another record are looked for in
//! that snapshot too. After any error, also one that came after the commit went through,
//! the snapshot is read anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltalake::datafusion::error::DataFusionError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, StructField, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableError};
use shared::minute::StoreMinute;
use tokio::time::Instant;

use super::held::{held, place};
use super::schema::{LakeTable, PARTITION_COLUMN, RowError};
use super::storage::{Storage, StorageError};

/// Commits that lose a race are tried again at once; more than this many in a row mean that
/// something else is wrong.
const TRIES: usize = 5;
/// A table without new rows still moves its identifiers after this many records, so that a restart
/// reads few of them again.
const IDLE_RECORDS: i64 = 10_000;
/// The same after this long, real time.
const IDLE_SPAN: Duration = Duration::from_secs(60);

/// A stretch of one partition: what lies from one offset to another, as judged.
#[derive(Debug, Clone)]
pub struct Slice {
    /// `<generation>/<partition>`, the identifier in the logs.
    pub partition: String,
    /// The first offset that the slice covers.
    pub from: i64,
    /// The offset after the last one.
    pub next: i64,
    /// The accepted batches in it, with their offsets, in order.
    pub batches: Vec<(i64, Arc<StoreMinute>)>,
    /// Batches of which offsets do not tell whether the tables have them, with their offsets, in
    /// order: the tables themselves are asked.
    pub doubtful: Vec<(i64, Arc<StoreMinute>)>,
}

/// Why a table did not take a slice.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The place of the table cannot be used.
    #[error("cannot open the table {table}")]
    Place {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: StorageError,
    },
    /// The table's log cannot be read, or not be made.
    #[error("cannot read the table {table}")]
    Read {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A commit failed, or its outcome is not known.
    #[error("cannot commit to the table {table}")]
    Commit {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// The table was not told whether it holds a batch.
    #[error("cannot look into the table {table}")]
    Look {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A batch does not fit the columns.
    #[error("a batch does not fit the table {table}")]
    Row {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: RowError,
    },
    /// The slice begins after the table's end: what lies between would be lost.
    #[error("the table {table} ends at offset {at} of {partition}, the slice begins at {from}")]
    Hole {
        /// The table.
        table: &'static str,
        /// The partition.
        partition: String,
        /// Where the table ends.
        at: i64,
        /// Where the slice begins.
        from: i64,
    },
}

impl TableError {
    /// Returns true where the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Place { source, .. } => source.is_transient(),
            Self::Read { .. } | Self::Commit { .. } | Self::Look { .. } | Self::Hole { .. } => true,
            Self::Row { .. } => false,
        }
    }

    /// Returns true where the partitions have to be read again from the tables' identifiers.
    pub fn is_hole(&self) -> bool {
        match self {
            Self::Hole { .. } => true,
            Self::Place { .. }
            | Self::Read { .. }
            | Self::Look { .. }
            | Self::Commit { .. }
            | Self::Row { .. } => false,
        }
    }
}

/// One table, open for writing.
pub struct Table {
    what: LakeTable,
    delta: DeltaTable,
    /// Identifiers of the snapshot in `delta`, as far as they were asked for.
    identifiers: BTreeMap<String, Option<i64>>,
    /// Offsets before which this process found no further row for the table.
    offered: BTreeMap<String, i64>,
    /// True where the snapshot may not be the newest.
    stale: bool,
    committed_at: Instant,
}

/// What of a slice a table does not have yet.
struct Due<'a> {
    partition: &'a str,
    advanced: i64,
    next: i64,
    batches: Vec<&'a StoreMinute>,
    doubtful: Vec<&'a StoreMinute>,
}

impl Table {
    /// Opens a table, or makes it.
    pub async fn open(storage: &Storage, what: LakeTable) -> Result<Self, TableError> {
        let table = what.name();
        let log = storage.log_store(table).map_err(|source| TableError::Place { table, source })?;
        let read = |source| TableError::Read { table, source: Box::new(source) };
        let mut delta = DeltaTable::new(log);
        if !delta.verify_deltatable_existence().await.map_err(read)? {
            create(&delta, what).await?;
        }
        delta.load().await.map_err(read)?;
        Ok(Self {
            what,
            delta,
            identifiers: BTreeMap::new(),
            offered: BTreeMap::new(),
            stale: false,
            committed_at: Instant::now(),
        })
    }

    /// Returns the next offset of a partition by the newest snapshot; nothing where the table knows
    /// no offset of it.
    pub async fn position(&mut self, partition: &str) -> Result<Option<i64>, TableError> {
        self.stale = true;
        self.offered.remove(partition);
        self.refresh().await?;
        self.identifier(partition).await
    }

    /// Adds what the table does not have yet of the slices, in one commit. Returns once it is on the
    /// disk, or where nothing is worth a commit.
    pub async fn append(&mut self, slices: &[Slice]) -> Result<(), TableError> {
        let mut tries = 1;
        loop {
            match self.try_append(slices).await {
                Err(error @ TableError::Commit { .. }) if tries < TRIES => {
                    let table = self.what.name();
                    tracing::warn!(table, tries, error = %shared::log::Chain(&error), "again");
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_append(&mut self, slices: &[Slice]) -> Result<(), TableError> {
        // Rows that are looked for may have come by a commit that no identifier of ours tells of.
        self.stale |= slices.iter().any(|slice| !slice.doubtful.is_empty());
        self.refresh().await?;
        let mut due = Vec::new();
        for slice in slices {
            due.extend(self.due(slice).await?);
        }
        self.add_lacking(&mut due).await?;
        if self.is_worth_a_commit(&due) {
            self.commit(&due).await?;
        }
        for part in &due {
            self.offered.insert(part.partition.to_owned(), part.next);
        }
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), TableError> {
        if self.stale {
            self.identifiers.clear();
            self.delta.update_state().await.map_err(|source| self.read_error(source))?;
            self.stale = false;
        }
        Ok(())
    }

    async fn due<'a>(&mut self, slice: &'a Slice) -> Result<Option<Due<'a>>, TableError> {
        let identifier = self.identifier(&slice.partition).await?;
        let offered = self.offered.get(&slice.partition).copied();
        let at = identifier.max(offered).unwrap_or(slice.from);
        if slice.from > at {
            return Err(TableError::Hole {
                table: self.what.name(),
                partition: slice.partition.clone(),
                at,
                from: slice.from,
            });
        }
        let fresh = |batches: &'a [(i64, Arc<StoreMinute>)]| -> Vec<&'a StoreMinute> {
            let has_rows = |batch: &StoreMinute| self.what.count(batch) > 0;
            let fresh = batches.iter().filter(|(offset, batch)| *offset >= at && has_rows(batch));
            fresh.map(|(_, batch)| batch.as_ref()).collect()
        };
        Ok((slice.next > at).then(|| Due {
            partition: &slice.partition,
            advanced: slice.next - identifier.unwrap_or(slice.from),
            next: slice.next,
            batches: fresh(&slice.batches),
            doubtful: fresh(&slice.doubtful),
        }))
    }

    /// Takes up the doubtful batches that the snapshot lacks, each once.
    async fn add_lacking(&self, due: &mut [Due<'_>]) -> Result<(), TableError> {
        let all: Vec<&StoreMinute> = due.iter().flat_map(|part| part.doubtful.clone()).collect();
        if all.is_empty() {
            return Ok(());
        }
        let table = self.what.name();
        let look = |source| TableError::Look { table, source: Box::new(source) };
        let mut held = held(&self.delta, &all).await.map_err(look)?;
        for part in due {
            let lacking = part.doubtful.iter().filter(|batch| held.insert(place(batch)));
            let lacking: Vec<&StoreMinute> = lacking.copied().collect();
            let (asked, lacking_count) = (part.doubtful.len(), lacking.len());
            tracing::info!(
                table,
                asked,
                lacking = lacking_count,
                "looked for batches in the table"
            );
            part.batches.extend(lacking);
        }
        Ok(())
    }

    async fn identifier(&mut self, partition: &str) -> Result<Option<i64>, TableError> {
        if let Some(known) = self.identifiers.get(partition) {
            return Ok(*known);
        }
        let snapshot = self.delta.snapshot().map_err(|source| self.read_error(source))?;
        let read = snapshot.transaction_version(&self.delta.log_store(), partition).await;
        let identifier = read.map_err(|source| self.read_error(source))?;
        self.identifiers.insert(partition.to_owned(), identifier);
        Ok(identifier)
    }

    fn is_worth_a_commit(&self, due: &[Due<'_>]) -> bool {
        let idle_for_long = self.committed_at.elapsed() >= IDLE_SPAN;
        // What was found to be there is told by the identifier, or it would seem to be lacking.
        due.iter().any(|part| {
            !part.batches.is_empty()
                || !part.doubtful.is_empty()
                || part.advanced >= IDLE_RECORDS
                || idle_for_long
        })
    }

    /// The order is the guarantee: data files, then the log entry that names them and the offsets.
    async fn commit(&mut self, due: &[Due<'_>]) -> Result<(), TableError> {
        self.stale = true;
        let adds = self.write_files(due).await?;
        let commit = |source| TableError::Commit { table: self.what.name(), source };
        let snapshot = self.delta.snapshot().map_err(|source| self.read_error(source))?;
        let version = snapshot.version();
        let offsets = due.iter().map(|part| Transaction::new(part.partition, part.next)).collect();
        let properties = CommitProperties::default().with_application_transactions(offsets);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![PARTITION_COLUMN.to_owned()]),
            predicate: None,
        };
        let done = CommitBuilder::from(properties)
            .with_actions(adds)
            .build(Some(snapshot), self.delta.log_store(), operation)
            .await
            .map_err(|source| commit(Box::new(source)))?;
        self.committed(due, version, done.version());
        self.delta.state = Some(done.snapshot());
        Ok(())
    }

    /// Where another commit came between, identifiers of partitions that are not in this one may have
    /// moved: they are read again.
    fn committed(&mut self, due: &[Due<'_>], before: u64, after: u64) {
        if after != before + 1 {
            self.identifiers.clear();
        }
        for part in due {
            self.identifiers.insert(part.partition.to_owned(), Some(part.next));
        }
        self.stale = false;
        self.committed_at = Instant::now();
    }

    async fn write_files(&self, due: &[Due<'_>]) -> Result<Vec<Action>, TableError> {
        let table = self.what.name();
        let batches: Vec<&StoreMinute> =
            due.iter().flat_map(|part| part.batches.iter().copied()).collect();
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.what.rows(&batches).map_err(|source| TableError::Row { table, source })?;
        let commit = |source| TableError::Commit { table, source: Box::new(source) };
        let mut writer = RecordBatchWriter::for_table(&self.delta).map_err(commit)?;
        writer.write(rows).await.map_err(commit)?;
        let adds = writer.flush().await.map_err(commit)?;
        Ok(adds.into_iter().map(Action::Add).collect())
    }

    fn read_error(&self, source: DeltaTableError) -> TableError {
        TableError::Read { table: self.what.name(), source: Box::new(source) }
    }
}

/// Makes a table; where another process makes it at the same time, either one is good.
async fn create(delta: &DeltaTable, what: LakeTable) -> Result<(), TableError> {
    let table = what.name();
    let row = |source| TableError::Row { table, source };
    let columns = what.columns().map_err(row)?;
    let fields = columns.fields().iter().map(|field| field.as_ref().try_into_kernel());
    let fields: Vec<StructField> =
        fields.collect::<Result<_, _>>().map_err(|source| row(RowError::Columns(source)))?;
    let made = CreateBuilder::new()
        .with_log_store(delta.log_store())
        .with_table_name(table)
        .with_columns(fields)
        .with_partition_columns([PARTITION_COLUMN])
        .with_save_mode(SaveMode::Ignore)
        .await;
    let there = delta.verify_deltatable_existence().await;
    match (made, there) {
        (Ok(_), _) | (Err(_), Ok(true)) => Ok(()),
        (Err(source), _) => Err(TableError::Read { table, source: Box::new(source) }),
    }
}
