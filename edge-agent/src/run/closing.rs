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

use crate::aggregate::open::{Now, OpenMinutes, Slot};
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
    buffer: Buffer,
    started: Instant,
    sources: usize,
    minutes: OpenMinutes,
    through: watch::Sender<Through>,
    cut: watch::Sender<u64>,
    beat: Arc<AtomicU64>,
}

impl Closer {
    pub(super) fn new(
        config: &Config,
        buffer: Buffer,
        (through, cut): (watch::Sender<Through>, watch::Sender<u64>),
        beat: Arc<AtomicU64>,
    ) -> Self {
        Self {
            store: config.store.clone(),
            clock: config.clock,
            buffer,
            started: Instant::now(),
            sources: config.sources.len(),
            minutes: OpenMinutes::new(config.grace, config.holding),
            through,
            cut,
            beat,
        }
    }

    /// Closes what is due until all sources have ended, then closes nothing early.
    pub(super) async fn run(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
    ) -> Result<(), BufferError> {
        self.resume().await?;
        let mut pruned: Option<Instant> = None;
        loop {
            self.beat.fetch_add(1, Ordering::Relaxed);
            if pruned.is_none_or(|pruned| pruned.elapsed() > PRUNE_PAUSE) {
                log_failure(self.buffer.prune(self.clock.now()).await)?;
                pruned = Some(Instant::now());
            }
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
        let now = self.now();
        for slot in self.buffer.open_slots().await? {
            (0..self.sources).for_each(|source| self.minutes.add(slot, source, now));
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let steady = self.started.elapsed().saturating_mul(self.clock.speed());
        Now { wall: self.clock.now(), steady }
    }

    fn pause(&self) -> Duration {
        let next = self.minutes.next_close(self.now());
        next.map_or(TURN_MOST, |span| self.clock.real_span(span)).min(TURN_MOST)
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Added { source, slots } => {
                let now = self.now();
                slots.into_iter().for_each(|slot| self.minutes.add(slot, source, now));
            }
            Notice::ReadToEnd { source, at } => {
                self.minutes.read_to_end(source);
                let through = self.minutes.over_through(at);
                self.through.send_modify(|state| state.read(source, through));
            }
            Notice::Down { source, error } => {
                let now = self.clock.now();
                self.through.send_modify(|state| state.down(source, error, now));
            }
        }
    }

    async fn close_due(&mut self) -> Result<(), BufferError> {
        let due = self.minutes.close(self.now());
        for (at, slot) in due.iter().enumerate() {
            let open =
                due.get(at + 1).map(|slot| slot.0).into_iter().chain(self.minutes.earliest());
            let through = self.complete_through(open.min());
            let cut =
                Cut { store: self.store.clone(), at: self.clock.now(), complete_through: through };
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
                    let now = self.now();
                    // No source has this number, so that only the holding time closes them again.
                    due[at..].iter().for_each(|slot| self.minutes.add(*slot, self.sources, now));
                    sleep(RETRY_PAUSE).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns the last minute that is read and cut, given the earliest that is still open.
    fn complete_through(&self, open: Option<Minute>) -> Option<Minute> {
        let read = self.through.borrow().read_through(self.clock.now());
        match (read, open) {
            (Some(read), Some(open)) => Some(read.min(open.previous())),
            (read, None) => read,
            (None, Some(_)) => None,
        }
    }

    fn tell_through(&self) {
        let through = self.complete_through(self.minutes.earliest());
        self.through.send_if_modified(|state| {
            let before = std::mem::replace(&mut state.complete, through);
            before != through
        });
    }
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
