//! The lake follows the verdicts: what is accepted gets in once, nothing else does, whatever ends the
//! role in between.

use std::collections::BTreeSet;
use std::sync::Arc;

use central::figures::{FiguresByKey, Grain, Part, Scope, add_batch};
use central::lake::schema::LakeTable;
use central::lake::storage::Storage;
use central::lake::totals::TableTotals;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::lake_world::{SOON, Sent, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_judged_waits_and_what_does_not_count_stays_out() {
    let world = World::new("lake_waits").await;
    let mut sent = Vec::new();
    for sequence in 1..=4 {
        sent.push(world.send(world.batch("10", sequence)).await);
    }
    world.judge(&sent[0], "accepted").await;
    world.judge(&sent[1], "duplicate").await;
    let role = Role::start(&world);

    until_lake_holds(&world, &sent[..1]).await;
    world.judge(&sent[2], "accepted").await;
    world.judge(&sent[3], "accepted").await;
    let accepted = [&sent[..1], &sent[2..]].concat();
    until_lake_holds(&world, &accepted).await;
    role.stop().await;

    // A new process begins at the tables' identifiers and adds nothing twice.
    let role = Role::start(&world);
    let later = world.send(world.batch("10", 5)).await;
    world.judge(&later, "accepted").await;
    until_lake_holds(&world, &[accepted, vec![later]].concat()).await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_dies_at_any_moment_loses_and_doubles_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let world = World::new("lake_dies").await;
    let mut accepted = Vec::new();
    let mut sequence = 0;
    for _ in 0..6 {
        let role = Role::start(&world);
        let deaths_door = tokio::time::Instant::now()
            + std::time::Duration::from_millis(chance.random_range(300..4_000));
        while tokio::time::Instant::now() < deaths_door {
            sequence += 1;
            let store = ["10", "20", "30"][chance.random_range(0..3)];
            let sent = world.send(world.batch(store, sequence)).await;
            world.judge(&sent, "accepted").await;
            accepted.push(sent);
        }
        role.die().await;
    }
    let role = Role::start(&world);
    until_lake_holds(&world, &accepted).await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_partitions_and_take_over_from_each_other() {
    let world = World::new("lake_shared").await;
    let mut accepted = Vec::new();
    let (first, second) = (Role::start(&world), Role::start(&world));
    for sequence in 1..=30 {
        let store = ["10", "20", "30"][usize::try_from(sequence % 3).unwrap()];
        let sent = world.send(world.batch(store, sequence)).await;
        world.judge(&sent, "accepted").await;
        accepted.push(sent);
    }
    until_lake_holds(&world, &accepted).await;
    first.stop().await;
    for sequence in 31..=40 {
        let sent = world.send(world.batch("10", sequence)).await;
        world.judge(&sent, "accepted").await;
        accepted.push(sent);
    }
    until_lake_holds(&world, &accepted).await;
    second.stop().await;
}

/// The role in a task.
struct Role {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Role {
    fn start(world: &World) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (config, store) = (world.config.clone(), world.store.clone());
        let task = tokio::spawn(async move {
            let shutdown = async {
                stopped.await.ok();
            };
            central::lake::run(&config, store, Arc::default(), shutdown).await.unwrap();
        });
        Self { task, stop }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Ends it wherever it waits, with nothing finished.
    async fn die(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn until_lake_holds(world: &World, accepted: &[Sent]) {
    let mut expected = FiguresByKey::new();
    for part in Part::ALL {
        accepted.iter().for_each(|sent| add_batch(&mut expected, &sent.batch, part, Grain::Till));
    }
    let held = fakes::wait::until("the lake holds what is accepted", SOON, async || {
        let found = figures(world).await;
        if found == expected { Ok(()) } else { Err(tell(&found, &expected)) }
    });
    held.await.unwrap();
}

async fn figures(world: &World) -> FiguresByKey {
    let storage = Storage::of(&world.config.lake).unwrap();
    let mut all = FiguresByKey::new();
    for what in LakeTable::ALL {
        let table = TableTotals::open(&storage, what).await.unwrap();
        for (key, figures) in table.figures(&Scope::default(), Grain::Till).await.unwrap() {
            all.entry(key).or_default().add(&figures);
        }
    }
    all
}

fn tell(found: &FiguresByKey, expected: &FiguresByKey) -> String {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(key) != expected.get(key))
        .map(|key| format!("{key}: {:?} instead of {:?}", found.get(key), expected.get(key)))
        .collect();
    format!("{} places differ, the first: {:?}", differing.len(), differing.first())
}
