//! What the tables hold, read by the library's own query engine: sums per store and business day, or
//! finer, and how far each table is. It never writes.

use chrono::{DateTime, Utc};
use deltalake::arrow::array::{Array, AsArray, RecordBatch};
use deltalake::arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::{DataFrame, SessionContext, col, lit};
use deltalake::{DeltaTable, DeltaTableError};
use shared::time::{BusinessDay, Timestamp};

use super::schema::LakeTable;
use super::storage::{Storage, StorageError};
use crate::figures::{Figures, FiguresByKey, Grain, Key, Part, Scope};

/// Why a table cannot be summed up.
#[derive(Debug, thiserror::Error)]
pub enum TotalsError {
    /// The place cannot be used.
    #[error("cannot open the table {table}")]
    Place {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: StorageError,
    },
    /// The table cannot be read.
    #[error("cannot read the table {table}")]
    Read {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// The query failed.
    #[error("cannot sum up the table {table}")]
    Query {
        /// The table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Box<DataFusionError>,
    },
    /// The table's columns are not the ones that we write.
    #[error("the table {table} has other columns than ours")]
    Columns {
        /// The table.
        table: &'static str,
    },
}

/// One version of one table, or nothing where the table was not made yet.
pub struct TableTotals {
    what: LakeTable,
    delta: Option<DeltaTable>,
}

impl LakeTable {
    /// Returns the part of the rows that the table holds.
    pub fn part(self) -> Part {
        match self {
            Self::Sales => Part::Sales,
            Self::Tills => Part::Tills,
            Self::StockMovements => Part::Stock,
        }
    }

    /// The three sums, in the order of [`Figures::of_part`].
    fn sums(self) -> &'static str {
        match self {
            Self::Sales => "sum(lines), sum(quantity_milli), sum(amount_cents)",
            Self::Tills => {
                "count(DISTINCT concat(stream, '/', sequence)), sum(receipt_count), sum(total_cents)"
            }
            Self::StockMovements => "count(*), sum(quantity_milli), sum(CAST(0 AS bigint))",
        }
    }

    fn key(self, grain: Grain) -> &'static str {
        match (grain, self) {
            (Grain::Day, _) => "store, business_day",
            (Grain::Till, Self::StockMovements) => "store, business_day, minute",
            (Grain::Till, Self::Sales | Self::Tills) => "store, business_day, minute, till",
        }
    }
}

impl TableTotals {
    /// Opens the newest version of a table.
    pub async fn open(storage: &Storage, what: LakeTable) -> Result<Self, TotalsError> {
        let table = what.name();
        if !storage.may_hold(table) {
            return Ok(Self { what, delta: None });
        }
        let log =
            storage.log_store(table).map_err(|source| TotalsError::Place { table, source })?;
        let mut delta = DeltaTable::new(log);
        let read = |source| TotalsError::Read { table, source: Box::new(source) };
        if !delta.verify_deltatable_existence().await.map_err(read)? {
            return Ok(Self { what, delta: None });
        }
        delta.load().await.map_err(read)?;
        Ok(Self { what, delta: Some(delta) })
    }

    /// Returns which table this is.
    pub fn table(&self) -> LakeTable {
        self.what
    }

    /// Returns the next offset of a partition, `<generation>/<partition>`, in this version.
    pub async fn position(&self, partition: &str) -> Result<Option<i64>, TotalsError> {
        let Some(delta) = &self.delta else { return Ok(None) };
        let snapshot = delta.snapshot().map_err(|source| self.read(source))?;
        let read = snapshot.transaction_version(&delta.log_store(), partition).await;
        read.map_err(|source| self.read(source))
    }

    /// Returns the sums of this version.
    pub async fn figures(&self, scope: &Scope, grain: Grain) -> Result<FiguresByKey, TotalsError> {
        let Some(delta) = &self.delta else { return Ok(FiguresByKey::new()) };
        let provider = delta.table_provider().await.map_err(|source| self.query(source))?;
        let context = SessionContext::new();
        let rows = context.read_table(provider).and_then(|all| within(all, scope));
        let rows = rows.map_err(|source| self.query(source))?;
        context.register_table("rows", rows.into_view()).map_err(|source| self.query(source))?;
        let (key, sums) = (self.what.key(grain), self.what.sums());
        let sql = format!("SELECT {sums}, {key} FROM rows GROUP BY {key}");
        let found = async { context.sql(&sql).await?.collect().await }.await;
        let mut figures = FiguresByKey::new();
        for batch in found.map_err(|source| self.query(source))? {
            let table = self.what.name();
            let added = self.add_rows(&mut figures, &batch);
            added.ok_or(TotalsError::Columns { table })?;
        }
        Ok(figures)
    }

    /// Adds the rows of an answer: three sums, store, day, and for fine sums minute and till.
    fn add_rows(&self, figures: &mut FiguresByKey, batch: &RecordBatch) -> Option<()> {
        let number = |column: usize, row: usize| {
            let values = batch.column(column).as_primitive_opt::<Int64Type>()?;
            Some(if values.is_null(row) { 0 } else { values.value(row) })
        };
        for row in 0..batch.num_rows() {
            let key = Key {
                store: text(batch, 3, row)?,
                day: day(batch, 4, row)?,
                minute: if batch.num_columns() > 5 { Some(minute(batch, 5, row)?) } else { None },
                till: if batch.num_columns() > 6 { Some(text(batch, 6, row)?) } else { None },
            };
            let sums = [number(0, row)?, number(1, row)?, number(2, row)?];
            figures.entry(key).or_default().add(&Figures::of_part(self.what.part(), sums));
        }
        Some(())
    }

    fn read(&self, source: DeltaTableError) -> TotalsError {
        TotalsError::Read { table: self.what.name(), source: Box::new(source) }
    }

    fn query(&self, source: DataFusionError) -> TotalsError {
        TotalsError::Query { table: self.what.name(), source: Box::new(source) }
    }
}

fn within(rows: DataFrame, scope: &Scope) -> Result<DataFrame, DataFusionError> {
    let rows = match &scope.store {
        Some(store) => rows.filter(col("store").eq(lit(store.as_str())))?,
        None => rows,
    };
    match scope.day {
        Some(day) => {
            let days = Date32Type::from_naive_date(day.date());
            rows.filter(col("business_day").eq(lit_day(days)))
        }
        None => Ok(rows),
    }
}

pub(super) fn lit_day(days: i32) -> deltalake::datafusion::prelude::Expr {
    lit(deltalake::datafusion::scalar::ScalarValue::Date32(Some(days)))
}

/// Text columns come back in one of three layouts, as the reader chose.
pub(super) fn text(batch: &RecordBatch, column: usize, row: usize) -> Option<String> {
    let array = batch.column(column);
    let plain = array.as_string_opt::<i32>().map(|values| values.value(row).to_owned());
    plain.or_else(|| array.as_string_view_opt().map(|values| values.value(row).to_owned()))
}

fn day(batch: &RecordBatch, column: usize, row: usize) -> Option<BusinessDay> {
    let days = batch.column(column).as_primitive_opt::<Date32Type>()?;
    Date32Type::to_naive_date_opt(days.value(row)).map(BusinessDay::new)
}

fn minute(batch: &RecordBatch, column: usize, row: usize) -> Option<Timestamp> {
    let times = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>()?;
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(times.value(row))?;
    Some(Timestamp::from_utc(at))
}
