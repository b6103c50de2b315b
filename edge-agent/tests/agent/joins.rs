//! What counts once although it comes twice, or changes: a till's live feed beside its day export,
//! two sources on one till, and receipts that their source corrects.

use std::path::Path;
use std::sync::Arc;

use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply, Taken,
    Writer,
};
use shared::ids::Label;
use shared::minute::StoreMinute;
use shared::receipt::{Fiscal, Receipt};
use shared::time::Timestamp;

#[tokio::test]
async fn a_corrected_receipt_is_taken_back_and_counted_anew_in_its_own_minute() {
    let desk = Desk::new();
    desk.take("orders", Claim::Counts, vec![receipt("A", 1, &[199, 300])]).await;
    desk.close_all().await;
    let later = desk.take("orders", Claim::Counts, vec![receipt("A", 3, &[199, 250, 10])]).await;
    assert_eq!((later.fresh, later.duplicates, later.quarantined), (1, 0, 0));
    // An older version, and the same one again, are second copies.
    let old = desk.take(
        "orders",
        Claim::Counts,
        vec![receipt("A", 2, &[1]), receipt("A", 3, &[199, 250, 10])],
    );
    assert_eq!(old.await.duplicates, 2);
    desk.close_all().await;
    let batches = desk.batches();
    assert_eq!(batches.len(), 2);
    let supplement = &batches[1];
    assert_eq!(supplement.minute, batches[0].minute);
    let till = &supplement.tills[0];
    assert_eq!((till.receipt_count, till.receipts.count(), till.total_cents.0), (0, 0, -40));
    assert_eq!(till.lines_cents.0, -40);
    assert_eq!(supplement.sales.iter().map(|row| row.amount_cents.0).sum::<i64>(), -40);
    let corrected = &supplement.corrections[0];
    assert_eq!((corrected.receipt.as_str(), corrected.total_cents.0), ("A", -40));
    assert_eq!(total(&batches), 459);
    assert!(supplement.sales.iter().all(|row| row.lines >= 1));
}

#[tokio::test]
async fn a_receipt_that_is_cancelled_and_comes_back_counts_what_it_is_at_last() {
    let desk = Desk::new();
    let mut cancelled = receipt("A", 2, &[]);
    cancelled.counts = false;
    desk.take("orders", Claim::Counts, vec![receipt("A", 1, &[500])]).await;
    desk.close_all().await;
    desk.take("orders", Claim::Counts, vec![cancelled]).await;
    desk.close_all().await;
    assert_eq!(total(&desk.batches()), 0);
    desk.take("orders", Claim::Counts, vec![receipt("A", 4, &[700])]).await;
    desk.close_all().await;
    assert_eq!(total(&desk.batches()), 700);
}

#[tokio::test]
async fn the_same_version_with_other_content_is_set_aside() {
    let desk = Desk::new();
    desk.take("orders", Claim::Counts, vec![receipt("A", 1, &[500])]).await;
    let other = desk.take("orders", Claim::Counts, vec![receipt("A", 1, &[501])]).await;
    assert_eq!((other.fresh, other.quarantined), (0, 1));
    assert!(desk.reasons()[0].ends_with("was counted with other content as version 1"));
}

#[tokio::test]
async fn a_fiscal_transaction_counts_once_whatever_its_number_is_called() {
    let desk = Desk::new();
    desk.take("tills", Claim::Counts, vec![fiscal("933", 4711, &[199])]).await;
    // The day export numbers it otherwise, and names the goods otherwise.
    let again = desk.take("export", Claim::Backfills, vec![fiscal("Z1-55", 4711, &[199])]).await;
    assert_eq!((again.fresh, again.duplicates), (0, 1));
    // It also has one that the live feed never saw; the live feed brings it later.
    let missed = desk.take("export", Claim::Backfills, vec![fiscal("Z1-56", 4712, &[300])]).await;
    assert_eq!(missed.fresh, 1);
    let late = desk.take("tills", Claim::Counts, vec![fiscal("934", 4712, &[300])]).await;
    assert_eq!((late.fresh, late.duplicates), (0, 1));
    desk.close_all().await;
    assert_eq!(total(&desk.batches()), 499);
}

#[tokio::test]
async fn a_fiscal_transaction_with_another_total_or_hour_is_set_aside_and_never_dropped() {
    let desk = Desk::new();
    desk.take("tills", Claim::Counts, vec![fiscal("933", 4711, &[199])]).await;
    let mut later = fiscal("935", 4711, &[199]);
    later.ended_at = "2026-03-02T11:30:00Z".parse().unwrap();
    let taken = desk.take("tills", Claim::Counts, vec![fiscal("934", 4711, &[200]), later]).await;
    assert_eq!((taken.fresh, taken.duplicates, taken.quarantined), (0, 0, 2));
    assert!(desk.reasons().iter().all(|why| why.contains("fiscal transaction 4711 was counted")));
}

#[tokio::test]
async fn a_till_is_counted_by_one_source_until_that_source_is_gone() {
    let desk = Desk::new();
    desk.take("tills", Claim::Counts, vec![plain("1", &[100])]).await;
    let second = desk.take("printer", Claim::Counts, vec![plain("2", &[100])]).await;
    assert_eq!((second.fresh, second.quarantined), (0, 1));
    assert!(desk.reasons()[0].contains("till 3 is counted by source tills"));
    desk.buffer.keep_sources(vec!["printer".to_owned()]).await.unwrap();
    let alone = desk.take("printer", Claim::Counts, vec![plain("3", &[100])]).await;
    assert_eq!((alone.fresh, alone.quarantined), (1, 0));
}

#[tokio::test]
async fn what_fills_in_is_compared_by_what_was_paid() {
    let desk = Desk::new();
    desk.take("tills", Claim::Counts, vec![plain("1", &[199, 1])]).await;
    let same = desk.take("export", Claim::Backfills, vec![plain("1", &[200])]).await;
    assert_eq!((same.duplicates, same.quarantined), (1, 0));
    let other = desk.take("export", Claim::Backfills, vec![plain("1", &[201])]).await;
    assert_eq!((other.duplicates, other.quarantined), (0, 1));
}

/// A buffer to bring receipts to.
struct Desk {
    folder: tempfile::TempDir,
    buffer: Buffer,
    _writer: Writer,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = key(folder.path());
        let path = folder.path().join("buffer.db");
        let settings =
            Settings { path, key, machine_id: None, quota: Quota::UNBOUNDED, now: now() };
        let (buffer, writer) = Buffer::open(settings).unwrap();
        Self { folder, buffer, _writer: writer }
    }

    async fn take(&self, source: &str, claim: Claim, receipts: Vec<Receipt>) -> Taken {
        let unit = |receipt: Receipt| {
            let slot = (receipt.ended_at.minute(), receipt.business_day);
            let bytes = format!("{receipt:?}").into_bytes();
            let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt))];
            IntakeUnit { start: 0, end: 0, bytes, entries }
        };
        let intake = Intake {
            source: source.to_owned(),
            feed: "feed".to_owned(),
            claim,
            supply: Supply::Waits,
            mark: None,
            at: now(),
            units: receipts.into_iter().map(unit).collect(),
        };
        self.buffer.take(Arc::new(intake)).await.unwrap()
    }

    async fn close_all(&self) {
        for slot in self.buffer.open_slots().await.unwrap() {
            let cut = Cut { store: "10".parse().unwrap(), at: now(), complete_through: None };
            self.buffer.close(slot, cut).await.unwrap();
        }
    }

    fn inspector(&self) -> Inspector {
        Inspector::open(&self.folder.path().join("buffer.db"), &key(self.folder.path())).unwrap()
    }

    fn batches(&self) -> Vec<StoreMinute> {
        let inspector = self.inspector();
        let mut listed = inspector.list(u32::MAX).unwrap();
        listed.reverse();
        let body = |sequence| inspector.show(sequence).unwrap().unwrap().body;
        listed.iter().map(|it| serde_json::from_value(body(it.sequence)).unwrap()).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let found = self.inspector().set_aside(u32::MAX).unwrap();
        found.into_iter().map(|unit| unit.reason).collect()
    }
}

fn total(batches: &[StoreMinute]) -> i64 {
    batches.iter().flat_map(|batch| &batch.tills).map(|till| till.total_cents.0).sum()
}

fn plain(number: &str, cents: &[i64]) -> Receipt {
    let lines = cents.iter().enumerate().map(|(at, cents)| {
        format!(
            r#"{{"position":{},"article":"own:{cents}","kind":"sale","unit":"pcs","quantity_milli":1000,"amount_cents":{cents}}}"#,
            at + 1
        )
    });
    let lines = lines.collect::<Vec<_>>().join(",");
    let total: i64 = cents.iter().sum();
    let text = format!(
        r#"{{"store":"10","till":"3","series":"s","receipt":"{number}","business_day":"2026-03-02",
        "ended_at":"2026-03-02T10:00:07Z","counts":true,"lines":[{lines}],"total_cents":{total}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn receipt(id: &str, version: u64, cents: &[i64]) -> Receipt {
    Receipt { version: Some(version), ..plain(id, cents) }
}

fn fiscal(number: &str, transaction: u64, cents: &[i64]) -> Receipt {
    Receipt {
        fiscal: Some(Fiscal { tse: Label::new("9f3a").unwrap(), transaction }),
        ..plain(number, cents)
    }
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn key(folder: &Path) -> Key {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Key::from_file(&file).unwrap()
}
