//! One receipt is altered, deleted or doubled at each of seven places, in a shop of its own each time,
//! and `reconcile` must find it; in shops that nobody meddled with it must find nothing, on any day.
//!
//! `DAYS=n` lets them live so many days (`make planted`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use central::Role;
use central::figures::Scope;
use central::lake::schema::LakeTable;
use central::lake::storage::Storage;
use central::lake::table::{Slice, Table};
use central::reconcile::{Kind, Order, Report, reconcile};
use shared::minute::StoreMinute;
use shared::time::Timestamp;

use crate::ingest_world::{Running, SOON, World};
use crate::planted_shop::{Fault, Place, Shop, alter};
use crate::reconcile::remove_last_file;

/// Days of an ordinary test.
const DAYS: u32 = 3;

/// Shops that nobody meddles with.
const CLEAN: [&str; 2] = ["c1", "c2"];

/// What found an error, and what it says of the place.
struct Found {
    by: &'static str,
    says: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_is_found_and_clean_days_raise_no_alarm() {
    let days: u32 = std::env::var("DAYS").map_or(DAYS, |text| text.parse().unwrap());
    assert!(days >= DAYS, "an error is planted with a day before and two behind it");
    let mut world = World::new("planted").await;
    world.config.lake.flush_seconds = 1;
    let roles = BTreeSet::from([Role::Ingest, Role::Lake]);
    let running = Running::start_roles(&world.config, roles);
    let base = world.base.minus(Duration::from_secs(86_400 * u64::from(days)));
    let mut judged = 0;

    live_clean(&world, (base, days), &mut judged).await;
    let shops = live_planted(&world, (base, days), &mut judged).await;
    running.stop().await;
    let mut table = Vec::new();
    for shop in &shops {
        plant(&world, shop).await;
    }
    for shop in shops {
        let began = tokio::time::Instant::now();
        let report = compare(&world, Some(&shop.store)).await;
        let took = began.elapsed();
        let mut found = found_by_reconcile(&report);
        found.extend(kept_out(&world, &shop).await);
        table.push((shop, found, took));
    }
    print(&table);
    table.iter().for_each(|(shop, found, _)| judge(shop, found));
}

/// Lets shops live that nobody meddles with, and compares after every day.
async fn live_clean(world: &World, (base, days): (Timestamp, u32), judged: &mut i64) {
    let mut clean: Vec<Shop> =
        CLEAN.iter().map(|store| Shop::open(store, None, (base, days - 2))).collect();
    let mut alarms = Vec::new();
    for day in 0..=days {
        for shop in &mut clean {
            shop.live(day).await;
            *judged += shop.ship(world, 0).await;
        }
        world.until_judged(*judged).await;
        let report = compare(world, None).await;
        alarms.extend(found_by_reconcile(&report).into_iter().map(|found| found.says));
    }
    println!("{} shops, {} clean days each: {} alarms", CLEAN.len(), days + 1, alarms.len());
    assert!(alarms.is_empty(), "{alarms:#?}");
}

/// Lets a shop live for every error at every place. What is planted on the way to the centre is.
async fn live_planted(
    world: &World,
    (base, days): (Timestamp, u32),
    judged: &mut i64,
) -> Vec<Shop> {
    let mut shops = Vec::new();
    for place in Place::ALL {
        for fault in Fault::ALL {
            let store = format!("{place:?}-{fault:?}").to_lowercase();
            shops.push(Shop::open(&store, Some((place, fault)), (base, days - 2)));
        }
    }
    for shop in &mut shops {
        for day in 0..=days {
            shop.live(day).await;
        }
        *judged += shop.ship(world, if holds_some_back(shop) { 2 } else { 0 }).await;
        world.until_judged(*judged).await;
    }
    // Their last sale comes alone, so that the lake's newest file holds nothing else.
    for shop in shops.iter_mut().filter(|shop| holds_some_back(shop)) {
        for held in [1, 0] {
            compare(world, Some(&shop.store)).await;
            *judged += shop.ship(world, held).await;
            world.until_judged(*judged).await;
            if held == 1 {
                let report = compare(world, Some(&shop.store)).await;
                assert!(report.equal, "{report:?}");
                remove_last_file(&world.config.lake.path, "sales");
            }
        }
    }
    shops
}

fn print(table: &[(Shop, Vec<Found>, Duration)]) {
    println!("| place | error | found by | where | seconds |\n|---|---|---|---|---|");
    for (shop, found, took) in table {
        let (place, fault) = shop.plant.unwrap();
        let by: Vec<&str> = found.iter().map(|one| one.by).collect();
        let near = found.iter().find(|one| one.says.contains("minute")).or(found.first());
        let says = near.map_or("", |one| one.says.as_str());
        println!(
            "| {place:?} | {fault:?} | {} | {says} | {:.1} |",
            by.join(", "),
            took.as_secs_f64()
        );
    }
}

/// Demands that an error was found by all that must find it, and that no other store is named.
fn judge(shop: &Shop, found: &[Found]) {
    let by: BTreeSet<&str> = found.iter().map(|one| one.by).collect();
    let wanted = BTreeSet::from_iter(wanted(shop.plant.unwrap()).iter().copied());
    assert!(by.is_superset(&wanted), "{}: {wanted:?} are not in {by:?}", shop.store);
    assert!(!wanted.is_empty());
    let of_this = |one: &Found| one.says.contains(&shop.store);
    assert!(found.iter().all(of_this), "{}: another store is named", shop.store);
}

/// What must find an error.
fn wanted((place, fault): (Place, Fault)) -> &'static [&'static str] {
    match (place, fault) {
        (Place::TillFile, Fault::Altered) => &["closings"],
        (Place::TillFile, Fault::Deleted) => &["closings", "receipt_numbers"],
        (Place::TillFile, Fault::Doubled) => &["dropped by the agent"],
        (Place::Buffer | Place::Topic, Fault::Altered) => &["digests", "closings"],
        (Place::Buffer, Fault::Deleted) => &["digests", "closings", "receipt_numbers"],
        (Place::Buffer, Fault::Doubled) => &["dead letter"],
        (Place::Topic, Fault::Deleted) => &["gap", "closings", "receipt_numbers"],
        (Place::Topic, Fault::Doubled) => &["duplicate"],
        (Place::Rows | Place::Lake, Fault::Altered | Fault::Deleted | Fault::Doubled) => {
            &["places"]
        }
        (Place::KeptSums, Fault::Altered | Fault::Deleted | Fault::Doubled) => &["kept_sums"],
        (Place::Closing, Fault::Altered | Fault::Deleted | Fault::Doubled) => &["closings"],
    }
}

fn holds_some_back(shop: &Shop) -> bool {
    matches!(shop.plant, Some((Place::Lake, Fault::Altered | Fault::Deleted)))
}

/// Plants what is planted at the centre.
async fn plant(world: &World, shop: &Shop) {
    let Some((place, fault)) = shop.plant else { return };
    let day = shop.business_day(shop.planted_on);
    let row = format!("store_id = '{}' AND minute = '{}'", shop.store, shop.planted_minute());
    let kept =
        format!("store_id = '{}' AND business_day = '{day}' AND article = 'own:x:3'", shop.store);
    let sql = match (place, fault) {
        (Place::Rows, Fault::Altered) => {
            format!("UPDATE sale SET amount_cents = amount_cents + 1 WHERE {row}")
        }
        (Place::Rows, Fault::Deleted) => format!("DELETE FROM sale WHERE {row}"),
        (Place::Rows, Fault::Doubled) => format!(
            "INSERT INTO sale SELECT (jsonb_populate_record(s, '{{\"position\": 99}}')).*
             FROM sale s WHERE {row}"
        ),
        (Place::KeptSums, Fault::Altered) => {
            format!("UPDATE article_day SET amount_cents = amount_cents + 1 WHERE {kept}")
        }
        (Place::KeptSums, Fault::Deleted) => format!("DELETE FROM article_day WHERE {kept}"),
        (Place::KeptSums, Fault::Doubled) => format!(
            "UPDATE article_day SET quantity_milli = 2 * quantity_milli, lines = 2 * lines,
             amount_cents = 2 * amount_cents WHERE {kept}"
        ),
        (Place::Lake, Fault::Altered | Fault::Doubled) => {
            let mut batch = stored(world, shop).await;
            if fault == Fault::Altered {
                alter(&mut batch);
            }
            let storage = Storage::of(&world.config.lake).unwrap();
            let mut table = Table::open(&storage, LakeTable::Sales).await.unwrap();
            let (partition, batches) = (format!("{fault:?}/0"), vec![(0, Arc::new(batch))]);
            table
                .append(&[Slice { partition, from: 0, next: 1, batches, doubtful: Vec::new() }])
                .await
                .unwrap();
            return;
        }
        (Place::Lake, Fault::Deleted)
        | (Place::TillFile | Place::Buffer | Place::Topic | Place::Closing, _) => return,
    };
    assert_eq!(world.sql.execute(&sql, &[]).await.unwrap(), 1, "{sql}");
}

/// The batch that the lake has of a shop: the last one with a sale, or the one that is meddled with.
async fn stored(world: &World, shop: &Shop) -> StoreMinute {
    shop.batches()
        .await
        .into_iter()
        .rfind(
            |batch| {
                if holds_some_back(shop) { !batch.sales.is_empty() } else { shop.is_planted(batch) }
            },
        )
        .unwrap_or_else(|| panic!("{} has no such batch in {}", shop.store, world.topic))
}

/// What the comparison finds, gravest first.
fn found_by_reconcile(report: &Report) -> Vec<Found> {
    let says = |kind: Kind| -> Option<String> {
        match kind {
            Kind::Places => report.differences.first().map(ToString::to_string),
            Kind::KeptSums => report.article_days.first().map(|one| one.place.clone()),
            Kind::Records => report.faults.first().cloned(),
            Kind::Digests => report.digests.differences.first().map(ToString::to_string),
            Kind::Closings => {
                let differs = report.closings.compared.differences.first().map(ToString::to_string);
                differs.or(report.closings.faults.first().map(ToString::to_string))
            }
            Kind::ReceiptNumbers => report.receipt_numbers.first().map(ToString::to_string),
        }
    };
    let found = Kind::ALL.into_iter().filter(|&kind| report.found(kind) > 0);
    found.map(|kind| Found { by: kind.name(), says: says(kind).unwrap_or_default() }).collect()
}

/// What kept an error out of the sums, or tells of it beside the comparison.
async fn kept_out(world: &World, shop: &Shop) -> Vec<Found> {
    let store = &shop.store;
    let questions = [
        (
            "dead letter",
            format!(
                "SELECT minute::text FROM batch WHERE verdict = 'refused' AND store_id = '{store}'"
            ),
        ),
        (
            "duplicate",
            format!(
                "SELECT minute::text FROM batch WHERE verdict = 'duplicate' AND store_id = '{store}'"
            ),
        ),
        (
            "gap",
            format!(
                "SELECT first_sequence::text || ' (sequence)' FROM v1.gaps WHERE store = '{store}'"
            ),
        ),
        (
            "dropped by the agent",
            format!(
                "SELECT minute::text || ' till ' || till FROM v1.tills
                 WHERE store = '{store}' AND (counts->>'duplicates')::int > 0"
            ),
        ),
    ];
    let mut found = Vec::new();
    for (by, sql) in questions {
        let rows = world.sql.query(&sql, &[]).await.unwrap();
        found.extend(rows.first().map(|row| {
            let place: String = row.get(0);
            Found { by, says: format!("store {store} minute {place}") }
        }));
    }
    found
}

async fn compare(world: &World, store: Option<&str>) -> Report {
    let scope = Scope { store: store.map(|store| store.parse().unwrap()), day: None };
    let order = Order { scope, wait: SOON, ..Order::default() };
    reconcile(&world.config, &order).await.unwrap()
}
