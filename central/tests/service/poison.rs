//! What a bad record costs its neighbours: measured beside a clean run of the same length, printed,
//! never asserted, because it depends on the machine. Asserted is that it costs one dead letter.
//! RECORDS=10000 runs it at the length of the promise.

use std::time::Duration;

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
        std::env::var("RECORDS").map_or(1_000, |text| text.parse().expect("RECORDS is a number"));
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

/// Sends all, then starts the service and measures until all is judged.
async fn run(records: u64, disturbed: Disturbed) -> Duration {
    let world = World::new("poison").await;
    let planted = "ALTER TABLE store_minute ADD CHECK (till <> 'poison')";
    world.sql.batch_execute(planted).await.unwrap();
    // A thousand minutes of each store, so that none lies ahead of the clock.
    let batch = |n: u64| world.batch(&format!("S{}", n / 1_000), n % 1_000 + 1);
    let batches: Vec<StoreMinute> = (0..records).map(batch).collect();
    let sick = usize::try_from(records / 2).unwrap();
    for (n, group) in batches.chunks(500).enumerate() {
        let sent: Vec<StoreMinute> = group
            .iter()
            .enumerate()
            .map(|(at, batch)| match disturbed {
                Disturbed::ByTheRules if n * 500 + at == sick => unequal(batch.clone()),
                Disturbed::ByTheDatabase if n * 500 + at == sick => poisoned(batch.clone()),
                Disturbed::Clean | Disturbed::ByTheRules | Disturbed::ByTheDatabase => {
                    batch.clone()
                }
            })
            .collect();
        join_all(sent.iter().map(|batch| world.send(batch))).await;
    }
    let started = Instant::now();
    let running = Running::start(&world.config);
    world.until_judged(i64::try_from(records).unwrap()).await;
    let took = started.elapsed();
    running.stop().await;
    let letters = i64::from(disturbed != Disturbed::Clean);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter").await, letters, "{disturbed:?}");
    let accepted: Vec<StoreMinute> = batches
        .into_iter()
        .enumerate()
        .filter(|(n, _)| disturbed == Disturbed::Clean || *n != sick)
        .map(|(_, batch)| batch)
        .collect();
    world.assert_exactly(&accepted).await;
    took
}

fn unequal(mut batch: StoreMinute) -> StoreMinute {
    batch.tills[0].total_cents.0 += 1;
    batch
}

fn poisoned(mut batch: StoreMinute) -> StoreMinute {
    let name: shared::ids::TillId = "poison".parse().unwrap();
    batch.tills.iter_mut().for_each(|till| till.till = name.clone());
    batch.sales.iter_mut().for_each(|sale| sale.till = name.clone());
    batch
}
