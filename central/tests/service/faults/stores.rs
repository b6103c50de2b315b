//! Stores that are closed, or named at last, while their backlog is under way. What the registry
//! refuses is set aside whole, and counts once the registry is put right.

use std::collections::BTreeSet;

use fakes::stack::Stack;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::draw::Sending;
use super::fault::Place;
use super::gate::{self, Gate};
use super::operator::refused;
use super::run::Run;
use crate::ingest_world::World;

/// Minutes of a store's backlog.
const MINUTES: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_store_closed_while_its_backlog_comes_the_minutes_before_count() {
    let mut run = begin("closing", &["F0", "F1"]).await;
    run.send(&minutes(&run.world, 1..=10)).await;
    run.until_judged().await;
    let last_open = 20;
    let from = run.world.batch("F0", last_open + 1).minute.to_string();
    let close = ["stores", "set-state", "F0", "closed", "--from", &from];

    // The command comes while records of the store are being stored, and more are on their way.
    let shut = Gate::Rows.shut(&run.world).await;
    run.send(&minutes(&run.world, 11..=30)).await;
    shut.until_reached().await;
    let (said, ()) = tokio::join!(run.centre.command(&close), shut.open());
    assert!(said.contains("store F0 is closed from"), "{said}");
    run.send(&minutes(&run.world, 31..=MINUTES)).await;
    run.until_judged().await;

    let aside = set_aside(&run).await;
    let after: BTreeSet<u64> = (last_open + 1..=MINUTES).collect();
    assert!(aside.is_subset(&after), "{aside:?}");
    assert!((31..=MINUTES).all(|sequence| aside.contains(&sequence)), "{aside:?}");
    let letters = aside.len() as u64;
    assert_eq!(run.rules().await, refused(&[("store_not_open", letters)]));
    run.assert_one_alarm(letters).await;

    // It was the wrong store.
    run.centre.command(&["stores", "set-state", "F0", "open", "--from", &from]).await;
    assert_eq!(run.replay("store_not_open").await, letters);
    run.assert_settled(0).await;
    run.centre.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_named_while_its_backlog_comes_is_made_whole() {
    let mut run = begin("naming", &["F1"]).await;
    let opened = run.world.batch("F0", 1).minute.to_string();
    let add = ["stores", "add", "F0", "--opened-at", &opened];
    run.send(&minutes(&run.world, 1..=15)).await;
    run.until_judged().await;
    assert_eq!(run.rules().await, refused(&[("store_unknown", 15)]));
    run.assert_one_alarm(15).await;

    let shut = Gate::Rows.shut(&run.world).await;
    run.send(&minutes(&run.world, 16..=30)).await;
    shut.until_reached().await;
    let (said, ()) = tokio::join!(run.centre.command(&add), shut.open());
    assert!(said.contains("added F0"), "{said}");
    run.send(&minutes(&run.world, 31..=MINUTES)).await;
    run.until_judged().await;

    let letters = set_aside(&run).await.len() as u64;
    assert!((15..=30).contains(&letters), "{letters}");
    run.assert_one_alarm(letters).await;
    assert_eq!(run.replay("store_unknown").await, letters);
    run.assert_settled(0).await;
    run.centre.kill().await;
}

/// A centre that takes no store but those that somebody has named.
async fn begin(test: &str, named: &[&str]) -> Run {
    let world = World::on(Stack::shared(), test).await;
    gate::build(&world).await;
    let text = std::fs::read_to_string(&world.config_file).unwrap();
    let text = text.replace("unknown_stores = \"add\"", "unknown_stores = \"refuse\"");
    std::fs::write(&world.config_file, text).unwrap();
    let all = minutes(&world, 1..=MINUTES);
    let opened = world.batch("F0", 1).minute.to_string();
    let run = Run::begin(world, Place::Folder, &[all], ChaCha8Rng::seed_from_u64(0)).await;
    for store in named {
        run.centre.command(&["stores", "add", store, "--opened-at", &opened]).await;
    }
    run
}

/// The same minutes of two stores.
fn minutes(world: &World, sequences: std::ops::RangeInclusive<u64>) -> Vec<Sending> {
    let both = sequences.flat_map(|one| ["F0", "F1"].map(|store| world.batch(store, one)));
    both.map(|batch| Sending { batch, bad: false }).collect()
}

/// Returns the sequences that are set aside; they are all of the first store.
async fn set_aside(run: &Run) -> BTreeSet<u64> {
    let sql = "SELECT b.store_id, b.sequence FROM dead_letter d
               JOIN batch b ON b.dead_letter_id = d.id WHERE d.state = 'open'";
    let rows = run.world.sql.query(sql, &[]).await.unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "F0"));
    rows.iter().map(|row| row.get::<_, i64>(1).unsigned_abs()).collect()
}
