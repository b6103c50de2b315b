//! Whether a table holds batches already, by their place in a store's stream: for the few of which
//! offsets cannot tell. It reads one version of a table and writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::arrow::array::{Array, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use deltalake::arrow::datatypes::{Date32Type, Int64Type};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::{Expr, SessionContext, col, lit};
use shared::minute::StoreMinute;

use super::schema::PARTITION_COLUMN;
use super::totals::{lit_day, text};

/// Store, stream and sequence.
pub(super) type Place = (String, String, i64);

/// Returns the place of a batch.
pub(super) fn place(batch: &StoreMinute) -> Place {
    let sequence = i64::try_from(batch.sequence.get()).expect("a sequence is below 2^53");
    (batch.store.to_string(), batch.stream.to_string(), sequence)
}

/// Returns the places of those batches of which this version of the table has rows.
pub(super) async fn held(
    delta: &DeltaTable,
    batches: &[&StoreMinute],
) -> Result<BTreeSet<Place>, DataFusionError> {
    let days: BTreeSet<i32> = batches.iter().map(|one| day(one)).collect();
    let stores: BTreeSet<&str> = batches.iter().map(|one| one.store.as_str()).collect();
    let days: Vec<Expr> = days.into_iter().map(lit_day).collect();
    let stores: Vec<Expr> = stores.into_iter().map(lit).collect();
    let context = SessionContext::new();
    let rows = context
        .read_table(delta.table_provider().await?)?
        .filter(col(PARTITION_COLUMN).in_list(days, false))?
        .filter(col("store").in_list(stores, false))?;
    context.register_table("rows", rows.into_view())?;
    context.register_batch("asked", asked(batches)?)?;
    let sql = "SELECT DISTINCT a.store, a.stream, a.sequence FROM asked a JOIN rows r
               ON r.store = a.store AND r.stream = a.stream AND r.sequence = a.sequence
               AND r.business_day = a.business_day";
    let found = context.sql(sql).await?.collect().await?;
    let mut places = BTreeSet::new();
    for batch in &found {
        for row in 0..batch.num_rows() {
            let other = || DataFusionError::Plan("the table has other columns than ours".into());
            places.insert(read(batch, row).ok_or_else(other)?);
        }
    }
    Ok(places)
}

fn read(batch: &RecordBatch, row: usize) -> Option<Place> {
    let sequence = batch.column(2).as_primitive_opt::<Int64Type>()?.value(row);
    Some((text(batch, 0, row)?, text(batch, 1, row)?, sequence))
}

fn day(batch: &StoreMinute) -> i32 {
    Date32Type::from_naive_date(batch.business_day.date())
}

fn asked(batches: &[&StoreMinute]) -> Result<RecordBatch, DataFusionError> {
    let places: Vec<Place> = batches.iter().map(|one| place(one)).collect();
    let stores = StringArray::from_iter_values(places.iter().map(|one| &one.0));
    let streams = StringArray::from_iter_values(places.iter().map(|one| &one.1));
    let sequences = Int64Array::from_iter_values(places.iter().map(|one| one.2));
    let days = Date32Array::from_iter_values(batches.iter().map(|one| day(one)));
    let columns: [(&str, Arc<dyn Array>); 4] = [
        ("store", Arc::new(stores)),
        ("stream", Arc::new(streams)),
        ("sequence", Arc::new(sequences)),
        (PARTITION_COLUMN, Arc::new(days)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
