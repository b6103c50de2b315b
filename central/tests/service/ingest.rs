//! Each record is judged once and stored with its offset: duplicates, strangers, several consumers
//! and sudden deaths change nothing.

use std::time::Duration;

use central::store::dead_letters::{DeadLetter, Filter};
use rand::{Rng, SeedableRng};
use shared::time::BusinessDay;
use shared::wire::{encode, store_minute_headers};

use crate::ingest_world::{Running, World, ask, now, until_ready_says};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_counts_once_however_often_and_in_whatever_order_it_comes() {
    let world = World::new("counts_once").await;
    world.send_all("10", [3, 1, 2, 1, 3]).await;
    world.send_all("20", [1, 4]).await;
    let running = Running::start(&world.config);
    world.until_judged(7).await;
    world.send_all("10", [2, 4]).await;
    world.until_judged(9).await;
    assert_eq!(world.verdicts().await, "accepted 6, duplicate 3");
    let accepted = [("10", 1), ("10", 2), ("10", 3), ("10", 4), ("20", 1), ("20", 4)]
        .map(|(store, sequence)| world.batch(store, sequence));
    world.assert_exactly(&accepted).await;
    let gaps = "SELECT gaps FROM v1.streams WHERE store = '20'";
    assert_eq!(world.number(gaps).await, 2, "sequences 2 and 3 never came");
    let through = "SELECT count(*) FROM v1.streams WHERE complete_through IS NOT NULL";
    assert_eq!(world.number(through).await, 2);
    running.stop().await;

    // A new process begins where the last one stood.
    let running = Running::start(&world.config);
    world.send_all("10", [4, 5]).await;
    world.until_judged(11).await;
    assert_eq!(world.verdicts().await, "accepted 7, duplicate 4");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_costs_one_dead_letter_with_its_bytes_and_never_its_neighbours() {
    let world = World::new("bad_among_good").await;
    world.send_all("10", 1..=3).await;
    let mut reused = world.batch("10", 2);
    reused.kind = shared::words::BatchKind::Supplement;
    world.send(&reused).await;
    let mut wrong = world.batch("10", 4);
    wrong.tills[0].total_cents.0 += 1;
    world.send(&wrong).await;
    let foreign = world.batch("10", 5);
    let headers: Vec<(String, String)> = store_minute_headers(&foreign, now())
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    world.send_raw(b"20", &headers, &encode(&foreign)).await;
    world.send_raw(&[0xff, 0], &[("x".to_owned(), "\0".to_owned())], b"\0not json\xff").await;
    world.send_all("10", 6..=6).await;

    let running = Running::start(&world.config);
    world.until_judged(8).await;
    assert_eq!(world.verdicts().await, "accepted 4, refused 4");
    let accepted = [1, 2, 3, 6].map(|sequence| world.batch("10", sequence));
    world.assert_exactly(&accepted).await;
    // Sequence 4 is set aside; 5 was claimed in a foreign name, so that it is still missing.
    assert_eq!(world.number("SELECT set_aside FROM v1.streams WHERE store = '10'").await, 1);
    assert_eq!(world.number("SELECT gaps FROM v1.streams WHERE store = '10'").await, 1);

    let letters = world.store.dead_letters(&Filter::default(), 10).await.unwrap();
    let rules = |letter: &DeadLetter| {
        let reasons = letter.reasons.as_array().unwrap().clone();
        reasons.iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<Vec<String>> = letters.iter().map(rules).collect();
    for wanted in [
        vec!["sequence_reused", "receipt_known", "receipt_known", "movement_known"],
        vec!["till_total", "payments"],
        vec!["store", "store"],
    ] {
        assert!(
            all.iter().any(|rules| wanted.iter().any(|rule| rules.contains(&(*rule).to_owned()))),
            "{wanted:?} is not among {all:?}"
        );
    }
    let strange = letters.iter().find(|one| one.key.as_deref() == Some(&[0xff, 0])).unwrap();
    assert_eq!(strange.body.as_deref(), Some(b"\0not json\xff".as_slice()));
    assert_eq!(strange.headers[0]["hex"], "00");
    let mended = world.batch("10", 4);
    world.send(&mended).await;
    world.until_judged(9).await;
    assert_eq!(world.number("SELECT set_aside FROM v1.streams WHERE store = '10'").await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_database_refuses_becomes_a_dead_letter_too() {
    let world = World::new("database_refuses").await;
    let planted = "ALTER TABLE store_minute ADD CHECK (till <> 'poison')";
    world.sql.batch_execute(planted).await.unwrap();
    let mut poison = world.batch("10", 7);
    let name: shared::ids::TillId = "poison".parse().unwrap();
    poison.tills.iter_mut().for_each(|till| till.till = name.clone());
    poison.sales.iter_mut().for_each(|sale| sale.till = name.clone());
    world.send_all("10", 1..=6).await;
    world.send(&poison).await;
    world.send_all("10", 8..=12).await;
    let running = Running::start(&world.config);
    world.until_judged(12).await;
    let accepted: Vec<_> =
        (1..=12).filter(|&n| n != 7).map(|sequence| world.batch("10", sequence)).collect();
    world.assert_exactly(&accepted).await;
    let letters = world.store.dead_letters(&Filter::default(), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reasons[0]["rule"], "database");
    assert!(letters[0].reasons[0]["says"].as_str().unwrap().starts_with("SQLSTATE 23514"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_of_the_same_partitions_store_everything_once() {
    let world = World::new("zombies").await;
    let mut zombie = world.config.clone();
    zombie.kafka.group_prefix.push_str("-zombie");
    zombie.http.listen.set_port(0);
    let both = [Running::start(&world.config), Running::start(&zombie)];
    let mut accepted = Vec::new();
    for sequence in 1..=60 {
        for store in ["10", "20", "30"] {
            accepted.push(world.batch(store, sequence));
            world.send(accepted.last().unwrap()).await;
        }
    }
    world.until_judged(180).await;
    assert_eq!(world.verdicts().await, "accepted 180");
    world.assert_exactly(&accepted).await;
    for running in both {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_group_share_the_partitions_and_take_over() {
    let world = World::new("members").await;
    let mut other = world.config.clone();
    other.http.listen.set_port(0);
    let first = Running::start(&world.config);
    world.send_all("10", 1..=5).await;
    world.until_judged(5).await;
    let second = Running::start(&other);
    world.send_all("20", 1..=5).await;
    world.send_all("30", 1..=5).await;
    world.until_judged(15).await;
    first.stop().await;
    world.send_all("10", 6..=8).await;
    world.until_judged(18).await;
    assert_eq!(world.verdicts().await, "accepted 18");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_at_any_moment_loses_and_doubles_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new("dies").await;
    // A member by name need not wait for its predecessor's session to end.
    world.config.kafka.instance = Some("one".to_owned());
    // The port of one that was cut down in this process is free a moment later only.
    world.config.http.listen.set_port(0);
    let mut accepted = Vec::new();
    for _ in 0..10 {
        let running = Running::start(&world.config);
        let life = Duration::from_millis(chance.random_range(50..3_000));
        let deaths_door = tokio::time::Instant::now() + life;
        while tokio::time::Instant::now() < deaths_door {
            let store = ["10", "20", "30"][chance.random_range(0..3)];
            let batch = world.batch(store, accepted.len() as u64 + 1);
            world.send(&batch).await;
            accepted.push(batch);
        }
        running.die().await;
    }
    let running = Running::start(&world.config);
    world.until_judged(accepted.len() as i64).await;
    world.assert_exactly(&accepted).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_business_day_has_a_partition_of_its_own() {
    let world = World::new("days").await;
    let mut batches = Vec::new();
    for (sequence, back) in (1..).zip([0, 1, 2, 60]) {
        let mut batch = world.batch("10", sequence);
        let day = batch.business_day.date() - chrono::TimeDelta::days(back);
        batch.business_day = BusinessDay::new(day);
        world.send(&batch).await;
        batches.push(batch);
    }
    let running = Running::start(&world.config);
    world.until_judged(4).await;
    world.assert_exactly(&batches).await;
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'sale'::regclass";
    assert_eq!(world.number(days).await, 4);
    let rows = "SELECT count(DISTINCT tableoid) FROM sale";
    assert_eq!(world.number(rows).await, 4);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_was_done() {
    let world = World::new("metrics").await;
    world.send_all("10", [1, 2, 2]).await;
    let running = Running::start(&world.config);
    world.until_judged(3).await;
    let ready = until_ready_says(&world.config, "200 OK").await;
    assert!(ready.contains("\"troubles\":{}"), "{ready}");
    assert!(ask(&world.config, "/healthz").await.unwrap().contains("alive"));
    let page = ask(&world.config, "/metrics").await.unwrap();
    for line in [
        "frischmarkt_central_records_total{verdict=\"accepted\"} 2",
        "frischmarkt_central_records_total{verdict=\"duplicate\"} 1",
        "frischmarkt_central_stopped_partitions 0",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    running.stop().await;
}
