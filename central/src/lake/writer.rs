//! The tables together: accepted batches go into each of them. Several tables need no common commit,
//! since each catches up by itself from its own identifiers.

use std::collections::BTreeMap;

use super::schema::LakeTable;
use super::storage::Storage;
use super::table::{Slice, Table, TableError};

/// All tables that follow the store-minutes, open for writing.
pub struct LakeWriter(Vec<Table>);

impl LakeWriter {
    /// Opens the tables, or makes them.
    pub async fn open(storage: &Storage) -> Result<Self, TableError> {
        let mut tables = Vec::new();
        for what in LakeTable::ALL {
            tables.push(Table::open(storage, what).await?);
        }
        Ok(Self(tables))
    }

    /// Returns where reading has to begin: per partition the lowest next offset over the tables, and
    /// nothing where a table knows none, so that the partition is read from its beginning.
    pub async fn positions(
        &mut self,
        partitions: &[String],
    ) -> Result<BTreeMap<String, Option<i64>>, TableError> {
        let mut lowest = BTreeMap::new();
        for partition in partitions {
            let mut positions = Vec::new();
            for table in &mut self.0 {
                positions.push(table.position(partition).await?);
            }
            // `None` sorts before every offset.
            lowest.insert(partition.clone(), positions.into_iter().min().flatten());
        }
        Ok(lowest)
    }

    /// Adds what each table does not have yet of the slices. Returns once all of them have it.
    pub async fn append(&mut self, slices: &[Slice]) -> Result<(), TableError> {
        for table in &mut self.0 {
            table.append(slices).await?;
        }
        Ok(())
    }
}
