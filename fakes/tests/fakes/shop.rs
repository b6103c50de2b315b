//! A shop's day adds up, is the same for the same seed, and holds everything that goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fakes::buckets::{Bucket, Numbering};
use fakes::shop::{Assortment, Country, Plan, Shop, ShopMinute, minutes_from};
use shared::ids::{Sequence, StoreId, StreamId};
use shared::money::Cents;
use shared::receipt::Receipt;
use shared::time::Minute;
use shared::words::{LineKind, NotCounted, StockKind, Unit};

pub(crate) fn plan(country: Country, seed: u64) -> Plan {
    Plan {
        store: StoreId::new("10").unwrap(),
        zone: chrono_tz::Europe::Berlin,
        country,
        tills: 3,
        receipts_per_thousand_minutes: 4000,
        seed,
    }
}

/// Plays minutes of a shop from the morning of a Monday on.
pub(crate) fn play(plan: &Plan, minutes: u32) -> Vec<(Minute, ShopMinute)> {
    let first: Minute = "2026-11-23T08:00:00Z".parse().unwrap();
    let mut shop = Shop::new(plan.clone(), Arc::new(Assortment::new(500, plan.country)));
    minutes_from(first, minutes).map(|minute| (minute, shop.minute(minute))).collect()
}

fn receipts(country: Country) -> Vec<Receipt> {
    play(&plan(country, 7), 600).into_iter().flat_map(|(_, played)| played.receipts).collect()
}

#[test]
fn the_same_seed_plays_the_same_day_and_another_one_another() {
    let day = play(&plan(Country::Germany, 7), 60);
    assert_eq!(day, play(&plan(Country::Germany, 7), 60));
    assert_ne!(day, play(&plan(Country::Germany, 8), 60));
}

#[test]
fn every_receipt_adds_up_and_its_adjustments_are_spread_to_the_cent() {
    for receipt in receipts(Country::Germany).iter().chain(&receipts(Country::America)) {
        receipt.check_sums().unwrap();
        let shares: Cents = receipt.lines.iter().map(|line| line.adjustment_share_cents).sum();
        assert_eq!(shares, receipt.adjustment_cents);
        let taxed: i64 = receipt.vat.iter().map(|vat| vat.gross_cents.0).sum();
        assert!(receipt.vat.is_empty() || taxed == receipt.total_cents.0, "{receipt:?}");
    }
}

#[test]
fn numbers_have_no_hole_and_only_a_parked_receipt_shares_one() {
    let mut tills: BTreeMap<String, Vec<&Receipt>> = BTreeMap::new();
    let receipts = receipts(Country::Germany);
    for receipt in &receipts {
        tills.entry(receipt.till.to_string()).or_default().push(receipt);
    }
    for receipts in tills.values() {
        let mut last = 0;
        for pair in receipts.windows(2) {
            let (one, next) =
                (pair[0].receipt.as_number().unwrap(), pair[1].receipt.as_number().unwrap());
            let finished = pair[0].reason == Some(NotCounted::Suspended) && one == next;
            assert!(next == one + 1 || finished, "{one} {next}");
            last = next;
        }
        assert!(last > 300);
    }
}

#[test]
fn a_day_holds_everything_that_goes_wrong() {
    let played = play(&plan(Country::Germany, 7), 600);
    let receipts: Vec<&Receipt> = played.iter().flat_map(|(_, minute)| &minute.receipts).collect();
    let reasons: BTreeSet<_> = receipts.iter().filter_map(|one| one.reason.clone()).collect();
    let expected = [
        NotCounted::Suspended,
        NotCounted::Aborted,
        NotCounted::Training,
        NotCounted::Control,
        NotCounted::CashMove,
    ];
    assert_eq!(reasons, expected.into());
    let lines = || receipts.iter().filter(|one| one.counts).flat_map(|one| &one.lines);
    let kinds: BTreeSet<_> = lines().map(|line| line.kind.clone()).collect();
    let expected = [LineKind::Sale, LineKind::Return, LineKind::Deposit, LineKind::DepositRefund];
    assert_eq!(kinds, expected.into());
    assert!(lines().any(|line| line.void) && lines().any(|line| line.unit == Unit::Kilograms));
    assert!(receipts.iter().any(|one| one.adjustment_cents < Cents::ZERO));
    assert!(receipts.iter().any(|one| one.total_cents < Cents::ZERO));
    let moved: BTreeSet<_> = played
        .iter()
        .flat_map(|(_, minute)| minute.movements.iter().map(|movement| movement.kind.clone()))
        .collect();
    let expected = [
        StockKind::Delivery,
        StockKind::Waste,
        StockKind::Count,
        StockKind::TransferIn,
        StockKind::TransferOut,
    ];
    assert_eq!(moved, expected.into());
}

#[test]
fn what_is_taken_back_as_a_whole_names_a_receipt_before_it_and_turns_all_of_it() {
    let receipts = receipts(Country::Germany);
    let mut seen = 0;
    for (at, void) in receipts.iter().enumerate() {
        let Some(named) = &void.refers_to else { continue };
        assert!(void.flags.iter().any(|flag| flag.as_str() == "receipt_void"));
        let of = |one: &&Receipt| {
            (&one.till, &one.series, &one.receipt) == (&named.till, &named.series, &named.receipt)
        };
        let other = receipts[..at].iter().rfind(of).unwrap();
        assert!(other.counts && other.ended_at <= void.ended_at);
        assert_eq!(other.total_cents, -void.total_cents);
        for (line, turned) in other.lines.iter().zip(&void.lines) {
            assert_eq!((&line.article, &line.kind), (&turned.article, &turned.kind));
            assert_eq!(line.quantity_milli, -turned.quantity_milli);
            assert_eq!(line.amount_cents, -turned.amount_cents);
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn cash_comes_and_goes_by_its_reason_and_some_pay_by_two_means() {
    let receipts = receipts(Country::Germany);
    let moved = || receipts.iter().flat_map(|one| &one.cash_moves);
    let kinds: BTreeSet<&str> = moved().map(|moved| moved.kind.as_str()).collect();
    assert_eq!(kinds, ["drop", "float", "paid_in", "paid_out"].into());
    for moved in moved() {
        let goes_out = ["drop", "paid_out"].contains(&moved.kind.as_str());
        assert_eq!(moved.cents < Cents::ZERO, goes_out, "{moved:?}");
    }
    let paid_in_full = |one: &&Receipt| one.payments.iter().all(|paid| paid.cents > Cents::ZERO);
    let two = receipts.iter().filter(paid_in_full).filter(|one| one.payments.len() == 2);
    assert!(two.count() > 10);
}

#[test]
fn ready_made_minutes_hold_what_the_receipts_hold() {
    let stream = StreamId::from_uuid(uuid::Uuid::from_u128(7));
    let mut numbering = Numbering { stream, next: Sequence::FIRST };
    for (minute, played) in play(&plan(Country::Germany, 7), 60) {
        let counting: Vec<Receipt> =
            played.receipts.iter().filter(|receipt| receipt.counts).cloned().collect();
        let moves: usize = played.receipts.iter().map(|receipt| receipt.cash_moves.len()).sum();
        let bucket = Bucket {
            store: StoreId::new("10").unwrap(),
            minute,
            business_day: "2026-11-23".parse().unwrap(),
            receipts: played.receipts,
            movements: played.movements,
        };
        let batches = bucket.batches(&mut numbering);
        let total: Cents =
            batches.iter().flat_map(|batch| &batch.tills).map(|till| till.total_cents).sum();
        assert_eq!(total, counting.iter().map(|receipt| receipt.total_cents).sum());
        let lines: u64 = batches.iter().flat_map(|batch| &batch.sales).map(|row| row.lines).sum();
        assert_eq!(lines, counting.iter().map(|receipt| receipt.lines.len() as u64).sum::<u64>());
        let moved: usize =
            batches.iter().flat_map(|batch| &batch.tills).map(|till| till.cash_moves.len()).sum();
        assert_eq!(moved, moves, "cash moves");
        for till in batches.iter().flat_map(|batch| &batch.tills) {
            assert_eq!(till.receipt_count, till.receipts.count() + till.receipt_ids.len() as u64);
            let paid: Cents = till.payments.iter().map(|payment| payment.cents).sum();
            assert_eq!(paid, till.total_cents);
        }
    }
    assert!(numbering.next.get() > 50);
}

#[test]
fn a_minute_that_is_too_large_is_cut_between_receipts() {
    let mut receipts = Vec::new();
    for (_, played) in play(&plan(Country::Germany, 7), 600) {
        receipts.extend(played.receipts.into_iter().filter(|receipt| receipt.counts));
    }
    let count = receipts.len() as u64;
    let bucket = Bucket {
        store: StoreId::new("10").unwrap(),
        minute: "2026-11-23T08:00:00Z".parse().unwrap(),
        business_day: "2026-11-23".parse().unwrap(),
        receipts,
        movements: Vec::new(),
    };
    let stream = StreamId::from_uuid(uuid::Uuid::from_u128(7));
    let mut numbering = Numbering { stream, next: Sequence::FIRST };
    let batches = bucket.batches(&mut numbering);
    assert!(batches.len() > 2);
    let tills = batches.iter().flat_map(|batch| &batch.tills);
    assert_eq!(tills.map(|till| till.receipt_count).sum::<u64>(), count);
}
