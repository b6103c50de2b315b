//! A buffer that may take no more: sources that can wait do, for a printer that cannot the least is given
//! up, and what is delivered, set aside and lost is what was issued. Seeded; `CASES=n` runs more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, BufferError, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing,
    Supply, Writer,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use shared::ids::Sequence;
use shared::minute::StoreMinute;
use shared::receipt::Receipt;
use shared::time::Timestamp;
use tempfile::TempDir;

/// Cases of an ordinary run.
const CASES: u64 = 2;

/// What the buffer may take: some dozen minutes.
const QUOTA: Quota = Quota { bytes: 640 << 10, reserve_bytes: 160 << 10 };

/// Steps of a case.
const STEPS: u32 = 300;

#[test]
fn what_is_delivered_and_what_is_lost_is_what_was_issued() {
    let cases = std::env::var("CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut all = Totals::default();
    for seed in 0..cases {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live_through(seed, &mut all));
    }
    println!("{cases} cases: {all:?}");
    assert!(all.lost > 0 && all.held_back > 0 && all.delivered > 0, "{all:?}");
}

#[tokio::test]
async fn confirmed_batches_go_first_and_nothing_is_lost_by_that() {
    let folder = in_memory();
    let mut bench = Bench::open(&folder);
    for number in 1..=120 {
        let taken = bench.take(Supply::Waits, &wide_receipt("1", number)).await;
        assert!(taken.is_ok(), "{taken:?}");
        bench.close_all().await;
        bench.ship(Line::Up).await;
    }
    let figures = bench.buffer.figures().await.unwrap();
    assert_eq!((figures.given_up, figures.backlog, figures.highest_sequence), (0, 0, 120));
    let kept = bench.buffer.kept().await.unwrap();
    assert!(kept.acknowledged < 100, "{kept:?}");
    bench.end();
    let verdict = inspector(&folder).verify().unwrap();
    assert!(verdict.faults.is_empty(), "{:?}", verdict.faults);
}

#[tokio::test]
async fn the_least_valuable_goes_first_and_never_what_the_producer_got() {
    let folder = in_memory();
    let mut bench = Bench::open(&folder);
    let mut cents = BTreeMap::new();
    for number in 1..=12 {
        let receipt = priced(wide_receipt("1", number), if number == 9 { 1 } else { 500 });
        bench.take(Supply::Waits, &receipt).await.unwrap();
        bench.close_all().await;
        cents.insert(u64::from(number), receipt.total_cents.0);
        if number == 6 {
            bench.ship(Line::Hanging).await;
        }
    }
    let mut number = 100;
    while bench.buffer.figures().await.unwrap().given_up == 0 {
        number += 1;
        bench.take(Supply::Flows, &priced(wide_receipt("2", number), 500)).await.unwrap();
        bench.close_all().await;
    }
    let given_up = given_up(&folder);
    assert!(given_up.len() < 4, "only what is needed goes: {given_up:?}");
    assert!(given_up.contains(&9), "the one with the least money for its bytes: {given_up:?}");
    let batch = batch(&folder, 9);
    let loss = &batch.losses[0];
    assert!(batch.tills.is_empty() && batch.sales.is_empty() && batch.losses.len() == 1);
    assert_eq!((loss.count, loss.cents.0, loss.reason.as_str()), (1, cents[&9], "no_room"));
    assert_eq!(loss.till.as_ref().map(|till| till.as_str()), Some("1"));
    while bench.take(Supply::Flows, &priced(wide_receipt("2", number + 1), 9)).await.is_ok() {
        number += 1;
        bench.close_all().await;
    }
    let given_up = self::given_up(&folder);
    assert!(given_up.len() > 10 && given_up.iter().all(|&sequence| sequence > 6), "{given_up:?}");
    bench.end();
}

/// What was seen.
#[derive(Debug, Default)]
struct Totals {
    issued: u64,
    delivered: u64,
    lost: u64,
    given_up: u64,
    held_back: u64,
}

/// How the line to the broker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Batches go out and are confirmed.
    Up,
    /// Batches go out and nothing is heard.
    Hanging,
    /// Nothing goes out.
    Down,
}

/// Till and minute.
type Place = (String, String);

async fn live_through(seed: u64, totals: &mut Totals) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = in_memory();
    let mut bench = Bench::open(&folder);
    let mut issued: BTreeMap<Place, (u64, i64)> = BTreeMap::new();
    let mut waiting: Vec<Receipt> = Vec::new();
    let mut line = Line::Down;
    for number in 1..=STEPS {
        if random.random_bool(0.01) {
            line = [Line::Up, Line::Hanging, Line::Down][random.random_range(0..3)];
        }
        if random.random_bool(0.01) {
            bench = bench.restart(&folder);
        }
        let till = if random.random_bool(0.6) { "tap" } else { "file" };
        let receipt = priced(wide_receipt(till, number), random.random_range(1..900));
        if till == "tap" {
            // A printer hands over once: what is not taken now is not in the sums.
            if bench.take(Supply::Flows, &receipt).await.is_ok() {
                note(&mut issued, &receipt);
            } else {
                totals.held_back += 1;
            }
        } else {
            note(&mut issued, &receipt);
            waiting.push(receipt);
        }
        while let Some(receipt) = waiting.first() {
            if bench.take(Supply::Waits, receipt).await.is_err() {
                totals.held_back += 1;
                break;
            }
            waiting.remove(0);
        }
        if random.random_bool(0.8) {
            bench.close_all().await;
        }
        bench.ship(line).await;
        if number % 10 > 0 {
            continue;
        }
        let used = bench.buffer.figures().await.unwrap().used_bytes;
        assert!(used <= QUOTA.bytes, "seed {seed}: {used} bytes are in use");
    }
    for receipt in &waiting {
        bench.close_all().await;
        bench.ship(Line::Up).await;
        bench.take(Supply::Waits, receipt).await.unwrap();
    }
    bench.close_all().await;
    bench.ship(Line::Up).await;
    let figures = bench.buffer.figures().await.unwrap();
    assert_eq!((figures.backlog, figures.open_rows, figures.quarantined), (0, 0, 0), "seed {seed}");
    let found = bench.found(totals);
    assert_eq!(found, issued, "seed {seed}");
    totals.issued += issued.values().map(|sums| sums.0).sum::<u64>();
    totals.given_up += figures.given_up;
    let size = std::fs::metadata(folder.path().join("buffer.db")).unwrap().len();
    assert!(size <= QUOTA.bytes, "seed {seed}: the file has {size} bytes");
    bench.end();
    let verdict = inspector(&folder).verify().unwrap();
    assert!(verdict.faults.is_empty(), "seed {seed}: {:?}", verdict.faults);
}

fn note(sums: &mut BTreeMap<Place, (u64, i64)>, receipt: &Receipt) {
    let place = (receipt.till.to_string(), receipt.ended_at.minute().to_string());
    let sums = sums.entry(place).or_default();
    *sums = (sums.0 + 1, sums.1 + receipt.total_cents.0);
}

/// A buffer at work, and what the broker has got of it.
struct Bench {
    buffer: Buffer,
    writer: Writer,
    /// What went out under each sequence; the same must go out again.
    sent: BTreeMap<Sequence, Vec<u8>>,
}

impl Bench {
    fn open(folder: &TempDir) -> Self {
        let settings = Settings {
            path: folder.path().join("buffer.db"),
            key: key(folder.path()),
            machine_id: None,
            quota: QUOTA,
            now: now(),
        };
        let (buffer, writer) = Buffer::open(settings).unwrap();
        Self { buffer, writer, sent: BTreeMap::new() }
    }

    fn restart(self, folder: &TempDir) -> Self {
        let Self { buffer, writer, sent } = self;
        drop(buffer);
        writer.join();
        Self { sent, ..Self::open(folder) }
    }

    fn end(self) {
        drop(self.buffer);
        self.writer.join();
    }

    async fn take(&self, supply: Supply, receipt: &Receipt) -> Result<(), BufferError> {
        let slot = (receipt.ended_at.minute(), receipt.business_day);
        let bytes = serde_json::to_vec(receipt).unwrap();
        let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt.clone()))];
        let intake = Intake {
            source: receipt.till.to_string(),
            feed: "feed".to_owned(),
            claim: Claim::Counts,
            supply,
            mark: None,
            at: now(),
            units: vec![IntakeUnit { start: 0, end: 1, bytes, entries }],
        };
        let taken = self.buffer.take(Arc::new(intake)).await?;
        assert_eq!((taken.fresh, taken.duplicates), (1, 0));
        Ok(())
    }

    async fn close_all(&self) {
        for slot in self.buffer.open_slots().await.unwrap() {
            let cut = Cut { store: "10".parse().unwrap(), at: now(), complete_through: None };
            self.buffer.close(slot, cut).await.unwrap();
        }
    }

    /// Hands over what waits, as the shipper does: some of it, or all where the line is up.
    async fn ship(&mut self, line: Line) {
        if line == Line::Down {
            return;
        }
        let mut after = None;
        loop {
            let batches = self.buffer.waiting(after, 64 << 10).await.unwrap();
            let Some(last) = batches.last().map(|batch| batch.sequence) else { return };
            after = Some(last);
            for batch in &batches {
                let before = self.sent.insert(batch.sequence, batch.body.clone());
                assert!(
                    before.is_none_or(|before| before == batch.body),
                    "bytes that went out change"
                );
            }
            if line == Line::Hanging {
                return;
            }
            let sequences = batches.iter().map(|batch| batch.sequence).collect();
            self.buffer.acknowledge(sequences, now()).await.unwrap();
        }
    }

    /// Sums up what the broker got: receipts and losses alike.
    fn found(&self, totals: &mut Totals) -> BTreeMap<Place, (u64, i64)> {
        let mut found: BTreeMap<Place, (u64, i64)> = BTreeMap::new();
        for (at, (sequence, body)) in self.sent.iter().enumerate() {
            assert_eq!(sequence.get(), at as u64 + 1, "a sequence is missing");
            let batch: StoreMinute = serde_json::from_slice(body).unwrap();
            let minute = batch.minute.to_string();
            for till in &batch.tills {
                let sums = found.entry((till.till.to_string(), minute.clone())).or_default();
                *sums = (sums.0 + till.receipt_count, sums.1 + till.total_cents.0);
                totals.delivered += till.receipt_count;
            }
            for loss in &batch.losses {
                let till = loss.till.as_ref().unwrap().to_string();
                let sums = found.entry((till, loss.minute.to_string())).or_default();
                *sums = (sums.0 + loss.count, sums.1 + loss.cents.0);
                totals.lost += loss.count;
            }
        }
        found
    }
}

/// A receipt of many lines, in a minute of its own or one that it shares.
fn wide_receipt(till: &str, number: u32) -> Receipt {
    let time = format!("{:02}:{:02}:{:02}", number / 120, number / 2 % 60, number % 2);
    let mut receipt = crate::world::receipt(till, number, &time, 100);
    let line = receipt.lines[0].clone();
    receipt.lines = (1..=40)
        .map(|position| {
            let mut line = line.clone();
            (line.position, line.article) =
                (position, format!("own:x:{position}").parse().unwrap());
            line
        })
        .collect();
    priced(receipt, 100)
}

/// Gives every line of a receipt the same price.
fn priced(mut receipt: Receipt, cents: i64) -> Receipt {
    receipt.lines.iter_mut().for_each(|line| line.amount_cents.0 = cents);
    receipt.total_cents.0 = cents * i64::try_from(receipt.lines.len()).unwrap();
    receipt.payments.iter_mut().for_each(|payment| payment.cents = receipt.total_cents);
    receipt
}

fn given_up(folder: &TempDir) -> Vec<u64> {
    let mut listed = inspector(folder).list(u32::MAX).unwrap();
    listed.retain(|batch| batch.kind == "given_up");
    listed.reverse();
    listed.iter().map(|batch| batch.sequence).collect()
}

fn batch(folder: &TempDir, sequence: u64) -> StoreMinute {
    let shown = inspector(folder).show(sequence).unwrap().unwrap();
    serde_json::from_value(shown.body).unwrap()
}

fn inspector(folder: &TempDir) -> Inspector {
    Inspector::open(&folder.path().join("buffer.db"), &key(folder.path())).unwrap()
}

/// Returns a folder in memory, where there is one: no power is cut here.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn key(folder: &Path) -> Key {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Key::from_file(&file).unwrap()
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}
