//! Closes minutes when they are due, and knows how far the store is delivered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::ids::StoreId;
use shared::log::Chain;
use shared::time::{Clock, Minute, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::patience::insist;
use super::time::{Reading, Timekeeper};
use crate::aggregate::open::{OpenMinutes, Slot};
use crate::buffer::{Buffer, BufferError, Cut};
use crate::config::Config;
use crate::status::Through;

/// How long the closer sleeps at most: its turns show that it is alive.
const TURN_MOST: Duration = Duration::from_secs(1);

/// How often the buffer forgets what is past its horizon.
const PRUNE_PAUSE: Duration = Duration::from_secs(600);

/// How long a closing that failed waits for its next try.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What a source has to tell.
#[derive(Debug)]
pub(super) enum Notice {
    /// Slots have received something.
    Added {
        /// The source.
        source: usize,
        /// The slots.
        slots: BTreeSet<Slot>,
    },
    /// All that was there at a time is read.
    ReadToEnd {
        /// The source.
        source: usize,
        /// The time.
        at: Timestamp,
    },
    /// The source cannot be read.
    Down {
        /// The source.
        source: usize,
        /// Why.
        error: String,
    },
}

/// The closing loop.
pub(super) struct Closer {
    store: StoreId,
    clock: Clock,
    time: Timekeeper,
    buffer: Buffer,
    sources: usize,
    minutes: OpenMinutes,
    through: watch::Sender<Through>,
    cut: watch::Sender<u64>,
    made: watch::Sender<Timestamp>,
    beat: Arc<AtomicU64>,
}

/// Where the closer tells what it does.
pub(super) struct Told {
    /// How far each source is read.
    pub(super) through: watch::Sender<Through>,
    /// The last sequence that was cut.
    pub(super) cut: watch::Sender<u64>,
    /// When the buffer was made.
    pub(super) made: watch::Sender<Timestamp>,
    /// Rises while it works.
    pub(super) beat: Arc<AtomicU64>,
}

impl Closer {
    pub(super) fn new(
        config: &Config,
        buffer: Buffer,
        time: Timekeeper,
        Told { through, cut, made, beat }: Told,
    ) -> Self {
        Self {
            store: config.store.clone(),
            clock: config.clock,
            time,
            buffer,
            sources: config.sources.len(),
            minutes: OpenMinutes::new(config.grace, config.holding),
            through,
            cut,
            made,
            beat,
        }
    }

    /// Closes what is due until all sources have ended, then closes nothing early.
    pub(super) async fn run(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
    ) -> Result<(), BufferError> {
        self.resume().await?;
        let mut upkeep = Upkeep::default();
        loop {
            self.beat.fetch_add(1, Ordering::Relaxed);
            self.keep_up(&mut upkeep).await?;
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.note(notice),
                    None => return Ok(()),
                },
                () = sleep(self.pause()) => {}
            }
            self.close_due().await?;
            self.tell_through();
        }
    }

    /// Takes up the minutes that were open when the agent last ended.
    async fn resume(&mut self) -> Result<(), BufferError> {
        let now = self.time.read().now;
        for slot in insist(|| self.buffer.open_slots()).await? {
            (0..self.sources).for_each(|source| self.minutes.add(slot, source, now));
        }
        Ok(())
    }

    /// Learns the time once it is known, and forgets what is past its horizon from then on.
    async fn keep_up(&mut self, upkeep: &mut Upkeep) -> Result<(), BufferError> {
        let reading = self.time.read();
        if !reading.knows_time() {
            upkeep.learnt = false;
            return Ok(());
        }
        if !upkeep.learnt {
            let learnt = self.buffer.learn_time(reading.now.wall).await;
            match learnt {
                Ok(made) => {
                    self.made.send_replace(made);
                    upkeep.learnt = true;
                }
                Err(error) => return log_failure(Err(error)),
            }
        }
        if upkeep.pruned.is_none_or(|pruned| pruned.elapsed() > PRUNE_PAUSE) {
            log_failure(self.buffer.prune(reading.now.wall).await)?;
            upkeep.pruned = Some(Instant::now());
        }
        Ok(())
    }

    fn pause(&self) -> Duration {
        let next = self.minutes.next_close(self.time.read().now);
        next.map_or(TURN_MOST, |span| self.clock.real_span(span)).min(TURN_MOST)
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Added { source, slots } => {
                let now = self.time.read().now;
                slots.into_iter().for_each(|slot| self.minutes.add(slot, source, now));
            }
            Notice::ReadToEnd { source, at } => {
                self.minutes.read_to_end(source);
                let through = self.minutes.over_through(at);
                self.through.send_modify(|state| state.read(source, through));
            }
            Notice::Down { source, error } => {
                let steady = self.time.read().now.steady;
                self.through.send_modify(|state| state.down(source, error, steady));
            }
        }
    }

    async fn close_due(&mut self) -> Result<(), BufferError> {
        let due = self.minutes.close(self.time.read().now);
        for (at, slot) in due.iter().enumerate() {
            let open =
                due.get(at + 1).map(|slot| slot.0).into_iter().chain(self.minutes.earliest());
            let reading = self.time.read();
            let through = self.complete_through(open.min(), &reading);
            let (store, complete_through) = (self.store.clone(), through);
            let cut = Cut { store, at: reading.now.wall, complete_through };
            match self.buffer.close(*slot, cut).await {
                Ok(sequences) => {
                    if let Some(last) = sequences.last() {
                        self.cut.send_replace(last.get());
                        let minute = slot.0;
                        tracing::debug!(%minute, sequence = %last, "a minute is closed");
                    }
                }
                Err(BufferError::Closed) => return Err(BufferError::Closed),
                Err(error) => {
                    let (minute, error) = (slot.0, Chain(&error).to_string());
                    tracing::error!(%minute, error, "the minute could not be closed; it stays open");
                    let now = self.time.read().now;
                    // No source has this number, so that only the holding time closes them again.
                    due[at..].iter().for_each(|slot| self.minutes.add(*slot, self.sources, now));
                    sleep(RETRY_PAUSE).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns the last minute that is read and cut, given the earliest that is still open. A clock
    /// that has stood ahead promises nothing beyond now, one that is not believed nothing at all.
    fn complete_through(&self, open: Option<Minute>, reading: &Reading) -> Option<Minute> {
        if !reading.may_promise() {
            return None;
        }
        let over = self.minutes.over_through(reading.now.wall);
        let read = self.through.borrow().read_through(reading.now.steady);
        match (read.map(|read| read.min(over)), open) {
            (Some(read), Some(open)) => Some(read.min(open.previous())),
            (read, None) => read,
            (None, Some(_)) => None,
        }
    }

    fn tell_through(&self) {
        let reading = self.time.read();
        let through = self.complete_through(self.minutes.earliest(), &reading);
        let error = reading.doubt.map(|doubt| doubt.to_string());
        self.through.send_if_modified(|state| {
            if state.clock_error.is_none()
                && let Some(error) = &error
            {
                tracing::warn!(
                    error,
                    "our own clock is not believed; tills' times stay as they are"
                );
            }
            let same = state.complete == through && state.clock_error == error;
            (state.complete, state.clock_error) = (through, error);
            !same
        });
    }
}

/// What the closer has done beside closing.
#[derive(Default)]
struct Upkeep {
    /// Whether the buffer has heard the time.
    learnt: bool,
    pruned: Option<Instant>,
}

/// Logs a failure that the next try may mend; only a closed buffer ends the loop.
fn log_failure(outcome: Result<(), BufferError>) -> Result<(), BufferError> {
    match outcome {
        Err(BufferError::Closed) => Err(BufferError::Closed),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the buffer could not forget old rows");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
