//! What agents tell beside their rows: what they have counted of a day, and what they have lost.

use central::figures::Scope;
use central::store::digests::Digests;
use shared::digest::{DayDigest, DayOfTill, KeySum};
use shared::ids::Sequence;
use shared::minute::StoreMinute;
use shared::ranges::Ranges;

use crate::ingest_world::{Running, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_has_counted_equals_the_rows_and_the_newest_is_compared() {
    let world = World::new("told_equal").await;
    let batches: Vec<StoreMinute> = (1..=4).map(|n| world.batch("10", n)).collect();
    let mut early = batches[1].clone();
    early.digests = vec![counted(&batches[..2])];
    let mut late = batches[3].clone();
    late.digests = vec![counted(&batches)];
    let running = Running::start(&world.config);
    // What was told first comes last.
    for batch in [&batches[0], &late, &batches[2], &early] {
        world.send(batch).await;
    }
    world.until_judged(4).await;
    assert_eq!(world.verdicts().await, "accepted 4");
    let found = compare(&world).await;
    assert_eq!((found.equal, found.undecided, found.differing), (1, 0, 0), "{found:?}");
    let told = "SELECT last_sequence FROM v1.day_digests";
    assert_eq!(world.number(told).await, 4);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_has_counted_otherwise_is_found_whatever_it_is() {
    type Bend = fn(&mut DayDigest);
    let bend: [(&str, Bend); 3] = [
        ("one receipt more", |one| one.receipts += 1),
        ("another amount", |one| one.cents.0 += 1),
        ("another receipt", |one| {
            let till = one.till.to_string();
            let series = one.series.to_string();
            let day = DayOfTill { till: &till, series: &series, business_day: one.business_day };
            one.keys.subtract(&day, "943");
            one.keys.add(&day, "944444");
        }),
    ];
    let world = World::new("told_otherwise").await;
    let running = Running::start(&world.config);
    for (n, (what, bend)) in bend.into_iter().enumerate() {
        let store = (10 + n).to_string();
        let batches: Vec<StoreMinute> = (1..=2).map(|n| world.batch(&store, n)).collect();
        let mut last = batches[1].clone();
        last.digests = vec![counted(&batches)];
        bend(&mut last.digests[0]);
        world.send(&batches[0]).await;
        world.send(&last).await;
        world.until_judged(2 * (n as i64 + 1)).await;
        let found = compare(&world).await;
        assert_eq!(found.differing, n + 1, "{what}: {found:?}");
        let told = found.differences[n].to_string();
        let day = batches[0].business_day;
        assert!(told.starts_with(&format!("store {store} day {day} till 3 series ")), "{told}");
    }
    let others = compare(&world).await.differences[2].to_string();
    assert!(others.contains("their rows hold 12 others"), "{others}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_which_a_batch_is_missing_is_undecided_until_it_comes() {
    let world = World::new("told_missing").await;
    let batches: Vec<StoreMinute> = (1..=3).map(|n| world.batch("10", n)).collect();
    let mut last = batches[2].clone();
    last.digests = vec![counted(&batches)];
    let running = Running::start(&world.config);
    world.send(&batches[0]).await;
    world.send(&last).await;
    world.until_judged(2).await;
    let found = compare(&world).await;
    assert_eq!((found.equal, found.undecided, found.differing), (0, 1, 0), "{found:?}");
    world.send(&batches[1]).await;
    world.until_judged(3).await;
    assert_eq!(compare(&world).await.equal, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_has_lost_is_no_gap_and_counts_should_it_come() {
    let world = World::new("told_lost").await;
    let running = Running::start(&world.config);
    world.send(&world.batch("10", 1)).await;
    let mut teller = world.batch("10", 6);
    teller.abandoned = Ranges::from_iter([1, 2, 3, 5]);
    world.send(&teller).await;
    world.until_judged(2).await;
    let gaps = "SELECT string_agg(first_sequence || '-' || last_sequence, ' ') FROM v1.gaps";
    assert_eq!(text(&world, gaps).await, "4-4");
    let standing =
        "SELECT format('%s %s %s %s', accepted, gaps, given_up, abandoned) FROM v1.streams";
    assert_eq!(text(&world, standing).await, "2 1 3 3", "what was accepted stays so");
    world.send_all("10", [3, 4]).await;
    world.until_judged(4).await;
    assert_eq!(world.verdicts().await, "accepted 4");
    assert_eq!(text(&world, standing).await, "4 0 2 2");
    let shown = crate::cli::text(&crate::cli::central(&world, &["streams", "list"]));
    assert!(
        shown.contains("4 accepted, 0 set aside, 0 missing, 2 given up (2 by the agent)"),
        "{shown}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_of_the_release_before_is_brought_up_to_date() {
    let world = World::new("told_migrate").await;
    let sql = "CREATE TEMP TABLE before AS SELECT * FROM refinery_schema_history WHERE version < 3;
               DROP SCHEMA v1 CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;";
    world.sql.batch_execute(sql).await.unwrap();
    for migration in [
        include_str!("../../migrations/0001_sales.sql"),
        include_str!("../../migrations/0002_registry.sql"),
    ] {
        world.sql.batch_execute(migration).await.unwrap();
    }
    let fill = "CREATE TABLE refinery_schema_history AS SELECT * FROM before;
        INSERT INTO store VALUES ('10', '2026-01-01T00:00Z', now(), 'test');
        INSERT INTO store_stream (store_id, stream_id, activated_by) VALUES ('10', gen_random_uuid(), 'test');
        INSERT INTO ledger (store_id, stream_id, highest_sequence, accepted, set_aside, given_up)
        SELECT store_id, stream_id, 9, '{[1,6)}', '{[6,7)}', '{[7,8)}' FROM store_stream";
    world.sql.batch_execute(fill).await.unwrap();

    let applied = world.store.migrate().await.unwrap();

    assert_eq!(applied, ["V3__digests"]);
    world.store.check_schema().await.unwrap();
    let standing = "SELECT format('%s %s %s %s %s', accepted, set_aside, gaps, given_up, abandoned)
                    FROM v1.streams JOIN v1.stores USING (store)";
    assert_eq!(text(&world, standing).await, "5 1 2 1 0");
    assert_eq!(world.number("SELECT count(*) FROM v1.day_digests").await, 0);
}

/// What the agent would have counted of the first till of these batches, all of one day.
fn counted(batches: &[StoreMinute]) -> DayDigest {
    let till = &batches[0].tills[0];
    let mut digest = DayDigest {
        till: till.till.clone(),
        series: till.series.clone(),
        business_day: batches[0].business_day,
        first_sequence: Sequence::FIRST,
        receipts: 0,
        cents: shared::money::Cents::ZERO,
        keys: KeySum::default(),
    };
    let (till, series) = (till.till.to_string(), till.series.to_string());
    let day = DayOfTill { till: &till, series: &series, business_day: digest.business_day };
    for one in batches.iter().map(|batch| &batch.tills[0]) {
        digest.receipts += one.receipt_count;
        digest.cents.0 += one.total_cents.0;
        let numbers = one.receipts.iter().flat_map(|(first, last)| first..=last);
        numbers.for_each(|number| digest.keys.add(&day, &number.to_string()));
        one.receipt_ids.iter().for_each(|id| digest.keys.add(&day, id.as_str()));
    }
    digest
}

async fn compare(world: &World) -> Digests {
    world.store.compare_digests(&Scope::default()).await.unwrap()
}

async fn text(world: &World, sql: &str) -> String {
    world.sql.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}
