//! What tills said at their closings and the numbers of their receipts, beside the rows.

use central::figures::Scope;
use central::store::closings::ClosingDifference;
use central::store::compared::Compared;
use central::store::numbers::NumberFault;

use crate::lake_world::World;

#[tokio::test]
async fn a_number_is_missing_once_its_store_is_complete_beyond_it() {
    let world = World::new("numbers_missing").await;
    world.send_accepted("10", 1..3).await;
    world.send_accepted("10", 4..5).await;

    // The third minute may still be under way.
    assert_eq!(numbers(&world).await, []);
    complete(&world, "2026-11-23T09:45:00Z").await;
    assert_eq!(numbers(&world).await, []);
    complete(&world, "2026-11-23T09:46:00Z").await;

    let hole = (NumberFault::Missing, 945, 950);
    assert_eq!(numbers(&world).await, [hole]);
    world.send_accepted("10", 3..4).await;
    assert_eq!(numbers(&world).await, []);
}

#[tokio::test]
async fn a_number_in_two_rows_is_doubled() {
    let world = World::new("numbers_doubled").await;
    world.send_accepted("10", 1..4).await;
    let again = "UPDATE store_minute SET receipts = '[[936, 936], [945, 948], [950, 950]]' WHERE sequence = 3";
    assert_eq!(world.sql.execute(again, &[]).await.unwrap(), 1);

    assert_eq!(numbers(&world).await, [(NumberFault::Doubled, 936, 936)]);
}

#[tokio::test]
async fn a_closing_equals_the_rows_of_its_receipts() {
    let world = closed("closing_equal").await;

    let found = closings(&world).await;

    assert_eq!((found.equal, found.undecided, found.differing), (1, 0, 0), "{found:?}");
}

#[tokio::test]
async fn a_row_that_is_altered_lost_or_doubled_differs_from_its_closing() {
    let double = "INSERT INTO store_minute SELECT (jsonb_populate_record(m, '{\"sequence\": 9}')).*
                  FROM store_minute m WHERE sequence = 2";
    let cases = [
        (
            "altered",
            "UPDATE store_minute SET lines_cents = lines_cents + 1, total_cents = total_cents + 1
                     WHERE sequence = 2",
            3 * 565 + 1,
        ),
        ("lost", "DELETE FROM store_minute WHERE sequence = 2", 2 * 565),
        ("doubled", double, 4 * 565),
    ];
    for (name, sql, summed) in cases {
        let world = closed(&format!("closing_{name}")).await;
        assert_eq!(world.sql.execute(sql, &[]).await.unwrap(), 1, "{name}");

        let found = closings(&world).await;

        assert_eq!(found.differing, 1, "{name}: {found:?}");
        let [only] = found.differences.try_into().unwrap();
        assert_eq!((only.closing_cents, only.rows_cents), (3 * 565, summed), "{name}");
        let told = only.to_string();
        assert!(told.starts_with("store 10 day 2026-11-23 tills 3: closing 212 (tills)"), "{told}");
    }
}

#[tokio::test]
async fn a_closing_that_is_altered_or_lacks_its_rows_differs() {
    let world = closed("closing_other").await;
    world.sql.execute("UPDATE till_closing SET total_cents = total_cents - 1", &[]).await.unwrap();
    assert_eq!(closings(&world).await.differing, 1);
    world.sql.execute("DELETE FROM store_minute", &[]).await.unwrap();
    let found = closings(&world).await;
    assert_eq!((found.differing, found.differences[0].rows_cents), (1, 0));
}

#[tokio::test]
async fn a_closing_within_a_minute_cannot_be_compared_to_the_cent() {
    let world = closed("closing_within").await;
    let cut = "UPDATE till_closing SET receipts = '[[933, 947]]', total_cents = 1400";
    world.sql.execute(cut, &[]).await.unwrap();

    let found = closings(&world).await;

    assert_eq!((found.equal, found.undecided, found.differing), (0, 1, 0));
}

#[tokio::test]
async fn a_closing_without_numbers_is_compared_with_its_day_and_a_superseded_one_not_at_all() {
    let world = closed("closing_day").await;
    let early = "UPDATE till_closing SET receipts = '[]', total_cents = 3";
    world.sql.execute(early, &[]).await.unwrap();
    assert_eq!(closings(&world).await.differing, 1);
    close(&world, "213", "[]", Some("212")).await;

    let found = closings(&world).await;

    assert_eq!((found.equal, found.differing), (1, 0), "{found:?}");
}

/// Three minutes of a store, and the closing of their till.
async fn closed(test: &str) -> World {
    let world = World::new(test).await;
    world.send_accepted("10", 1..4).await;
    world.sql.execute("UPDATE store_minute SET receipt_ids = '[]'", &[]).await.unwrap();
    close(&world, "212", "[[933, 950]]", None).await;
    world
}

async fn close(world: &World, closing: &str, receipts: &str, supersedes: Option<&str>) {
    let receipts: serde_json::Value = serde_json::from_str(receipts).unwrap();
    world
        .sql
        .execute(
            "INSERT INTO till_closing (store_id, tills, closing, source, stream_id, sequence, business_day,
                closed_at, receipts, total_cents, cases, payments, cash_moves, supersedes)
             SELECT '10', '{3}', $1, 'tills', gen_random_uuid(), 1, '2026-11-23', now(), $2, 3 * 565,
                '[]', '[]', '[]', $3",
            &[&closing, &receipts, &supersedes],
        )
        .await
        .unwrap();
}

async fn complete(world: &World, through: &str) {
    let through: shared::time::Timestamp = through.parse().unwrap();
    world
        .sql
        .execute(
            "INSERT INTO ledger (store_id, stream_id, highest_sequence, accepted, set_aside, complete_through)
             SELECT '10', min(stream_id::text)::uuid, 4, '{}', '{}', $1 FROM batch
             ON CONFLICT (store_id, stream_id) DO UPDATE SET complete_through = excluded.complete_through",
            &[&through.utc()],
        )
        .await
        .unwrap();
}

async fn numbers(world: &World) -> Vec<(NumberFault, i64, i64)> {
    let found = world.store.receipt_numbers(&Scope::default()).await.unwrap();
    found.iter().map(|one| (one.fault, one.first, one.last)).collect()
}

async fn closings(world: &World) -> Compared<ClosingDifference> {
    world.store.compare_closings(&Scope::default()).await.unwrap().compared
}
