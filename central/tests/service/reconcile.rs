//! `reconcile` finds what was altered, wherever it was altered, and nothing where nothing was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use central::figures::{Figures, Scope};
use central::lake::schema::LakeTable;
use central::lake::storage::Storage;
use central::lake::table::{Slice, Table};
use central::reconcile::{Order, Report, reconcile};
use tokio::sync::oneshot;

use crate::lake_world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn places_that_hold_the_same_are_equal() {
    let world = settled("reconcile_equal").await;

    let report = compare(&world, Scope::default()).await;

    assert!(report.equal, "{report:?}");
    assert_eq!((report.records, report.accepted), (8, 8));
    assert_eq!(report.kafka.receipts, 8 * 6);
    assert_eq!((report.kafka, report.kafka), (report.postgres, report.lake));
    let one = Scope { store: Some("10".parse().unwrap()), day: None };
    assert_eq!(compare(&world, one).await.lake.batches, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_row_in_postgres_is_found_with_its_minute_and_till() {
    let world = settled("reconcile_altered").await;
    let changed = "UPDATE sale SET amount_cents = amount_cents + 1
                   WHERE store_id = '10' AND sequence = 2 AND position = 1";
    assert_eq!(world.sql.execute(changed, &[]).await.unwrap(), 1);

    let report = compare(&world, Scope::default()).await;

    assert!(!report.equal);
    let [only] = report.differences.try_into().unwrap();
    assert_eq!(only.place, "store 10 day 2026-11-23 minute 2026-11-23T09:43:00Z till 3");
    assert_eq!((only.figure, only.kafka), ("amount_cents", Some(577)));
    assert_eq!((only.postgres, only.lake), (578, 577));
    // The kept sums no longer agree with the rows either.
    assert_eq!(report.article_days.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_in_postgres_are_found() {
    let world = settled("reconcile_deleted").await;
    let deleted = "DELETE FROM store_minute WHERE store_id = '20' AND sequence = 1";
    assert_eq!(world.sql.execute(deleted, &[]).await.unwrap(), 1);
    world.sql.execute("DELETE FROM stock_movement WHERE sequence = 2", &[]).await.unwrap();

    let report = compare(&world, Scope::default()).await;

    assert_eq!(report.differing_days, 2);
    let told: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|line| line.contains("store 20")
            && line.ends_with("receipts kafka 6, postgres 0, lake 6")),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.contains("movements kafka 1, postgres 0, lake 1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_sums_that_are_not_those_of_their_rows_are_found() {
    let world = settled("reconcile_kept").await;
    let changed = "UPDATE article_day SET lines = lines + 1 WHERE store_id = '10' AND own";
    assert_eq!(world.sql.execute(changed, &[]).await.unwrap(), 1);

    let report = compare(&world, Scope::default()).await;

    assert!(!report.equal && report.differences.is_empty());
    let [only] = report.article_days.try_into().unwrap();
    assert_eq!(only.place, "store 10 day 2026-11-23 article 04012345678901 sale pcs");
    assert_eq!((only.kept[2], only.rows[2]), (11, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_lake_has_twice_are_found() {
    let world = settled("reconcile_lake_twice").await;
    // Under another identifier the table takes the rows a second time.
    let storage = Storage::of(&world.config.lake).unwrap();
    let mut table = Table::open(&storage, LakeTable::Sales).await.unwrap();
    let batches = vec![(0, Arc::new(world.batch("20", 3)))];
    let again =
        Slice { partition: "other/0".to_owned(), from: 0, next: 1, batches, doubtful: Vec::new() };
    table.append(&[again]).await.unwrap();

    let report = compare(&world, Scope::default()).await;

    assert!(!report.equal);
    let lines = report.differences.iter().find(|one| one.figure == "lines").unwrap();
    assert!(lines.place.contains("store 20") && lines.place.ends_with("till 3"), "{lines}");
    assert_eq!((lines.kafka, lines.postgres, lines.lake), (Some(3), 3, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_lake_lost_are_found() {
    let world = settled("reconcile_lake_lost").await;
    remove_last_file(&world.config.lake.path, "tills");

    let report = compare(&world, Scope::default()).await;

    assert!(!report.equal && report.faults.is_empty(), "{report:?}");
    let receipts = report.differences.iter().find(|one| one.figure == "receipts").unwrap();
    assert_eq!((receipts.kafka, receipts.postgres, receipts.lake), (Some(6), 6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_empty_is_behind() {
    let world = settled("reconcile_lake_gone").await;
    std::fs::remove_dir_all(&world.config.lake.path).unwrap();

    let order = Order { wait: Duration::ZERO, ..Order::default() };
    let report = reconcile(&world.config, &order).await.unwrap();

    assert!(!report.equal);
    assert_eq!(report.faults[0], "the lake's table sales lacks 8 accepted batches");
    // A comparison by another user would else leave folders that the role cannot write to.
    assert!(!std::path::Path::new(&world.config.lake.path).exists(), "looking makes no folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_the_judged_one_is_told() {
    let world = settled("reconcile_hash").await;
    let changed = "UPDATE batch SET hash = sha256('x') WHERE store_id = '10' AND sequence = 4";
    assert_eq!(world.sql.execute(changed, &[]).await.unwrap(), 1);

    let report = compare(&world, Scope::default()).await;

    assert!(!report.equal);
    assert!(report.faults[0].ends_with("is not the record that was judged"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_changed_are_known_and_compared_alone() {
    let world = settled("reconcile_changed").await;
    let report = compare(&world, Scope::default()).await;
    let (generation, judged) = &report.judged;
    let since = async || world.store.days_since(generation, judged).await.unwrap();
    assert_eq!(since().await, Some(BTreeSet::new()));

    let mut late = world.batch("10", 6);
    late.business_day = "2026-11-22".parse().unwrap();
    late.sales.truncate(1);
    let sent = world.send(late).await;
    world.accept(&sent).await;

    let changed = since().await.unwrap();
    assert_eq!(changed, BTreeSet::from(["2026-11-22".parse().unwrap()]));
    let order = Order { days: changed, wait: Duration::ZERO, ..Order::default() };
    let report = reconcile(&world.config, &order).await.unwrap();
    // The lake has no role here: it lacks the day, and the other one is not looked at.
    assert_eq!((report.postgres, report.kafka), (Figures::default(), Figures::default()));
    assert_eq!(report.records, 1, "the topic is read from the day's first record on");
    let strange = world.store.days_since("another topic", judged).await.unwrap();
    assert_eq!(strange, None, "nobody can tell of another topic");
    let put_back = "UPDATE progress SET next_offset = 1 WHERE next_offset > 1";
    assert!(world.sql.execute(put_back, &[]).await.unwrap() > 0);
    assert_eq!(since().await, None, "nor where the database is an older one");
}

/// Five batches of one store and three of another, everywhere.
async fn settled(test: &str) -> World {
    let world = World::new(test).await;
    world.send_accepted("10", 1..6).await;
    world.send_accepted("20", 1..4).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let (config, store) = (world.config.clone(), world.store.clone());
    let role = tokio::spawn(async move {
        let shutdown = async {
            stopped.await.ok();
        };
        central::lake::run(&config, store, Arc::default(), shutdown).await.unwrap();
    });
    let report = compare(&world, Scope::default()).await;
    assert!(report.faults.is_empty(), "the lake caught up: {report:?}");
    stop.send(()).unwrap();
    role.await.unwrap();
    world
}

/// Commits by hand that the newest data file of a table is gone.
pub(crate) fn remove_last_file(lake: &str, table: &str) {
    let log = std::path::Path::new(lake).join(table).join("_delta_log");
    let version = (0..).find(|n: &u64| !log.join(format!("{n:020}.json")).exists()).unwrap();
    let text = std::fs::read_to_string(log.join(format!("{:020}.json", version - 1))).unwrap();
    let actions = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let add = actions.map(|action| action["add"].clone()).find(|add| !add.is_null()).unwrap();
    let remove = serde_json::json!({"remove": {
        "path": add["path"], "dataChange": true, "deletionTimestamp": 0,
        "partitionValues": add["partitionValues"],
    }});
    std::fs::write(log.join(format!("{version:020}.json")), remove.to_string()).unwrap();
}

async fn compare(world: &World, scope: Scope) -> Report {
    let order = Order { scope, wait: SOON, ..Order::default() };
    reconcile(&world.config, &order).await.unwrap()
}
