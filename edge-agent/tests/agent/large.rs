//! How long a large buffer takes to be verified and to be repaired: printed, never asserted.
//!
//! `MEGABYTES=n` fills so many (`make large`).

use std::sync::Arc;

use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::repair::repair;
use edge_agent::buffer::{
    Binding, Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
};
use shared::time::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::world::receipt;

/// Megabytes that an ordinary test run fills.
const MEGABYTES: u32 = 4;

/// Lines of a receipt: a batch of them has some 60 kB.
const LINES: u32 = 300;

#[test]
fn a_large_buffer_is_verified_and_repaired_whole() {
    let megabytes = std::env::var("MEGABYTES").map_or(MEGABYTES, |text| text.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let key_file = folder.path().join("buffer.key");
    std::fs::write(&key_file, "5a".repeat(32)).unwrap();
    let (path, key) = (folder.path().join("buffer.db"), Key::from_file(&key_file).unwrap());
    let settings = Settings {
        path: path.clone(),
        key: key.clone(),
        machine_id: None,
        quota: Quota::UNBOUNDED,
        now: now(),
    };
    let binding =
        Binding { store: "10".parse().unwrap(), counter: folder.path().join("buffer.db.counter") };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let (buffer, writer) = Buffer::open_bound(settings.clone(), &binding).unwrap();
        let mut number = 0;
        while std::fs::metadata(&path).unwrap().len() < u64::from(megabytes) << 20 {
            number += 1;
            add(&buffer, number).await;
        }
        drop(buffer);
        writer.join();
        number
    });
    let size = std::fs::metadata(&path).unwrap().len() >> 20;
    let began = Instant::now();
    let verdict = Inspector::open(&path, &key).unwrap().verify().unwrap();
    eprintln!("{size} MB, {batches} batches: verified in {:?}", began.elapsed());
    assert_eq!((verdict.batches, verdict.faults), (batches.into(), Vec::new()));
    let began = Instant::now();
    let repaired = repair(&settings, &binding).unwrap();
    eprintln!("{size} MB: repaired in {:?}", began.elapsed());
    assert_eq!(repaired.rows["outbox"], u64::from(batches));
    assert_eq!((repaired.lost, repaired.unreadable_pages), (Vec::new(), Vec::new()));
}

/// Takes in one large receipt and cuts its batch.
async fn add(buffer: &Buffer, number: u32) {
    let minute = number % 1440;
    let mut one = receipt("3", number, &format!("{:02}:{:02}:07", minute / 60, minute % 60), 1);
    let line = one.lines[0].clone();
    one.lines = (0..LINES)
        .map(|at| {
            let article = format!("own:x:{number}-{at}").parse().unwrap();
            shared::receipt::Line { position: at + 1, article, ..line.clone() }
        })
        .collect();
    one.total_cents = shared::money::Cents(LINES.into());
    let slot = (one.ended_at.minute(), one.business_day);
    let unit = IntakeUnit {
        start: 0,
        end: 0,
        bytes: Vec::new(),
        entries: vec![Entry::Receipt(slot, Sharing::Shared, Box::new(one))],
    };
    let (source, feed) = ("tills".to_owned(), "file".to_owned());
    let intake = Intake {
        claim: Claim::Counts,
        supply: Supply::Waits,
        source,
        feed,
        mark: None,
        at: now(),
        units: vec![unit],
    };
    buffer.take(Arc::new(intake)).await.unwrap();
    let cut = Cut { store: "10".parse().unwrap(), at: now(), complete_through: None };
    buffer.close(slot, cut).await.unwrap();
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}
