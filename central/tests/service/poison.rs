//! What a bad record costs its neighbours: measured beside a clean run of the same length, printed,
//! never asserted, because it depends on the machine. Asserted is that it costs one dead letter.
//! RECORDS=10000 runs it at the length of the promise.

use std::time::Duration;

use fakes::wait;
use futures_util::future::join_all;
use shared::minute::StoreMinute;
use tokio::time::Instant;

use crate::ingest_world::{Running, World};

/// How a run is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbed {
    /// Not at all.
    Clean,
    /// One record does not add up.
    ByTheRules,
    /// One record is refused by the database alone, which has to be found among its neighbours.
    ByTheDatabase,
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_costs_one_dead_letter_and_little_time() {
    let records: u64 =
        std::env::var("RECORDS").map_or(100, |text| text.parse().expect("RECORDS is a number"));
    let clean = run(records, Disturbed::Clean).await;
    for disturbed in [Disturbed::ByTheRules, Disturbed::ByTheDatabase] {
        let took = run(records, disturbed).await;
        println!(
            "{records} records: clean {} ms, one bad {disturbed:?} {} ms, {} % of clean",
            clean.as_millis(),
            took.as_millis(),
            took.as_millis() * 100 / clean.as_millis().max(1)
        );
    }
}

/// How long a run may take: nothing is asserted of its time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends all to a service that is at work, and measures until all is judged.
async fn run(records: u64, disturbed: Disturbed) -> Duration {
    let world = World::new("poison").await;
    let planted = "ALTER TABLE store_minute ADD CHECK (till <> 'poison')";
    world.sql.batch_execute(planted).await.unwrap();
    // A thousand minutes of each store, so that none lies ahead of the clock.
    let batch = |n: u64| world.batch(&format!("S{}", n / 1_000), n % 1_000 + 1);
    let mut accepted: Vec<StoreMinute> = (0..records).map(batch).collect();
    let mut sent = accepted.clone();
    let sick = usize::try_from(records / 2).unwrap();
    match disturbed {
        Disturbed::Clean => {}
        Disturbed::ByTheRules => sent[sick].tills[0].total_cents.0 += 1,
        Disturbed::ByTheDatabase => poison(&mut sent[sick]),
    }
    if disturbed != Disturbed::Clean {
        accepted.remove(sick);
    }
    let running = Running::start(&world.config);
    accepted.push(world.batch("first", 1));
    world.send(&world.batch("first", 1)).await;
    until_judged(&world, 1).await;
    let started = Instant::now();
    for group in sent.chunks(500) {
        join_all(group.iter().map(|batch| world.send(batch))).await;
    }
    until_judged(&world, i64::try_from(records).unwrap() + 1).await;
    let took = started.elapsed();
    running.stop().await;
    let letters = i64::from(disturbed != Disturbed::Clean);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter").await, letters, "{disturbed:?}");
    world.assert_exactly(&accepted).await;
    took
}

async fn until_judged(world: &World, records: i64) {
    let all = wait::until("all is judged", PATIENCE, async || {
        match world.number("SELECT count(*) FROM batch").await {
            judged if judged == records => Ok(()),
            judged => Err(format!("{judged} judged")),
        }
    });
    all.await.unwrap();
}

fn poison(batch: &mut StoreMinute) {
    let name: shared::ids::TillId = "poison".parse().unwrap();
    batch.tills.iter_mut().for_each(|till| till.till = name.clone());
    batch.sales.iter_mut().for_each(|sale| sale.till = name.clone());
}
