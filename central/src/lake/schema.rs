//! What a store-minute is in the warehouse: the columns of each table, and the rows of a batch as an
//! Arrow record batch. Pure; it neither reads nor writes a table.
//!
//! The names and types are the readers' contract: they equal the views `v1.*` of the same name.

use std::sync::Arc;

use deltalake::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use deltalake::arrow::datatypes::{Date32Type, SchemaRef};
use deltalake::arrow::error::ArrowError;
use serde::Serialize;
use shared::minute::{SaleRow, StoreMinute, TillMinute};
use shared::receipt::StockMovement;
use shared::time::{BusinessDay, Timestamp};

/// The column by which every table is partitioned.
pub const PARTITION_COLUMN: &str = "business_day";

/// A table of the warehouse that follows the store-minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LakeTable {
    /// Rows per till, article, kind, unit and VAT.
    Sales,
    /// Totals per till and series.
    Tills,
    /// Movements of stock.
    StockMovements,
}

/// Why a batch does not fit the tables.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A count that 64 signed bits do not hold; the judge accepts none.
    #[error("{0} does not fit 64 bits")]
    TooLarge(&'static str),
    /// A list that cannot be written as JSON.
    #[error("a list cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The columns contradict each other.
    #[error("the columns contradict each other")]
    Columns(#[source] ArrowError),
}

impl LakeTable {
    /// All tables that follow the store-minutes.
    pub const ALL: [Self; 3] = [Self::Sales, Self::Tills, Self::StockMovements];

    /// Returns the name of the table: its folder and its view.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sales => "sales",
            Self::Tills => "tills",
            Self::StockMovements => "stock_movements",
        }
    }

    /// Returns the columns.
    pub fn columns(self) -> Result<SchemaRef, RowError> {
        Ok(self.rows(&[])?.schema())
    }

    /// Returns how many rows a batch has in the table.
    pub fn count(self, batch: &StoreMinute) -> usize {
        match self {
            Self::Sales => batch.sales.len(),
            Self::Tills => batch.tills.len(),
            Self::StockMovements => batch.stock.len(),
        }
    }

    /// Returns the rows of some batches.
    pub fn rows(self, batches: &[&StoreMinute]) -> Result<RecordBatch, RowError> {
        match self {
            Self::Sales => sales(&pairs(batches, |batch| &batch.sales)),
            Self::Tills => tills(&pairs(batches, |batch| &batch.tills)),
            Self::StockMovements => stock_movements(&pairs(batches, |batch| &batch.stock)),
        }
    }
}

type Column = (&'static str, ArrayRef, bool);

fn pairs<'a, T>(
    batches: &[&'a StoreMinute],
    of: impl Fn(&'a StoreMinute) -> &'a Vec<T>,
) -> Vec<(&'a StoreMinute, &'a T)> {
    batches.iter().flat_map(|batch| of(batch).iter().map(move |row| (*batch, row))).collect()
}

fn sales(rows: &[(&StoreMinute, &SaleRow)]) -> Result<RecordBatch, RowError> {
    let lines = rows.iter().map(|(_, row)| whole("lines", row.lines)).collect::<Result<_, _>>()?;
    let mut columns = origin(rows);
    columns.extend([
        text("till", rows.iter().map(|(_, row)| row.till.as_str())),
        text("article", rows.iter().map(|(_, row)| row.article.as_str())),
        text("kind", rows.iter().map(|(_, row)| row.kind.as_str())),
        text("unit", rows.iter().map(|(_, row)| row.unit.as_str())),
        numbers("quantity_milli", rows.iter().map(|(_, row)| row.quantity_milli.0).collect()),
        numbers("amount_cents", rows.iter().map(|(_, row)| row.amount_cents.0).collect()),
        numbers("discount_cents", rows.iter().map(|(_, row)| row.discount_cents.0).collect()),
        numbers(
            "adjustment_share_cents",
            rows.iter().map(|(_, row)| row.adjustment_share_cents.0).collect(),
        ),
        maybe_text("vat_key", rows.iter().map(|(_, row)| row.vat_key.as_ref().map(|v| v.as_str()))),
        rates("vat_bp", rows)?,
        flags("void", rows.iter().map(|(_, row)| Some(row.void)).collect(), false),
        numbers("lines", lines),
        maybe_text("text", rows.iter().map(|(_, row)| row.text.as_ref().map(|v| v.as_str()))),
        maybe_text("seller", rows.iter().map(|(_, row)| row.seller.as_ref().map(|v| v.as_str()))),
        flags("restock", rows.iter().map(|(_, row)| row.restock).collect(), true),
    ]);
    finish(columns, rows)
}

fn tills(rows: &[(&StoreMinute, &TillMinute)]) -> Result<RecordBatch, RowError> {
    let receipts = rows
        .iter()
        .map(|(_, row)| whole("receipt_count", row.receipt_count))
        .collect::<Result<_, _>>()?;
    let mut columns = origin(rows);
    columns.extend([
        text("till", rows.iter().map(|(_, row)| row.till.as_str())),
        text("series", rows.iter().map(|(_, row)| row.series.as_str())),
        numbers("receipt_count", receipts),
        numbers("lines_cents", rows.iter().map(|(_, row)| row.lines_cents.0).collect()),
        numbers("tax_added_cents", rows.iter().map(|(_, row)| row.tax_added_cents.0).collect()),
        numbers("adjustment_cents", rows.iter().map(|(_, row)| row.adjustment_cents.0).collect()),
        numbers("total_cents", rows.iter().map(|(_, row)| row.total_cents.0).collect()),
        text("channel", rows.iter().map(|(_, row)| row.channel.as_str())),
        numbers("voided_cents", rows.iter().map(|(_, row)| row.voided_cents.0).collect()),
        json("receipts", rows.iter().map(|(_, row)| &row.receipts))?,
        json("receipt_ids", rows.iter().map(|(_, row)| &row.receipt_ids))?,
        json("numbers_without_sale", rows.iter().map(|(_, row)| &row.numbers_without_sale))?,
        json("counts", rows.iter().map(|(_, row)| &row.counts))?,
        text("batch_kind", rows.iter().map(|(batch, _)| batch.kind.as_str())),
    ]);
    finish(columns, rows)
}

fn stock_movements(rows: &[(&StoreMinute, &StockMovement)]) -> Result<RecordBatch, RowError> {
    let mut columns = origin(rows);
    columns.extend([
        text("id", rows.iter().map(|(_, row)| row.id.as_str())),
        text("article", rows.iter().map(|(_, row)| row.article.as_str())),
        text("kind", rows.iter().map(|(_, row)| row.kind.as_str())),
        text("unit", rows.iter().map(|(_, row)| row.unit.as_str())),
        numbers("quantity_milli", rows.iter().map(|(_, row)| row.quantity_milli.0).collect()),
        times("occurred_at", rows.iter().map(|(_, row)| row.occurred_at)),
        maybe_text("order", rows.iter().map(|(_, row)| row.order.as_ref().map(|v| v.as_str()))),
        maybe_text(
            "counterparty",
            rows.iter().map(|(_, row)| row.counterparty.as_ref().map(|v| v.as_str())),
        ),
        maybe_text("reason", rows.iter().map(|(_, row)| row.reason.as_ref().map(|v| v.as_str()))),
        days("best_before", rows.iter().map(|(_, row)| row.best_before), true),
        maybe_text("lot", rows.iter().map(|(_, row)| row.lot.as_ref().map(|v| v.as_str()))),
    ]);
    finish(columns, rows)
}

/// The columns that every row has of its batch.
fn origin<T>(rows: &[(&StoreMinute, &T)]) -> Vec<Column> {
    vec![
        text("store", rows.iter().map(|(batch, _)| batch.store.as_str())),
        days(PARTITION_COLUMN, rows.iter().map(|(batch, _)| Some(batch.business_day)), false),
        times("minute", rows.iter().map(|(batch, _)| batch.minute.start())),
    ]
}

/// Adds where the row came from, which is how it is found again in the topic.
fn finish<T>(
    mut columns: Vec<Column>,
    rows: &[(&StoreMinute, &T)],
) -> Result<RecordBatch, RowError> {
    let sequences = rows
        .iter()
        .map(|(batch, _)| whole("sequence", batch.sequence.get()))
        .collect::<Result<_, _>>()?;
    let streams = rows.iter().map(|(batch, _)| batch.stream.to_string());
    columns.extend([text("stream", streams), numbers("sequence", sequences)]);
    RecordBatch::try_from_iter_with_nullable(columns).map_err(RowError::Columns)
}

fn whole(what: &'static str, number: u64) -> Result<i64, RowError> {
    i64::try_from(number).map_err(|_| RowError::TooLarge(what))
}

fn text<T: AsRef<str>>(name: &'static str, values: impl Iterator<Item = T>) -> Column {
    (name, Arc::new(StringArray::from_iter_values(values)), false)
}

fn maybe_text<'a>(name: &'static str, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    (name, Arc::new(values.collect::<StringArray>()), true)
}

fn numbers(name: &'static str, values: Vec<i64>) -> Column {
    (name, Arc::new(Int64Array::from(values)), false)
}

fn rates(name: &'static str, rows: &[(&StoreMinute, &SaleRow)]) -> Result<Column, RowError> {
    let rates = rows
        .iter()
        .map(|(_, row)| row.vat_bp.map(i32::try_from).transpose())
        .collect::<Result<Int32Array, _>>();
    Ok((name, Arc::new(rates.map_err(|_| RowError::TooLarge(name))?), true))
}

fn flags(name: &'static str, values: Vec<Option<bool>>, nullable: bool) -> Column {
    (name, Arc::new(BooleanArray::from(values)), nullable)
}

fn times(name: &'static str, values: impl Iterator<Item = Timestamp>) -> Column {
    let micros = values.map(|at| at.utc().timestamp_micros());
    let array = TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC");
    (name, Arc::new(array), false)
}

fn days(
    name: &'static str,
    values: impl Iterator<Item = Option<BusinessDay>>,
    nullable: bool,
) -> Column {
    let days = values.map(|day| day.map(|day| Date32Type::from_naive_date(day.date())));
    (name, Arc::new(days.collect::<Date32Array>()), nullable)
}

fn json<'a, T: Serialize + 'a>(
    name: &'static str,
    values: impl Iterator<Item = &'a T>,
) -> Result<Column, RowError> {
    let texts: Vec<String> =
        values.map(serde_json::to_string).collect::<Result<_, _>>().map_err(RowError::Json)?;
    Ok(text(name, texts.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> StoreMinute {
        serde_json::from_str(include_str!(
            "../../../shared/tests/shared/golden/store-minute.full.json"
        ))
        .unwrap()
    }

    #[test]
    fn every_row_of_a_batch_is_one_row_of_its_table() {
        let batch = batch();
        for table in LakeTable::ALL {
            let rows = table.rows(&[&batch, &batch]).unwrap();
            assert_eq!(rows.num_rows(), 2 * table.count(&batch), "{}", table.name());
            assert_eq!(rows.schema(), table.columns().unwrap());
        }
    }

    #[test]
    fn a_table_without_rows_still_has_its_columns() {
        let columns = LakeTable::Sales.columns().unwrap();
        let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "store",
                "business_day",
                "minute",
                "till",
                "article",
                "kind",
                "unit",
                "quantity_milli",
                "amount_cents",
                "discount_cents",
                "adjustment_share_cents",
                "vat_key",
                "vat_bp",
                "void",
                "lines",
                "text",
                "seller",
                "restock",
                "stream",
                "sequence"
            ]
        );
    }

    #[test]
    fn a_count_beyond_64_signed_bits_is_named() {
        let mut batch = batch();
        batch.sales[0].lines = u64::MAX;
        let refused = LakeTable::Sales.rows(&[&batch]).unwrap_err();
        assert_eq!(refused.to_string(), "lines does not fit 64 bits");
    }
}
