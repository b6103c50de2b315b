//! Whoever looks into the buffer while an agent works neither hurts it nor holds it up. Simulated
//! hours of a store pass as fast as the disk allows while every inspection runs in turn beside them.
//!
//! `HOURS=n` takes so many (`make beside`) and prints what the inspection costs in throughput.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use edge_agent::buffer::inspect::{Filter, Inspector, State};
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
};
use shared::ids::Sequence;
use shared::time::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::world::receipt;

/// Hours that an ordinary test run takes.
const HOURS: u32 = 2;

/// How long nobody looks in after somebody did: short where harm is sought.
const PAUSE: Duration = Duration::from_millis(50);

/// The same where the cost is measured: more often than any person or monitor looks in.
const MEASURED_PAUSE: Duration = Duration::from_secs(1);

#[test]
fn hours_of_work_beside_every_inspection_leave_the_buffer_whole() {
    let hours = std::env::var("HOURS").map_or(HOURS, |text| text.parse().unwrap());
    let alone = work(hours, false);
    let watched = work(hours, true);
    // Beside other work it may also be the faster one.
    let cost = 100_u128.saturating_sub(100 * alone.as_millis() / watched.as_millis().max(1));
    eprintln!("{hours} hours: {alone:?} alone, {watched:?} beside inspections: {cost} % lost");
}

/// Lives through hours of a store; returns how long it took.
fn work(hours: u32, watched: bool) -> Duration {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("buffer.db");
    let key_file = folder.path().join("buffer.key");
    std::fs::write(&key_file, "5a".repeat(32)).unwrap();
    let key = Key::from_file(&key_file).unwrap();
    let settings = Settings {
        path: path.clone(),
        key: key.clone(),
        machine_id: None,
        quota: Quota::UNBOUNDED,
        now: at(0, "00"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let looking = watched.then(|| {
        let (stop, looks, place) =
            (Arc::clone(&stop), Arc::clone(&looks), (path.clone(), key.clone()));
        std::thread::spawn(move || look(&place, &stop, &looks))
    });
    let took = runtime.block_on(async {
        let (buffer, writer) = Buffer::open(settings).unwrap();
        let began = Instant::now();
        for minute in 0..hours * 60 {
            pass(&buffer, minute).await;
        }
        let took = began.elapsed();
        drop(buffer);
        writer.join();
        took
    });
    stop.store(true, Ordering::Relaxed);
    if let Some(looking) = looking {
        looking.join().expect("no inspection has failed");
        assert!(looks.load(Ordering::Relaxed) > 0, "somebody has looked in");
    }
    let inspector = Inspector::open(&path, &key).unwrap();
    let verdict = inspector.verify().unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new());
    let sums = inspector.batch_sums().unwrap();
    let receipts = i64::from(hours) * 60 * 6;
    assert_eq!((sums.receipts, sums.total_cents), (receipts, receipts * 100));
    took
}

/// One minute of a store: six receipts, one at a time, then its batch, which goes out.
async fn pass(buffer: &Buffer, minute: u32) {
    let time = format!("{:02}:{:02}:07", (minute / 60) % 24, minute % 60);
    let mut slots = std::collections::BTreeSet::new();
    for number in 0..6 {
        let mut one = receipt("3", minute * 6 + number + 1, &time, 100);
        one.series = format!("day {}", minute / 1440).parse().unwrap();
        let slot = (one.ended_at.minute(), one.business_day);
        let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(one))];
        let intake = Intake {
            supply: Supply::Waits,
            claim: Claim::Counts,
            source: "tills".to_owned(),
            feed: "file".to_owned(),
            mark: Some(format!("{minute}/{number}")),
            at: at(minute, "07"),
            units: vec![IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }],
        };
        slots.extend(buffer.take(Arc::new(intake)).await.unwrap().slots);
    }
    let cut = Cut { store: "10".parse().unwrap(), at: at(minute, "07"), complete_through: None };
    for slot in slots {
        buffer.close(slot, cut.clone()).await.unwrap();
    }
    let waiting = buffer.waiting(None, 1 << 20).await.unwrap();
    let sequences: Vec<Sequence> = waiting.iter().map(|batch| batch.sequence).collect();
    buffer.acknowledge(sequences, at(minute, "08")).await.unwrap();
}

/// Every inspection in turn, until told to stop.
fn look((path, key): &(PathBuf, Key), stop: &AtomicBool, looks: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        if look_once(path, key) {
            looks.fetch_add(1, Ordering::Relaxed);
        }
        let measured = std::env::var_os("HOURS").is_some();
        std::thread::park_timeout(if measured { MEASURED_PAUSE } else { PAUSE });
    }
}

fn look_once(path: &Path, key: &Key) -> bool {
    // Before the first minute there is nothing to look into.
    let Ok(inspector) = Inspector::open(path, key) else { return false };
    let Ok(figures) = inspector.figures() else { return false };
    let newest = inspector.list(20).unwrap();
    let filter = Filter {
        till: Some("3".parse().unwrap()),
        state: Some(State::Acknowledged),
        most: 5,
        ..Filter::default()
    };
    inspector.list_of(&filter).unwrap();
    inspector.batch_sums().unwrap();
    inspector.set_aside(20).unwrap();
    for sequence in inspector.sequences(1, u64::MAX, 50).unwrap() {
        inspector.show(sequence).unwrap();
    }
    let verdict = inspector.verify().unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new(), "{figures:?}");
    assert!(newest.len() <= 20);
    true
}

fn at(minute: u32, second: &str) -> Timestamp {
    let (day, hour) = (2 + (minute / 1440) % 27, (minute / 60) % 24);
    format!("2026-03-{day:02}T{hour:02}:{:02}:{second}Z", minute % 60).parse().unwrap()
}
