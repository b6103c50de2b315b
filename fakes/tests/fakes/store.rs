//! A store's files appear when they are due, and what must count is noted before.

use std::collections::BTreeSet;
use std::fs;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use fakes::shop::Country;
use fakes::store::{Faults, Issued, Order, Pace, Way, run};
use fakes::till::Dialect;
use fakes::truth::{self, Entry};
use shared::receipt::Receipt;
use shared::time::{Clock, Simulation};

use super::shop::plan;

fn order(dir: &Path, minutes: u32) -> Order {
    Order {
        dir: dir.to_owned(),
        plan: plan(Country::Germany, 11),
        minutes,
        dialect: Dialect::Jsonl,
        way: Way::Files,
        faults: Faults { reprints: true, resends: true, late_till: true },
        pace: Pace::AtOnce,
    }
}

fn clock() -> Clock {
    let real_start = Clock::real().now();
    let sim_start = "2026-11-20T08:00:30Z".parse().unwrap();
    Clock::simulated(Simulation { sim_start, real_start, speed: 240 })
}

/// Returns the keys of the receipts that count in the truth, and in the files with copies.
fn keys(dir: &Path) -> (BTreeSet<String>, Vec<String>) {
    let key = |till: &str, series: &str, number: &str| format!("{till}/{series}/{number}");
    let mut noted = BTreeSet::new();
    truth::read(dir, |entry| {
        if let Entry::Receipt(one) = entry {
            let new =
                noted.insert(key(one.till.as_str(), one.series.as_str(), one.receipt.as_str()));
            assert!(new, "a receipt is noted once");
        }
    })
    .unwrap();
    let mut issued = Vec::new();
    for file in fs::read_dir(dir.join("tills/10")).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let one: Receipt = serde_json::from_slice(line).unwrap();
            if one.counts {
                issued.push(key(one.till.as_str(), one.series.as_str(), one.receipt.as_str()));
            }
        }
    }
    (noted, issued)
}

#[tokio::test]
async fn what_is_noted_is_issued_and_copies_are_not_noted() {
    let dir = tempfile::tempdir().unwrap();
    let issued = run(&order(dir.path(), 60), &clock(), pending()).await.unwrap();
    let (noted, found) = keys(dir.path());
    assert_eq!(noted.len() as u64, issued.receipts);
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), noted);
    assert!(found.len() > noted.len() + 10, "reprints and resent files");
    assert!(issued.reprints > 3 && issued.resent_files > 10 && issued.movements > 10);
}

#[tokio::test]
async fn a_second_play_goes_on_behind_the_first_one() {
    let dir = tempfile::tempdir().unwrap();
    run(&order(dir.path(), 5), &clock(), pending()).await.unwrap();
    let again = run(&order(dir.path(), 5), &clock(), pending()).await.unwrap();
    assert_eq!(again, Issued::default());
    let (noted, _) = keys(dir.path());
    let real_start = Clock::real().now();
    let sim_start = "2026-11-20T08:05:30Z".parse().unwrap();
    let later = Clock::simulated(Simulation { sim_start, real_start, speed: 1 });
    let more = run(&order(dir.path(), 5), &later, pending()).await.unwrap();
    let (all, found) = keys(dir.path());
    assert!(more.receipts > 0);
    assert_eq!(all.len() as u64, noted.len() as u64 + more.receipts);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
}

#[tokio::test]
async fn a_live_play_takes_as_long_as_its_minutes_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (live, clock) = (Order { pace: Pace::Live, ..order(dir.path(), 2) }, clock());
    let issued = run(&live, &clock, pending()).await.unwrap();
    assert!(clock.now() >= "2026-11-20T08:03:00Z".parse().unwrap(), "{}", clock.now());
    assert!(issued.receipts > 0);
    let stopped = tokio::time::timeout(Duration::from_secs(60), run(&live, &clock, async {}));
    assert_eq!(stopped.await.unwrap().unwrap(), Issued::default());
}
