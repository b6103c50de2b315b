//! Keeps the tables quick to read: small files become large ones, files that nothing names go, the
//! log gets checkpoints. It uses the library's own operations beside the appends, never `RESTORE`,
//! which would bring rows back and leave the identifiers ahead of them.

use std::time::Duration;

use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::operations::vacuum::VacuumMode;
use deltalake::{DeltaTable, DeltaTableError};
use shared::log::Chain;

use super::schema::LakeTable;
use super::storage::{Storage, StorageError};
use crate::config::LakeConfig;

/// Compaction takes a core each; the appends beside it need the others.
const TASKS_MAX: usize = 1;
/// Below this age a file may belong to a commit that is under way, or to a query that reads an older
/// version.
const KEEP_AT_LEAST: Duration = Duration::from_secs(7 * 24 * 3600);

/// When the tables are looked after.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The pause between two rounds, real time.
    pub every: Duration,
}

/// What a round did to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Small files that became part of larger ones.
    pub files_compacted: u64,
    /// Files that nothing named any more.
    pub files_removed: usize,
}

/// Why a table was not looked after.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The place cannot be used.
    #[error("cannot open the table {table}")]
    Place {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: StorageError,
    },
    /// One of the operations failed.
    #[error("cannot {step} the table {table}")]
    Step {
        /// The operation.
        step: &'static str,
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
}

impl Plan {
    /// Reads the plan from the configuration.
    pub fn of(config: &LakeConfig) -> Self {
        Self { every: Duration::from_secs(config.upkeep_minutes * 60) }
    }
}

/// Looks after all tables again and again. A failure waits for the next round: it costs speed only.
pub async fn run(storage: Storage, plan: Plan) {
    loop {
        tokio::time::sleep(plan.every).await;
        for what in LakeTable::ALL {
            match look_after(&storage, what).await {
                Ok(done) => tracing::info!(table = what.name(), ?done, "the table is looked after"),
                Err(error) => tracing::warn!(error = %Chain(&error), "upkeep of the lake"),
            }
        }
    }
}

/// Does one round on one table, which must exist.
pub async fn look_after(storage: &Storage, what: LakeTable) -> Result<Done, UpkeepError> {
    let table = what.name();
    let log = storage.log_store(table).map_err(|source| UpkeepError::Place { table, source })?;
    let failed = |step| move |source| UpkeepError::Step { step, table, source: Box::new(source) };
    let mut delta = DeltaTable::new(log);
    delta.load().await.map_err(failed("load"))?;
    let (delta, compacted) =
        delta.optimize().with_max_concurrent_tasks(TASKS_MAX).await.map_err(failed("compact"))?;
    let (mut delta, vacuumed) = delta
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(retention())
        .await
        .map_err(failed("vacuum"))?;
    delta.update_state().await.map_err(failed("reload"))?;
    create_checkpoint(&delta, None).await.map_err(failed("checkpoint"))?;
    cleanup_metadata(&delta, None).await.map_err(failed("trim the log of"))?;
    Ok(Done {
        files_compacted: compacted.num_files_removed,
        files_removed: vacuumed.files_deleted.len(),
    })
}

fn retention() -> chrono::Duration {
    chrono::Duration::from_std(KEEP_AT_LEAST).unwrap_or(chrono::Duration::MAX)
}
