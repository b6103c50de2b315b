//! Only a known store counts, while it is open, by its one active stream, and a receipt counts once
//! whatever stream brings it.

use std::time::Duration;

use serde_json::Value;
use shared::ids::StreamId;
use shared::minute::StoreMinute;

use crate::cli::{central, text};
use crate::ingest_world::{Running, World, now};

/// The reasons of all open dead letters by their store and sequence, as one text.
async fn reasons(world: &World) -> String {
    let sql = "SELECT coalesce(string_agg(b.store_id || ' ' || b.sequence || ' ' || (
            SELECT string_agg(DISTINCT r->>'rule', '+') FROM jsonb_array_elements(d.reasons) r),
            ', ' ORDER BY b.store_id, b.sequence), '')
        FROM dead_letter d JOIN batch b ON b.dead_letter_id = d.id WHERE d.state = 'open'";
    world.sql.query_one(sql, &[]).await.unwrap().get(0)
}

fn other_stream(mut batch: StoreMinute, stream: StreamId) -> StoreMinute {
    batch.stream = stream;
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_nobody_named_is_set_aside_whole() {
    let mut world = World::new("unknown_store").await;
    world.config.judge.unknown_stores = central::config::UnknownStores::Refuse;
    let opened = world.batch("10", 3).minute.to_string();
    let added = central(&world, &["stores", "add", "10", "--opened-at", &opened, "--by", "eva"]);
    assert!(added.status.success(), "{}", text(&added));
    world.send_all("10", 1..=4).await;
    world.send_all("20", 1..=2).await;
    let running = Running::start(&world.config);
    world.until_judged(6).await;
    assert_eq!(
        reasons(&world).await,
        "10 1 before_opening, 10 2 before_opening, 20 1 store_unknown, 20 2 store_unknown"
    );
    world.assert_exactly(&[world.batch("10", 3), world.batch("10", 4)]).await;
    assert_eq!(world.number("SELECT count(*) FROM store").await, 1, "nobody added another one");
    let again = central(&world, &["stores", "add", "10"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("store 10 is in the registry already"), "{}", text(&again));
    let audited = "SELECT count(*) FROM audit WHERE actor = 'eva' AND action = 'stores add'";
    assert_eq!(world.number(audited).await, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_at_the_minute_decides_however_late_the_batch_comes() {
    let world = World::new("store_state").await;
    world.send_all("10", 1..=1).await;
    let running = Running::start(&world.config);
    world.until_judged(1).await;
    for (state, sequence) in [("paused", 3), ("open", 5), ("closed", 7)] {
        let from = world.batch("10", sequence).minute.to_string();
        let set = central(&world, &["stores", "set-state", "10", state, "--from", &from]);
        assert!(set.status.success(), "{}", text(&set));
    }
    world.send_all("10", 2..=8).await;
    world.until_judged(8).await;
    let wanted = [3, 4, 7, 8].map(|sequence| format!("10 {sequence} store_not_open"));
    assert_eq!(reasons(&world).await, wanted.join(", "));
    world.assert_exactly(&[1, 2, 5, 6].map(|sequence| world.batch("10", sequence))).await;
    let unknown = central(&world, &["stores", "set-state", "77", "open"]);
    assert!(text(&unknown).contains("store 77 is not in the registry"), "{}", text(&unknown));
    let shown = central(&world, &["stores", "show", "10", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["state"], "closed");
    assert_eq!(shown["states"].as_array().unwrap().len(), 4);
    assert_eq!(shown["open_dead_letters"], 4);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_active_stream_counts_and_another_is_set_aside_until_it_is_activated() {
    let world = World::new("streams").await;
    let second = StreamId::new(now());
    let other = |sequence| other_stream(world.batch("10", sequence), second);
    world.send_all("10", 1..=2).await;
    world.send(&other(3)).await;
    let running = Running::start(&world.config);
    world.until_judged(3).await;
    assert_eq!(reasons(&world).await, "10 3 stream_not_active");
    assert_eq!(world.number("SELECT count(*) FROM v1.streams").await, 2);

    let activate = ["stores", "activate-stream", "10", &second.to_string()];
    let activated = central(&world, &activate);
    assert!(text(&activated).contains(&format!("no longer by {}", world.stream)));
    world.send(&other(4)).await;
    world.send_all("10", [1, 5]).await;
    world.until_judged(6).await;
    // What counted stays a duplicate; what is new of the old stream goes aside.
    assert_eq!(world.verdicts().await, "accepted 3, duplicate 1, refused 2");
    assert_eq!(reasons(&world).await, "10 3 stream_not_active, 10 5 stream_not_active");
    assert!(text(&central(&world, &activate)).contains("was active already"));
    let list = central(&world, &["stores", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(listed["stream"], second.to_string());
    let turns = "SELECT count(*) FROM store_stream WHERE store_id = '10'";
    assert_eq!(world.number(turns).await, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counts_once_whatever_stream_brings_it() {
    let world = World::new("receipts_once").await;
    world.send_all("10", 1..=3).await;
    let running = Running::start(&world.config);
    world.until_judged(3).await;
    // A new box reads the tills' files anew: the same receipts under another stream, with sequences,
    // movements and losses of its own.
    let second = StreamId::new(now());
    central(&world, &["stores", "activate-stream", "10", &second.to_string()]);
    for sequence in 1..=3 {
        let mut again = other_stream(world.batch("10", sequence), second);
        again.stock.clear();
        again.losses.clear();
        world.send(&again).await;
    }
    let mut fresh = other_stream(world.batch("10", 4), second);
    // Parked numbers are finished, and a supplement brings other receipts of the same minute.
    fresh.tills[0].receipts = world.batch("10", 1).tills[0].numbers_without_sale.clone();
    fresh.tills[0].receipt_count = 2;
    world.send(&fresh).await;
    let mut supplement = other_stream(world.batch("10", 5), second);
    supplement.minute = fresh.minute;
    supplement.kind = shared::words::BatchKind::Supplement;
    world.send(&supplement).await;
    world.until_judged(8).await;
    let wanted = [1, 2, 3].map(|sequence| format!("10 {sequence} receipt_known"));
    assert_eq!(reasons(&world).await, wanted.join(", "));
    let accepted = [1, 2, 3].map(|sequence| world.batch("10", sequence));
    world.assert_exactly(&[&accepted[..], &[fresh, supplement]].concat()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_for_the_batch_that_is_judged() {
    let mut world = World::new("registry_lock").await;
    world.send_all("10", 1..=1).await;
    let running = Running::start(&world.config);
    world.until_judged(1).await;
    let batch = world.sql.transaction().await.unwrap();
    let hold = "SELECT FROM store WHERE store_id = '10' FOR KEY SHARE";
    batch.execute(hold, &[]).await.unwrap();
    let (store, stream) = (world.store.clone(), StreamId::new(now()));
    let doer = central::store::audit::Doer { name: "eva".to_owned(), reason: None };
    let command = tokio::spawn(async move {
        store.activate_stream(&"10".parse().unwrap(), stream, &doer).await.unwrap()
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND wait_event_type = 'Lock'";
    fakes::wait::until("the command waits", Duration::from_secs(60), async || {
        let waiting: i64 = batch.query_one(waits, &[]).await.unwrap().get(0);
        if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await
    .unwrap();
    batch.commit().await.unwrap();
    assert!(command.await.unwrap().is_some());
    running.stop().await;
}
