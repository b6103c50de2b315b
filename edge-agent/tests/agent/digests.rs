//! What a batch tells of a day equals what the batches up to it hold of that day, whatever came late,
//! was corrected, given up or carried over; and every day that is over is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use edge_agent::aggregate::open::Slot;
use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::renew::renew;
use edge_agent::buffer::repair::repair;
use edge_agent::buffer::{
    Binding, Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
    Unbound,
};
use shared::digest::{DayOfTill, KeySum};
use shared::ids::Sequence;
use shared::minute::{Closing, StoreMinute};
use shared::receipt::Receipt;
use shared::time::Timestamp;
use tempfile::TempDir;

use crate::older_tables::BACK_TO_1;
use crate::world::{receipt, unlocked};

#[tokio::test]
async fn a_day_is_told_with_the_first_batch_of_the_next_and_again_when_it_changes() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    take(&buffer, vec![on("2026-03-02", "3", 1, 100), on("2026-03-02", "4", 1, 7)]).await;
    take(&buffer, vec![on("2026-03-02", "3", 2, 20)]).await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    assert!(told(&batches(&buffer).await).is_empty(), "the day goes on");

    take(&buffer, vec![on("2026-03-03", "3", 1, 3)]).await;
    close_all(&buffer, "2026-03-03T09:00:00Z").await;
    let first = batches(&buffer).await;
    assert_eq!(told(&first), ["3 2026-03-02 2 receipts 120"], "till 4 was not heard of since");

    let mut late = on("2026-03-02", "3", 3, 5);
    late.ended_at = "2026-03-02T19:59:00Z".parse().unwrap();
    take(&buffer, vec![late]).await;
    close_all(&buffer, "2026-03-04T09:00:00Z").await;
    let all = batches(&buffer).await;
    let expected =
        ["3 2026-03-02 2 receipts 120", "3 2026-03-02 3 receipts 125", "4 2026-03-02 1 receipts 7"];
    assert_eq!(told(&all), expected);
    assert_eq!(exact(&all), 3);
}

#[tokio::test]
async fn a_closing_ends_a_day_and_a_receipt_after_it_opens_it_again() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    take(&buffer, vec![on("2026-03-02", "3", 1, 100)]).await;
    close_till(&buffer, "3", "1").await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    take(&buffer, vec![on("2026-03-02", "3", 2, 20)]).await;
    close_all(&buffer, "2026-03-02T20:01:00Z").await;
    assert_eq!(told(&batches(&buffer).await), ["3 2026-03-02 1 receipts 100"]);
    close_till(&buffer, "3", "2").await;
    close_all(&buffer, "2026-03-02T20:02:00Z").await;
    let all = batches(&buffer).await;
    assert_eq!(told(&all), ["3 2026-03-02 1 receipts 100", "3 2026-03-02 2 receipts 120"]);
    assert_eq!(exact(&all), 2);
}

#[tokio::test]
async fn a_day_is_not_told_while_a_receipt_of_it_waits() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    let mut early = on("2026-03-02", "3", 1, 100);
    early.ended_at = "2026-03-02T08:00:00Z".parse().unwrap();
    let slots = take(&buffer, vec![early, on("2026-03-02", "3", 2, 20)]).await;
    close_till(&buffer, "3", "1").await;
    let at = "2026-03-05T20:00:00Z".parse().unwrap();
    let mut open: Vec<Slot> = buffer.open_slots().await.unwrap();
    assert_eq!(slots, 2);
    while let Some(slot) = open.pop() {
        assert!(told(&batches(&buffer).await).is_empty());
        buffer.close(slot, cut_at(at)).await.unwrap();
    }
    let all = batches(&buffer).await;
    assert_eq!(told(&all), ["3 2026-03-02 2 receipts 120"]);
    assert_eq!(exact(&all), 1);
}

#[tokio::test]
async fn receipts_that_go_alone_and_ids_that_are_no_numbers_are_in_the_sum() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    let mut named = on("2026-03-02", "3", 1, 100);
    named.receipt = "A-7".parse().unwrap();
    take_as(&buffer, vec![named, on("2026-03-02", "3", 2, 20)], Sharing::Alone).await;
    close_all(&buffer, "2026-03-05T20:00:00Z").await;
    let all = batches(&buffer).await;
    assert_eq!(all.len(), 2);
    assert_eq!(told(&all), ["3 2026-03-02 2 receipts 120"]);
    assert_eq!(exact(&all), 1);
}

#[tokio::test]
async fn what_a_later_version_changes_and_a_counter_that_began_anew_are_in_the_sums() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    let version =
        |version, cents| Receipt { version: Some(version), ..on("2026-03-02", "3", 7, cents) };
    take(&buffer, vec![version(1, 100)]).await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    take(&buffer, vec![version(2, 130)]).await;
    take(&buffer, vec![on("2026-03-02", "3", 8, 5)]).await;
    let mut anew = on("2026-03-02", "3", 7, 6);
    anew.ended_at = "2026-03-02T12:00:00Z".parse().unwrap();
    take(&buffer, vec![anew]).await;
    close_all(&buffer, "2026-03-05T20:00:00Z").await;
    let all = batches(&buffer).await;
    let total: i64 = all.iter().flat_map(|one| &one.tills).map(|till| till.total_cents.0).sum();
    let of_sums: i64 = all.last().unwrap().digests.iter().map(|one| one.cents.0).sum();
    assert_eq!((total, of_sums), (141, 141));
    assert_eq!(exact(&all), 2, "{:?}", told(&all));
}

#[tokio::test]
async fn a_batch_that_is_given_up_is_taken_out_of_the_sum() {
    let folder = TempDir::new().unwrap();
    let (buffer, _writer) = open(folder.path());
    take(&buffer, vec![on("2026-03-02", "3", 1, 100)]).await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    let mut late = on("2026-03-02", "3", 2, 20);
    late.ended_at = "2026-03-02T08:00:00Z".parse().unwrap();
    take(&buffer, vec![late]).await;
    close_all(&buffer, "2026-03-05T20:00:00Z").await;
    assert_eq!(told(&batches(&buffer).await), ["3 2026-03-02 2 receipts 120"]);

    // The batch that told is given up, then the other one.
    let at = "2026-03-05T21:00:00Z".parse().unwrap();
    for sequence in [2, 1] {
        let sequence = Sequence::new(sequence).unwrap();
        buffer.give_up(sequence, "refused".to_owned(), at).await.unwrap();
    }
    take(&buffer, vec![on("2026-03-02", "3", 4, 4), on("2026-03-05", "3", 1, 3)]).await;
    close_all(&buffer, "2026-03-05T22:00:00Z").await;
    let all = batches(&buffer).await;
    assert_eq!(told(&all), ["3 2026-03-02 1 receipts 4"]);
    assert_eq!(exact(&all), 1);
}

#[tokio::test]
async fn a_new_stream_counts_what_waits_and_nothing_else() {
    let folder = half_sent().await;
    let (own, bound) = (settings(folder.path()), binding(folder.path()));
    unlocked(|| renew(&own, &bound, Unbound::RolledBack));
    tells(&folder, "3 2026-03-02 1 receipts 20").await;
}

#[tokio::test]
async fn a_repaired_buffer_goes_on_counting_or_begins_anew() {
    for (damaged, expected) in
        [(false, "3 2026-03-02 2 receipts 120"), (true, "3 2026-03-02 1 receipts 20")]
    {
        let folder = half_sent().await;
        if damaged {
            lose_the_sums(&folder.path().join("buffer.db"));
        }
        unlocked(|| repair(&settings(folder.path()), &binding(folder.path())));
        tells(&folder, expected).await;
    }
}

#[tokio::test]
async fn a_buffer_from_before_there_were_sums_gets_them() {
    let folder = half_sent().await;
    connect(&folder.path().join("buffer.db")).execute_batch(BACK_TO_1).unwrap();
    tells(&folder, "3 2026-03-02 1 receipts 20").await;
}

#[tokio::test]
async fn verify_holds_the_sums_of_days_against_what_they_speak_of() {
    let folder = TempDir::new().unwrap();
    let (buffer, writer) = open(folder.path());
    let version =
        |version, cents| Receipt { version: Some(version), ..on("2026-03-02", "3", 7, cents) };
    take(&buffer, vec![version(1, 100), on("2026-03-02", "4", 1, 7)]).await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    take(&buffer, vec![version(2, 130), on("2026-03-02", "4", 2, 9)]).await;
    take_as(&buffer, vec![on("2026-03-03", "4", 1, 11)], Sharing::Alone).await;
    drop(buffer);
    writer.join();
    let path = folder.path().join("buffer.db");
    let faults = || {
        let inspector = Inspector::open(&path, &settings(folder.path()).key);
        inspector.unwrap().verify().unwrap().faults
    };
    assert!(faults().is_empty(), "open receipts and corrections are in the sums");
    for change in ["cents = cents + 1", "receipts = receipts - 1", "keys = zeroblob(32)"] {
        for (till, day) in [("3", "2026-03-02"), ("4", "2026-03-02"), ("4", "2026-03-03")] {
            let whole = std::fs::read(&path).unwrap();
            let place = format!("WHERE till = '{till}' AND business_day = '{day}'");
            let sql = format!("UPDATE day_digest SET {change} {place}");
            assert_eq!(connect(&path).execute(&sql, []).unwrap(), 1);
            let told = format!("the sum of till {till} on {day} is not what its batches hold");
            assert_eq!(faults(), [told], "{change}");
            std::fs::write(&path, whole).unwrap();
        }
    }
    assert!(faults().is_empty());
}

/// Makes a buffer with one receipt of a day in a batch, and one that waits.
async fn half_sent() -> TempDir {
    let folder = TempDir::new().unwrap();
    let (buffer, writer) = open(folder.path());
    take(&buffer, vec![on("2026-03-02", "3", 1, 100)]).await;
    close_all(&buffer, "2026-03-02T20:00:00Z").await;
    take(&buffer, vec![on("2026-03-02", "3", 2, 20)]).await;
    drop(buffer);
    writer.join();
    folder
}

/// Closes what waits once the day is over, and proves what is told of it then.
async fn tells(folder: &TempDir, expected: &str) {
    let (buffer, _writer) = open(folder.path());
    close_all(&buffer, "2026-03-05T20:00:00Z").await;
    let all = batches(&buffer).await;
    assert_eq!(told(&all), [expected]);
    assert_eq!(exact(&all), 1);
}

/// Compares every day that is told with the batches that it speaks of; returns how many were told.
pub(crate) fn exact(batches: &[StoreMinute]) -> usize {
    let mut told = 0;
    for batch in batches {
        for digest in &batch.digests {
            let spoken_of = digest.first_sequence..=batch.sequence;
            let (mut receipts, mut cents, mut keys) = (0, 0, KeySum::default());
            let of = |one: &&StoreMinute| {
                spoken_of.contains(&one.sequence) && one.business_day == digest.business_day
            };
            for till in batches.iter().filter(of).flat_map(|one| &one.tills) {
                if (&till.till, &till.series) != (&digest.till, &digest.series) {
                    continue;
                }
                let day = DayOfTill {
                    till: till.till.as_str(),
                    series: till.series.as_str(),
                    business_day: digest.business_day,
                };
                receipts += till.receipt_count;
                cents += till.total_cents.0;
                let numbers = till.receipts.iter().flat_map(|(first, last)| first..=last);
                numbers.for_each(|number| keys.add(&day, &number.to_string()));
                till.receipt_ids.iter().for_each(|id| keys.add(&day, id.as_str()));
            }
            assert_eq!((digest.receipts, digest.cents.0, digest.keys), (receipts, cents, keys));
            told += 1;
        }
    }
    told
}

/// What is told, in order, without the sums of keys.
fn told(batches: &[StoreMinute]) -> Vec<String> {
    let line = |one: &shared::digest::DayDigest| {
        format!("{} {} {} receipts {}", one.till, one.business_day, one.receipts, one.cents.0)
    };
    batches.iter().flat_map(|batch| &batch.digests).map(line).collect()
}

fn on(day: &str, till: &str, number: u32, cents: i64) -> Receipt {
    let mut one = receipt(till, number, "09:41:07", cents);
    one.series = day.parse().unwrap();
    one.business_day = day.parse().unwrap();
    one.ended_at = format!("{day}T09:41:07Z").parse().unwrap();
    one
}

async fn take(buffer: &Buffer, receipts: Vec<Receipt>) -> usize {
    take_as(buffer, receipts, Sharing::Shared).await
}

async fn take_as(buffer: &Buffer, receipts: Vec<Receipt>, sharing: Sharing) -> usize {
    let entry = |receipt: Receipt| {
        let slot: Slot = (receipt.ended_at.minute(), receipt.business_day);
        Entry::Receipt(slot, sharing, Box::new(receipt))
    };
    take_in(buffer, receipts.into_iter().map(entry).collect()).await
}

async fn close_till(buffer: &Buffer, till: &str, number: &str) {
    let closing: Closing = serde_json::from_value(serde_json::json!({
        "tills": [till], "closing": number, "source": "tills",
        "closed_at": "2026-03-02T19:00:00Z", "total_cents": 100,
    }))
    .unwrap();
    let slot = ("2026-03-02T19:00:00Z".parse().unwrap(), "2026-03-02".parse().unwrap());
    take_in(buffer, vec![Entry::Closing(slot, Box::new(closing))]).await;
}

async fn take_in(buffer: &Buffer, entries: Vec<Entry>) -> usize {
    let intake = Intake {
        supply: Supply::Waits,
        claim: Claim::Counts,
        source: "tills".to_owned(),
        feed: "file".to_owned(),
        mark: None,
        at: now(),
        units: vec![IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }],
    };
    buffer.take(Arc::new(intake)).await.unwrap().slots.len()
}

async fn close_all(buffer: &Buffer, at: &str) {
    for slot in buffer.open_slots().await.unwrap() {
        buffer.close(slot, cut_at(at.parse().unwrap())).await.unwrap();
    }
}

fn cut_at(at: Timestamp) -> Cut {
    Cut { store: "10".parse().unwrap(), at, complete_through: None }
}

/// All batches, the oldest first.
async fn batches(buffer: &Buffer) -> Vec<StoreMinute> {
    let waiting = buffer.waiting(None, 1 << 24).await.unwrap();
    let read = |batch: &edge_agent::buffer::Outgoing| serde_json::from_slice(&batch.body).unwrap();
    let all: BTreeMap<Sequence, StoreMinute> =
        waiting.iter().map(|batch| (batch.sequence, read(batch))).collect();
    all.into_values().collect()
}

/// Makes the page with the sums unreadable.
fn lose_the_sums(path: &Path) {
    let sql = "SELECT rootpage FROM sqlite_master WHERE name = 'day_digest'";
    let root: u32 = connect(path).query_row(sql, [], |row| row.get(0)).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(root as usize - 1) * 4096 + 99] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn connect(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "key", format!("x'{}'", "5a".repeat(32))).unwrap();
    connection
}

fn open(folder: &Path) -> (Buffer, edge_agent::buffer::Writer) {
    unlocked(|| Buffer::open_bound(settings(folder), &binding(folder)))
}

fn settings(folder: &Path) -> Settings {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Settings {
        path: folder.join("buffer.db"),
        key: Key::from_file(&file).unwrap(),
        machine_id: None,
        quota: Quota::UNBOUNDED,
        now: now(),
    }
}

fn binding(folder: &Path) -> Binding {
    Binding { store: "10".parse().unwrap(), counter: folder.join("buffer.db.counter") }
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}
