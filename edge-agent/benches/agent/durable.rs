//! The buffer on this machine's disk: receipts are counted once they are synced. Beside it, rows of the
//! same JSON in a bare SQLCipher file with the same settings, key and number of commits.

use std::path::Path;
use std::sync::Arc;

use edge_agent::buffer::{
    Buffer, Claim, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
};
use fakes::shop::Country;
use rusqlite::Connection;
use shared::receipt::Receipt;
use shared::time::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::inputs;
use crate::table::{Row, Table};

/// Rounds of each way, in turns: the disk's mood changes.
const ROUNDS: usize = 5;
/// Receipts of a round that is committed one by one, and of one by the chunk.
const SINGLE: usize = 300;
const MANY: usize = 3_000;
/// Receipts of a chunk of 64 KiB, as JSON Lines.
const CHUNK: usize = 30;
const KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// Measures both ways, receipt by receipt and chunk by chunk.
pub(crate) fn taking(table: &mut Table) {
    for (what, receipts, together) in [
        ("durable, a receipt a commit", SINGLE, 1),
        ("durable, a chunk of 30 receipts a commit", MANY, CHUNK),
    ] {
        let receipts = inputs::receipts(Country::Germany, receipts);
        let (mut agent, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            agent.push(receipts.len() as f64 / through_the_buffer(&receipts, together));
            bare.push(receipts.len() as f64 / bare_rows(&receipts, together));
        }
        table.add(Row {
            part: "buffer",
            what: what.to_owned(),
            value: median(&mut agent),
            unit: "receipts/s",
            per_second: None,
            plain: Some(median(&mut bare)),
            beside: "SQLCipher, one insert a receipt, same commits",
        });
    }
}

/// Returns the middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Makes a folder on the disk of the target folder: a folder in memory syncs nothing.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Opens a fresh buffer in a folder.
pub(crate) fn open(folder: &Path) -> (Buffer, edge_agent::buffer::Writer) {
    let file = folder.join("buffer.key");
    std::fs::write(&file, KEY).unwrap();
    let key = Key::from_file(&file).unwrap();
    let path = folder.join("buffer.db");
    Buffer::open(Settings { path, key, machine_id: None, quota: Quota::UNBOUNDED, now: now() })
        .unwrap()
}

/// Makes an intake of receipts that belong to their minutes.
pub(crate) fn intake(receipts: &[Receipt]) -> Arc<Intake> {
    let unit = |receipt: &Receipt| {
        let slot = (receipt.ended_at.minute(), receipt.business_day);
        let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt.clone()))];
        IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }
    };
    Arc::new(Intake {
        source: "tills".to_owned(),
        feed: "file".to_owned(),
        claim: Claim::Counts,
        supply: Supply::Waits,
        mark: Some("1".to_owned()),
        at: now(),
        units: receipts.iter().map(unit).collect(),
    })
}

/// The time of all that is measured here.
pub(crate) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("it is a time")
}

/// Returns the seconds that the agent's buffer takes.
fn through_the_buffer(receipts: &[Receipt], together: usize) -> f64 {
    let folder = folder();
    let (buffer, writer) = open(folder.path());
    let intakes: Vec<Arc<Intake>> = receipts.chunks(together).map(intake).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        for intake in intakes {
            let taken = buffer.take(intake).await.unwrap();
            assert_eq!((taken.quarantined, taken.duplicates), (0, 0));
        }
    });
    let span = began.elapsed().as_secs_f64();
    drop(buffer);
    writer.join();
    span
}

/// Returns the seconds that bare rows take.
fn bare_rows(receipts: &[Receipt], together: usize) -> f64 {
    let folder = folder();
    let mut connection = Connection::open(folder.path().join("bare.db")).unwrap();
    connection.pragma_update(None, "cipher_log_level", "NONE").unwrap();
    connection.pragma_update(None, "key", format!("x'{KEY}'")).unwrap();
    let mode = "PRAGMA journal_mode = WAL";
    let _: String = connection.query_row(mode, [], |row| row.get(0)).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.pragma_update(None, "cache_size", -1024).unwrap();
    connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT)", []).unwrap();
    let began = Instant::now();
    for chunk in receipts.chunks(together) {
        let transaction = connection.transaction().unwrap();
        let mut insert = transaction.prepare_cached("INSERT INTO row (body) VALUES (?1)").unwrap();
        for receipt in chunk {
            insert.execute([serde_json::to_string(receipt).unwrap()]).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }
    began.elapsed().as_secs_f64()
}
