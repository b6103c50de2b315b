//! For any receipts in any order, with any restarts in between: the batches sum up to what a plain
//! computation finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use edge_agent::aggregate::open::Slot;
use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
};
use proptest::prelude::*;
use shared::minute::StoreMinute;
use shared::receipt::Receipt;
use shared::time::Timestamp;

use crate::world::{receipt, unlocked};

/// What a test does.
#[derive(Debug, Clone)]
enum Step {
    /// A file with these receipts is read.
    Read(Vec<usize>),
    /// The oldest open minute closes.
    Close,
    /// The agent ends and starts again.
    Restart,
}

fn step(receipts: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..receipts, 1..8).prop_map(Step::Read),
        2 => Just(Step::Close),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batches_hold_every_receipt_once(steps in prop::collection::vec(step(40), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let day = day();
        let mut seen = BTreeSet::new();
        let mut bench = Bench::open(folder.path());
        for step in steps {
            match step {
                Step::Read(picked) => {
                    seen.extend(picked.iter().copied());
                    let receipts = picked.iter().map(|&at| day[at].clone()).collect();
                    runtime.block_on(bench.read(receipts));
                }
                Step::Close => runtime.block_on(bench.close_first()),
                Step::Restart => bench = bench.restart(folder.path()),
            }
        }
        runtime.block_on(bench.close_all());
        bench.end();
        let batches = batches(folder.path());
        prop_assert_eq!(rows_of(&batches), plain(seen.iter().map(|&at| &day[at])));
        let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence.get()).collect();
        prop_assert_eq!(sequences, (1..=batches.len() as u64).collect::<Vec<_>>());
        for batch in &batches {
            check_sums(batch);
        }
    }
}

/// Forty receipts of two tills in four minutes.
fn day() -> Vec<Receipt> {
    let one = |at: u32| {
        let till = if at.is_multiple_of(2) { "1" } else { "2" };
        receipt(till, at / 2 + 1, &format!("09:{:02}:{:02}", at / 10, at % 10), 100 + i64::from(at))
    };
    (0..40).map(one).collect()
}

type Rows = BTreeMap<(String, String, String), (u64, i64, i64)>;

/// Sums per minute, till and article as anyone would: lines, thousandths, cents.
fn plain<'a>(receipts: impl Iterator<Item = &'a Receipt>) -> Rows {
    let mut rows = Rows::new();
    for receipt in receipts {
        for line in &receipt.lines {
            let minute = receipt.ended_at.minute().to_string();
            let key = (minute, receipt.till.to_string(), line.article.to_string());
            let row = rows.entry(key).or_default();
            *row = (row.0 + 1, row.1 + line.quantity_milli.0, row.2 + line.amount_cents.0);
        }
    }
    rows
}

fn rows_of(batches: &[StoreMinute]) -> Rows {
    let mut rows = Rows::new();
    for batch in batches {
        for sale in &batch.sales {
            let key = (batch.minute.to_string(), sale.till.to_string(), sale.article.to_string());
            let row = rows.entry(key).or_default();
            *row = (row.0 + sale.lines, row.1 + sale.quantity_milli.0, row.2 + sale.amount_cents.0);
        }
    }
    rows
}

/// What the judge checks of each record.
fn check_sums(batch: &StoreMinute) {
    for till in &batch.tills {
        let rows = batch.sales.iter().filter(|row| row.till == till.till);
        assert_eq!(rows.map(|row| row.amount_cents.0).sum::<i64>(), till.lines_cents.0);
        let paid: i64 = till.payments.iter().map(|payment| payment.cents.0).sum();
        assert_eq!(paid, till.total_cents.0);
        let count = till.receipts.count() + till.receipt_ids.len() as u64;
        assert_eq!(count, till.receipt_count);
    }
}

/// A buffer at work.
struct Bench {
    buffer: Buffer,
    writer: edge_agent::buffer::Writer,
    open: BTreeSet<Slot>,
}

impl Bench {
    fn open(folder: &Path) -> Self {
        let settings = Settings {
            path: folder.join("buffer.db"),
            key: key(folder),
            machine_id: None,
            quota: Quota::UNBOUNDED,
            now: now(),
        };
        let (buffer, writer) = unlocked(|| Buffer::open(settings.clone()));
        Self { buffer, writer, open: BTreeSet::new() }
    }

    fn restart(self, folder: &Path) -> Self {
        self.end();
        let mut bench = Self::open(folder);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        bench.open = runtime.block_on(bench.buffer.open_slots()).unwrap().into_iter().collect();
        bench
    }

    fn end(self) {
        drop(self.buffer);
        self.writer.join();
    }

    async fn read(&mut self, receipts: Vec<Receipt>) {
        let unit = |receipt: Receipt| {
            let slot = (receipt.ended_at.minute(), receipt.business_day);
            let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt))];
            IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }
        };
        let intake = Intake {
            claim: Claim::Counts,
            supply: Supply::Waits,
            source: "tills".to_owned(),
            feed: "file".to_owned(),
            mark: None,
            at: now(),
            units: receipts.into_iter().map(unit).collect(),
        };
        let taken = self.buffer.take(Arc::new(intake)).await.unwrap();
        assert_eq!(taken.quarantined, 0);
        self.open.extend(taken.slots);
    }

    async fn close_first(&mut self) {
        if let Some(slot) = self.open.pop_first() {
            self.buffer.close(slot, cut()).await.unwrap();
        }
    }

    async fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close_first().await;
        }
    }
}

fn cut() -> Cut {
    Cut { store: "10".parse().unwrap(), at: now(), complete_through: None }
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn key(folder: &Path) -> Key {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Key::from_file(&file).unwrap()
}

fn batches(folder: &Path) -> Vec<StoreMinute> {
    let inspector = Inspector::open(&folder.join("buffer.db"), &key(folder)).unwrap();
    let mut listed = inspector.list(u32::MAX).unwrap();
    listed.reverse();
    let body = |sequence| inspector.show(sequence).unwrap().unwrap().body;
    listed.iter().map(|it| serde_json::from_value(body(it.sequence)).unwrap()).collect()
}
