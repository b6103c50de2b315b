//! A database of the first release, with what was in it, becomes one of this release.

use shared::time::Timestamp;

use crate::ingest_world::{Running, World, now};

const FIRST_RELEASE: &str = include_str!("../../migrations/0001_sales.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_of_the_first_release_is_judged_on_as_if_it_had_always_been_of_this_one()
{
    let world = World::new("migrated").await;
    go_back(&world).await;
    let (store, known) = ("10", world.batch("10", 7));
    fill(&world, store, &known).await;

    let applied = world.store.migrate().await.unwrap();

    assert!(!applied.is_empty(), "the schema of the first release is not the present one");
    assert!(world.store.migrate().await.unwrap().is_empty(), "a second run changes nothing");
    let registered = "SELECT count(*) FROM v1.stores WHERE store = '10' AND state = 'open'
                      AND stream = (SELECT stream_id FROM ledger ORDER BY last_seen DESC LIMIT 1)";
    assert_eq!(world.number(registered).await, 1, "the store is open, its newest stream active");
    let gap = "SELECT count(*) FROM v1.gaps WHERE first_sequence = 3 AND last_sequence = 3";
    assert_eq!(world.number(gap).await, 1, "the missing sequence is told");
    let running = Running::start(&world.config);
    world.send_all(store, [3, 6, 7]).await;
    world.until_judged(3).await;
    running.stop().await;
    assert_eq!(world.verdicts().await, "accepted 2, refused 1");
    let reason = "SELECT count(*) FROM dead_letter WHERE reasons::text LIKE '%receipt_known%'";
    assert_eq!(world.number(reason).await, 1, "what counted before the change is still known");
    assert_eq!(world.number("SELECT count(*) FROM v1.gaps").await, 0, "the gap is closed");
}

/// Leaves the schema of the first release, and the note that it was applied.
async fn go_back(world: &World) {
    let clear = "
        CREATE SCHEMA kept;
        ALTER TABLE refinery_schema_history SET SCHEMA kept;
        DROP SCHEMA public, v1 CASCADE;
        CREATE SCHEMA public;
        ALTER TABLE kept.refinery_schema_history SET SCHEMA public;
        DELETE FROM refinery_schema_history WHERE version > 1";
    world.sql.batch_execute(clear).await.unwrap();
    world.sql.batch_execute(FIRST_RELEASE).await.unwrap();
}

/// Two streams of a store, the newer one with a hole, and a receipt that is known by a text.
async fn fill(world: &World, store: &str, known: &shared::minute::StoreMinute) {
    let older = shared::ids::StreamId::new(Timestamp::from_unix_millis(1_000).unwrap());
    let ledger = "
        INSERT INTO ledger (store_id, stream_id, highest_sequence, accepted, set_aside, last_seen)
        VALUES ($1, $2, 5, '{[1,3),[4,6)}', '{}', $4), ($1, $3, 2, '{[1,3)}', '{}', $4 - interval '1 day')";
    let (newer, older) = (world.stream.as_uuid(), older.as_uuid());
    world.sql.execute(ledger, &[&store, &newer, &older, &now().utc()]).await.unwrap();
    let till = &known.tills[0];
    let minute = "
        INSERT INTO store_minute VALUES ($1, $2, 5, 0, current_date, now(), 'original', $3, $4, 'till',
            '[]', jsonb_build_array($5::text), '[]', 1, 100, 0, 0, 100, 0, '[]', '[]', '{}')";
    let (name, series) = (till.till.as_str(), till.series.as_str());
    let receipt = till.receipt_ids.first().unwrap().as_str();
    world.sql.execute(minute, &[&store, &newer, &name, &series, &receipt]).await.unwrap();
}
