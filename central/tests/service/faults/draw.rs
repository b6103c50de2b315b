//! What a run is made of, drawn from its seed: which stores sell what, in which order and how often
//! it is sent, and what fails meanwhile. The same seed draws the same.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::minute::StoreMinute;
use shared::words::BatchKind;

use super::fault::Fault;
use crate::ingest_world::World;

/// How far a record may come before or behind its place.
const DISORDER: usize = 4;

/// A record that is sent.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(super) batch: StoreMinute,
    /// True where its totals do not add up, so that the rules refuse it.
    pub(super) bad: bool,
}

/// Everything that a seed decides.
pub(super) struct Drawn {
    /// What is sent, in this order; parts of it lie between the faults.
    pub(super) parts: Vec<Vec<Sending>>,
    pub(super) faults: Vec<Fault>,
    /// For what the faults themselves draw.
    pub(super) chance: ChaCha8Rng,
}

pub(super) fn draw(world: &World, seed: u64) -> Drawn {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let faults = draw_faults(&mut chance, seed);
    let mut sendings = Vec::new();
    for store in 0..chance.random_range(2..=4) {
        sendings.extend(draw_store(world, &mut chance, store));
    }
    sendings.shuffle(&mut chance);
    sendings.sort_by_key(|sending| sending.0);
    let all: Vec<Sending> = sendings.into_iter().map(|(_, sending)| sending).collect();
    let length = all.len().div_ceil(faults.len() + 1);
    let parts = all.chunks(length).map(<[Sending]>::to_vec).collect();
    Drawn { parts, faults, chance }
}

/// Every fault has its turn as the first one; a second comes by chance.
fn draw_faults(chance: &mut ChaCha8Rng, seed: u64) -> Vec<Fault> {
    let of = |number: u64| Fault::ALL[usize::try_from(number).unwrap() % Fault::ALL.len()];
    let mut faults = vec![of(seed)];
    if chance.random_bool(0.5) {
        let second = of(chance.random_range(0..1_000));
        // A lake lies in one place.
        let places = (faults[0].lake_in(), second.lake_in());
        if !matches!(places, (Some(one), Some(other)) if one != other) {
            faults.push(second);
        }
    }
    faults
}

/// The records of a store with the place in time at which each is sent.
fn draw_store(world: &World, chance: &mut ChaCha8Rng, store: usize) -> Vec<(usize, Sending)> {
    let name = format!("F{store}");
    let sequences = chance.random_range(6..=15_u64);
    let bad = chance.random_bool(0.3).then(|| chance.random_range(1..=sequences));
    let mut sendings = Vec::new();
    for (place, sequence) in (0..).zip(1..=sequences) {
        let mut batch = world.batch(&name, sequence);
        if sequence > 1 && chance.random_bool(0.2) {
            batch.kind = BatchKind::Supplement;
            batch.minute = world.batch(&name, sequence - 1).minute;
        }
        let bad = bad == Some(sequence);
        if bad {
            batch.tills[0].total_cents.0 += 1;
        }
        let sending = Sending { batch, bad };
        if !bad && chance.random_bool(0.3) {
            let later = place + chance.random_range(0..3 * DISORDER);
            sendings.push((later, sending.clone()));
        }
        sendings.push((place + chance.random_range(0..DISORDER), sending));
    }
    sendings
}

/// What of all that is sent must be set aside: store and sequence.
pub(super) fn planted(parts: &[Vec<Sending>]) -> BTreeSet<(String, i64)> {
    let bad = parts.iter().flatten().filter(|sending| sending.bad);
    bad.map(|sending| {
        let sequence = i64::try_from(sending.batch.sequence.get()).unwrap();
        (sending.batch.store.as_str().to_owned(), sequence)
    })
    .collect()
}
