//! Partitions of `sale`, one per business day, made before the batch that needs them.

use std::collections::BTreeSet;

use shared::time::BusinessDay;

use super::{Store, StoreError};

/// Names the lock under which partitions are made, so that two consumers do not make the same one.
const LOCK: i64 = 0x7361_6c65_5f64_6179;

impl Store {
    /// Makes the partitions that are missing. Attaching waits for no insert, as `CREATE TABLE ..
    /// PARTITION OF` would.
    pub async fn make_days(&self, days: &BTreeSet<BusinessDay>) -> Result<(), StoreError> {
        if days.is_empty() {
            return Ok(());
        }
        let what = StoreError::on("make a day's partition");
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(&what)?;
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.execute(lock, &[&LOCK]).await.map_err(&what)?;
        for day in days {
            transaction.batch_execute(&make_day(*day)).await.map_err(&what)?;
        }
        transaction.commit().await.map_err(&what)
    }
}

/// A day's name comes from a date, so that nothing foreign gets into the statement.
fn make_day(day: BusinessDay) -> String {
    let table = format!("sale_{}", day.date().format("%Y%m%d"));
    let from = day.date();
    let to = day.date().succ_opt().expect("the years end at 2200");
    format!(
        "DO $$ BEGIN
           IF to_regclass('{table}') IS NULL THEN
             CREATE TABLE {table} (LIKE sale INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
             ALTER TABLE sale ATTACH PARTITION {table} FOR VALUES FROM ('{from}') TO ('{to}');
           END IF;
         END $$"
    )
}
