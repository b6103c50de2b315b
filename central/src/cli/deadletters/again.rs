//! `central deadletters replay`: the bytes go through the topic once more, so that they are judged
//! as any record is, and the lake follows as it always does.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::PAGE;
use crate::cli::out;
use crate::config::Config;
use crate::kafka::again::{Again, Sender};
use crate::store::Store;
use crate::store::audit::Doer;
use crate::store::dead_letters::{DeadLetter, Filter, LetterError};

/// How often the verdicts are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which letters are replayed.
pub(super) enum Chosen {
    /// These.
    Numbers(Vec<i64>),
    /// The open ones of these that are there now.
    Filter(Filter),
}

/// Sends the letters and waits for their verdicts. Ends with 1 where one is refused again.
pub(super) async fn replay(
    config: &Config,
    store: &Store,
    (chosen, wait_seconds): (Chosen, u64),
    doer: &Doer,
) -> anyhow::Result<ExitCode> {
    let sender = Sender::new(&config.kafka)?;
    let mut sent = BTreeMap::new();
    match chosen {
        Chosen::Numbers(ids) => {
            for id in ids {
                let letter = store.dead_letter(id).await?.ok_or(LetterError::Absent(id))?;
                send(&sender, store, (&letter, doer)).await?;
                sent.insert(id, letter.times);
            }
        }
        Chosen::Filter(filter) => {
            let newest = store.dead_letters(&filter, 1).await?.first().map_or(0, |one| one.id);
            let mut last = 0;
            while last < newest {
                let page = store.dead_letters_behind(&filter, (last, PAGE)).await?;
                for letter in page.iter().filter(|letter| letter.id <= newest) {
                    send(&sender, store, (letter, doer)).await?;
                    sent.insert(letter.id, letter.times);
                }
                last = page.last().map_or(newest, |letter| letter.id);
            }
        }
    }
    if sent.is_empty() {
        out::line("no open dead letters of that kind")?;
    }
    tell_verdicts(store, sent, Duration::from_secs(wait_seconds)).await
}

async fn send(
    sender: &Sender,
    store: &Store,
    (letter, doer): (&DeadLetter, &Doer),
) -> anyhow::Result<()> {
    if letter.state != "open" {
        return Err(LetterError::Closed { id: letter.id, state: letter.state.clone() }.into());
    }
    let headers = letter
        .header_bytes()
        .with_context(|| format!("dead letter {} has unreadable headers", letter.id))?;
    let again = Again {
        letter: letter.id,
        key: letter.key.as_deref(),
        headers: &headers,
        body: letter.body.as_deref(),
        partition: letter.partition,
    };
    let place = sender.send(&again).await?;
    store.note_replay(letter.id, place, doer).await?;
    out::line(format_args!("sent {} as {}/{}", letter.id, place.0, place.1))?;
    Ok(())
}

/// Tells what became of each letter, as far as it is known in time.
async fn tell_verdicts(
    store: &Store,
    mut sent: BTreeMap<i64, i64>,
    wait: Duration,
) -> anyhow::Result<ExitCode> {
    let until = Instant::now() + wait;
    let mut all_count = true;
    loop {
        let mut waiting = BTreeMap::new();
        for (id, times) in sent {
            let letter = store.dead_letter(id).await?.ok_or(LetterError::Absent(id))?;
            if letter.state != "open" {
                out::line(format_args!("{id} is {}", letter.state))?;
            } else if letter.times > times {
                all_count = false;
                out::line(format_args!("{id} is refused again: {}", letter.rules().join(", ")))?;
            } else {
                waiting.insert(id, times);
            }
        }
        sent = waiting;
        if sent.is_empty() || Instant::now() >= until {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for id in sent.keys() {
        out::line(format_args!("{id} is not judged yet"))?;
    }
    Ok(if all_count { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
