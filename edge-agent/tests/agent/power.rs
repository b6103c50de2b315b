//! Power cuts, as a proof: every write of the agent is recorded, and of each recording the states are
//! tried that a power cut may leave. `docs/durability.md` says what is assumed of the disk.
//!
//! `CASES` is the number of states, `SEED` draws them; `POWER_CUT_KEEP` names a folder where states
//! stay that did not hold.

use fakes::disk::Note;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::AsyncWriteExt as _;

use crate::tcp::call;
use crate::till::{ACK, ask, whole_receipt};

mod oracle;
mod recording;
mod script;
mod trial;

use recording::Recording;
use script::{Part, Script};
use trial::Trial;

/// States in an ordinary test run, of all recordings together.
const CASES: usize = 300;

#[test]
fn folders_survive_every_power_cut() {
    let (seed, runtime) = (seed(), runtime());
    let recording = runtime.block_on(Recording::of_folders(seed));
    Trial::new(&recording, seed).with_agent(share(30)).run(share(30)).holds();
    let start = recording.notes.iter().position(|note| matches!(note, Note::Placed { .. }));
    let is_minor = |path: &str| path.ends_with("-shm") || path.starts_with("status.json");
    let trial = Trial::new(&recording, seed);
    trial.run_every(start.expect("files come"), is_minor, share(100)).holds();
    // Once more, while the agent recovers from one.
    let cut = ChaCha8Rng::seed_from_u64(seed).random_range(0..recording.notes.len());
    let recording = runtime.block_on(Recording::of_recovery(recording, cut, seed));
    Trial::new(&recording, seed).run(share(10)).holds();
}

#[test]
fn lines_survive_every_power_cut_and_what_would_not_is_found_out() {
    let (seed, runtime) = (seed(), runtime());
    let recording = runtime.block_on(Recording::of_lines());
    Trial::new(&recording, seed).with_agent(share(25)).run(share(25)).holds();
    let unsynced = recording.altered(|notes| {
        notes.retain(|note| !matches!(note, Note::Synced { .. }));
    });
    let outcome = Trial::new(&unsynced, seed).run(share(8));
    assert!(outcome.faults.len() * 2 > outcome.states, "{}", outcome.told());
    let hasty = recording.altered(|notes| answer_before_the_commit(notes));
    let outcome = Trial::new(&hasty, seed).run(share(8));
    assert!(outcome.faults.len() * 20 > outcome.states, "{}", outcome.told());
}

#[test]
fn the_buffer_holds_what_it_answered_whatever_was_asked_of_it() {
    let seed = seed();
    Trial::new(&Script::recorded(Part::Orders), seed).run(share(18)).holds();
    Trial::new(&Script::recorded(Part::LongLog), seed).run(share(2)).holds();
}

/// The program alone is killed, in the midst of answers, again and again.
#[tokio::test]
async fn kills_between_telegrams_and_their_answers_lose_nothing_and_double_nothing() {
    let seed = seed();
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (world, port) = crate::tcp::world("whole", "mode = \"server\"\nanswer = \"ack-nak\"");
    let (rounds, mut number, mut cents) = (share(2).min(500), 1, 0);
    for _ in 0..rounds {
        let agent = world.agent().await;
        let mut line = call(port).await;
        for _ in 0..dice.random_range(0..12) {
            assert_eq!(ask(&mut line, &whole_receipt(number, number)).await, ACK);
            cents += i64::from(number);
            number += 1;
        }
        // Whatever becomes of this one, its till hears no answer and sends it again.
        line.write_all(&whole_receipt(number, number)).await.unwrap();
        for _ in 0..dice.random_range(0..3) {
            tokio::task::yield_now().await;
        }
        agent.kill();
    }
    let agent = world.agent().await;
    let mut line = call(port).await;
    assert_eq!(ask(&mut line, &whole_receipt(number, number)).await, ACK);
    world.until_cut(u64::from(number), cents + i64::from(number)).await;
    assert!(agent.stop().await.success());
    eprintln!("{rounds} kills, {number} receipts, {} cents", cents + i64::from(number));
}

/// Moves each answer to where what it answers was not yet written.
fn answer_before_the_commit(notes: &mut [Note]) {
    let is_sync = |note: &Note| matches!(note, Note::Synced { .. });
    for at in 0..notes.len() {
        if matches!(notes[at], Note::Sent { .. }) {
            let commit = notes[..at].iter().rposition(is_sync).expect("it was waited for");
            let before = notes[..commit].iter().rposition(is_sync).expect("tables were made");
            notes[before + 1..=at].rotate_right(1);
        }
    }
}

/// Returns so many of 100 of all states.
fn share(percent: usize) -> usize {
    let cases = std::env::var("CASES").map_or(CASES, |text| text.parse().unwrap());
    (cases * percent / 100).max(1)
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    seed
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
