//! What an operator may have to do to the centre's own places: put back an older state of one of
//! them. Each ends as every run does: truth, Postgres and the lake are equal, nothing counts twice.

use std::path::Path;

use fakes::postgres::client;
use fakes::stack::Stack;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::draw::Sending;
use super::fault::{Fault, Place};
use super::run::Run;
use crate::ingest_world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_restored_from_an_older_copy_catches_up_by_itself() {
    let (mut run, parts) = begin("old_lake", Place::Folder).await;
    let (lake, copy) = (run.lake(), run.world.folder.path().join("yesterday"));
    run.send(&parts[0]).await;
    run.until_followed().await;
    run.centre.kill().await;
    copy_folder(&lake, &copy);
    run.centre.start();
    run.send(&parts[1]).await;
    run.until_exact().await;
    run.centre.kill().await;

    std::fs::remove_dir_all(&lake).unwrap();
    std::fs::rename(&copy, &lake).unwrap();
    run.centre.start();

    run.until_exact().await;
    run.centre.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_from_an_older_copy_reads_again_and_the_lake_takes_nothing_twice() {
    let (mut run, parts) = begin("old_database", Place::Folder).await;
    let name = run.world.database.access().database.clone();
    let copy = format!("{name}_old");
    run.send(&parts[0]).await;
    run.until_judged().await;
    run.centre.kill().await;
    copy_database(&mut run, &name, &copy).await;
    run.centre.start();
    run.send(&parts[1]).await;
    run.until_exact().await;
    run.centre.kill().await;

    copy_database(&mut run, &copy, &name).await;
    let judged = run.world.number("SELECT count(*) FROM batch").await;
    assert_eq!(judged, i64::try_from(parts[0].len()).unwrap(), "it is the older one");
    run.centre.start();

    run.until_judged().await;
    run.until_exact().await;
    run.centre.kill().await;
    client::drop_database(&run.world.stack.database(), &copy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_name_another_took_joins_its_groups_anew() {
    let (mut run, parts) = begin("name_taken", Place::Folder).await;
    run.send(&parts[0]).await;
    Fault::NameTaken.strike(&mut run, &parts[1]).await;
    run.until_exact().await;
    run.until_judged().await;
    run.centre.kill().await;
}

/// Two parts of the minutes of two stores, and a centre that waits for them.
pub(crate) async fn begin(test: &str, place: Place) -> (Run, [Vec<Sending>; 2]) {
    let world = World::on(Stack::shared(), test).await;
    let part = |sequences: std::ops::RangeInclusive<u64>| -> Vec<Sending> {
        let both = sequences.flat_map(|one| [world.batch("F0", one), world.batch("F1", one)]);
        both.map(|batch| Sending { batch, bad: false }).collect()
    };
    let parts = [part(1..=8), part(9..=16)];
    (Run::begin(world, place, &parts, ChaCha8Rng::seed_from_u64(0)).await, parts)
}

/// Puts one database in the place of another, as a backup of its files would be.
async fn copy_database(run: &mut Run, from: &str, to: &str) {
    let owner = run.world.stack.database();
    // A database that is copied must have nobody in it.
    run.world.sql = client::connect(&owner).await.unwrap();
    client::drop_database(&owner, to).await.unwrap();
    let leave = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
    let copy = format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\"");
    let copied =
        fakes::wait::until("the database is copied", crate::ingest_world::SOON, async || {
            run.world.sql.execute(leave, &[&from]).await.map_err(|error| error.to_string())?;
            run.world.sql.batch_execute(&copy).await.map_err(|error| format!("{error:?}"))
        });
    copied.await.unwrap();
    run.reconnect().await;
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
