//! Columns of Parquet files as plain values. The only file here that names `parquet` and `arrow`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, MapArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::log::{Add, LiveFile};
use crate::error::StackError;

/// Rows that are held at once.
const PAGE_ROWS: usize = 8192;

/// Some rows of a file, with the columns that were asked for.
pub(super) struct Page {
    file: String,
    rows: usize,
    columns: BTreeMap<String, ArrayRef>,
}

/// Reads the columns of a file, page by page.
pub(super) fn read(
    file: &LiveFile,
    columns: &[&str],
    each: &mut impl FnMut(&Page) -> Result<(), StackError>,
) -> Result<(), StackError> {
    let failed = || StackError::foreign(format!("{} cannot be read", file.path.display()));
    let broken = || StackError::foreign(format!("{} is broken", file.path.display()));
    let stored: Vec<&str> =
        columns.iter().copied().filter(|name| !file.partition.contains_key(*name)).collect();
    let open = File::open(&file.path).map_err(StackError::path("open", &file.path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open).map_err(failed())?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), stored.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(PAGE_ROWS).build();
    for batch in reader.map_err(failed())? {
        each(&Page::new(file, &batch.map_err(broken())?)?)?;
    }
    Ok(())
}

impl Page {
    fn new(file: &LiveFile, batch: &RecordBatch) -> Result<Self, StackError> {
        let mut columns = BTreeMap::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let plain = plain_type(column.data_type());
            let failed = StackError::foreign(format!("column {} cannot be read", field.name()));
            columns.insert(field.name().clone(), cast(column, &plain).map_err(failed)?);
        }
        for (name, value) in &file.partition {
            let values: StringArray = vec![value.as_deref(); batch.num_rows()].into();
            columns.insert(name.clone(), Arc::new(values));
        }
        Ok(Self { file: file.path.display().to_string(), rows: batch.num_rows(), columns })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Result<&str, StackError> {
        self.maybe_text(name, row)?.ok_or_else(|| self.wrong(name, "is null"))
    }

    pub(super) fn maybe_text(&self, name: &str, row: usize) -> Result<Option<&str>, StackError> {
        let column = self.column(name)?;
        let texts: &StringArray =
            column.as_string_opt().ok_or_else(|| self.wrong(name, "is no text"))?;
        Ok(texts.is_valid(row).then(|| texts.value(row)))
    }

    /// Returns a number, or microseconds from 1970.
    pub(super) fn number(&self, name: &str, row: usize) -> Result<i64, StackError> {
        let column = self.column(name)?;
        let numbers: &Int64Array = column
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| self.wrong(name, "is no whole number"))?;
        if numbers.is_null(row) { Err(self.wrong(name, "is null")) } else { Ok(numbers.value(row)) }
    }

    pub(super) fn flag(&self, name: &str, row: usize) -> Result<Option<bool>, StackError> {
        let column = self.column(name)?;
        let flags: &BooleanArray =
            column.as_boolean_opt().ok_or_else(|| self.wrong(name, "is neither true nor false"))?;
        Ok(flags.is_valid(row).then(|| flags.value(row)))
    }

    /// Returns the days from 1970; the day of a partition stands there as text.
    pub(super) fn day(&self, name: &str, row: usize) -> Result<i32, StackError> {
        if let Some(days) = self.column(name)?.as_primitive_opt::<Date32Type>() {
            return Ok(days.value(row));
        }
        let text = self.text(name, row)?;
        let date = text.parse::<chrono::NaiveDate>();
        date.map(|date| date.to_epoch_days()).map_err(|_| self.wrong(name, "is no date"))
    }

    fn column(&self, name: &str) -> Result<&ArrayRef, StackError> {
        self.columns.get(name).ok_or_else(|| self.wrong(name, "is absent"))
    }

    fn wrong(&self, name: &str, what: &str) -> StackError {
        StackError::wrong(format!("column {name} of {} {what}", self.file))
    }
}

/// Returns the one type that stands for all ways to store the same thing.
fn plain_type(stored: &DataType) -> DataType {
    if stored.is_integer() || matches!(stored, DataType::Timestamp(TimeUnit::Microsecond, _)) {
        DataType::Int64
    } else if stored.is_string() || matches!(stored, DataType::Dictionary(_, _)) {
        DataType::Utf8
    } else {
        stored.clone()
    }
}

/// Returns the files that a checkpoint says were added.
pub(super) fn added(checkpoint: &Path) -> Result<Vec<Add>, StackError> {
    let name = checkpoint.display();
    let failed = || StackError::foreign(format!("{name} cannot be read"));
    let broken = || StackError::foreign(format!("{name} is broken"));
    let wrong = |what| StackError::wrong(format!("{name} {what}"));
    let open = File::open(checkpoint).map_err(StackError::path("open", checkpoint))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open).map_err(failed())?;
    let mut files = Vec::new();
    for batch in builder.with_batch_size(PAGE_ROWS).build().map_err(failed())? {
        let batch = batch.map_err(broken())?;
        let adds = batch.column_by_name("add").and_then(|column| column.as_struct_opt());
        let adds: &StructArray = adds.ok_or_else(|| wrong("has no column add"))?;
        if adds
            .column_by_name("deletionVector")
            .is_some_and(|column| column.null_count() < column.len())
        {
            return Err(wrong("has deletion vectors, which nobody here reads"));
        }
        let paths = adds.column_by_name("path").ok_or_else(|| wrong("has no paths"))?;
        let paths = cast(paths, &DataType::Utf8).map_err(broken())?;
        let partitions = adds.column_by_name("partitionValues").and_then(|map| map.as_map_opt());
        let partitions = partitions.ok_or_else(|| wrong("has no partition values"))?;
        for row in (0..adds.len()).filter(|&row| adds.is_valid(row)) {
            let path = paths.as_string::<i32>().value(row).to_owned();
            files.push(Add::new(path, entries(partitions, row).map_err(broken())?));
        }
    }
    Ok(files)
}

fn entries(
    map: &MapArray,
    row: usize,
) -> Result<BTreeMap<String, Option<String>>, arrow::error::ArrowError> {
    let entry = map.value(row);
    let keys = cast(entry.column(0), &DataType::Utf8)?;
    let values = cast(entry.column(1), &DataType::Utf8)?;
    let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
    let value = |at: usize| values.is_valid(at).then(|| values.value(at).to_owned());
    Ok((0..entry.len()).map(|at| (keys.value(at).to_owned(), value(at))).collect())
}
