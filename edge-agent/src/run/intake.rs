//! One source's way into the buffer: chunks, units, receipts, places, one transaction. The mark
//! goes with what it covers; the source hears of it only when the disk has it.

use std::sync::Arc;
use std::time::Duration;

use shared::backoff::Backoff;
use shared::log::Chain;
use shared::time::Clock;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::closing::Notice;
use crate::aggregate::open::Slot;
use crate::aggregate::{Company, Place, Rules};
use crate::buffer::{Buffer, BufferError, Entry, Intake, IntakeUnit, Sharing};
use crate::format::{Decoder, Format, Framed, Framer, Item, Unit};
use crate::source::{Completeness, Ending, Event, Source};

/// What takes a source in.
pub(super) struct Intaker {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) rules: Rules,
    pub(super) clock: Clock,
    pub(super) buffer: Buffer,
    pub(super) stop: watch::Receiver<bool>,
}

/// The feed that is being read.
struct Feed {
    name: String,
    framer: Box<dyn Framer>,
}

/// Where notices go, and the source's place in the configuration.
type Notices = (usize, mpsc::Sender<Notice>);

impl Intaker {
    /// Takes in until told to stop. Fails only where the buffer is closed.
    pub(super) async fn run<S: Source>(
        mut self,
        mut source: S,
        notices: Notices,
    ) -> Result<(), BufferError> {
        let mut stop = self.stop.clone();
        let mut feed = None;
        let mut backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(5), notices.0 as u64);
        loop {
            let event = tokio::select! {
                event = source.next() => event,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            match event {
                Ok(event) => {
                    backoff.reset();
                    self.handle(event, &mut feed, &mut source, &notices).await?;
                }
                Err(error) => {
                    let what = Chain(&error).to_string();
                    tracing::warn!(source = %self.name, error = %what, "the source cannot be read");
                    tell(&notices.1, Notice::Down { source: notices.0, error: what }).await;
                    tokio::select! {
                        () = sleep(backoff.next_wait()) => {}
                        _ = stop.wait_for(|stop| *stop) => return Ok(()),
                    }
                }
            }
        }
    }

    async fn handle<S: Source>(
        &mut self,
        event: Event,
        feed: &mut Option<Feed>,
        source: &mut S,
        notices: &Notices,
    ) -> Result<(), BufferError> {
        match (event, feed) {
            (Event::Begin { feed: name, offset }, feed) => {
                *feed = Some(Feed { name, framer: self.format.framer(offset) });
                Ok(())
            }
            (Event::Bytes(bytes), Some(feed)) => {
                let framed = feed.framer.push(&bytes);
                if framed.is_empty() {
                    return Ok(());
                }
                let mark = source.mark(feed.framer.position(), Completeness::Partial);
                let units = framed.into_iter().map(|framed| self.unit(framed)).collect();
                self.take((&feed.name, mark), units, notices).await?;
                source.committed();
                Ok(())
            }
            (Event::End(ending), Some(feed)) => {
                let (mark, units) = self.end(&ending, feed, source);
                self.take((&feed.name, mark), units, notices).await?;
                source.committed();
                Ok(())
            }
            (Event::Idle(at), _) => {
                tell(&notices.1, Notice::ReadToEnd { source: notices.0, at }).await;
                Ok(())
            }
            (Event::Bytes(_) | Event::End(_), None) => {
                unreachable!("a source begins a feed before it reads it")
            }
        }
    }

    /// Ends a feed. A refused remainder does not move the mark: should the file grow after all, its
    /// last unit is read whole.
    fn end<S: Source>(
        &mut self,
        ending: &Ending,
        feed: &mut Feed,
        source: &mut S,
    ) -> (String, Vec<IntakeUnit>) {
        let whole =
            if feed.framer.complete() { Completeness::Whole } else { Completeness::Partial };
        let mark = source.mark(feed.framer.position(), whole);
        let mut units = Vec::new();
        if *ending != Ending::Open
            && let Some(rest) = feed.framer.finish()
        {
            units.push(self.unit(rest));
        }
        if let Ending::Damaged(why) = ending {
            let at = feed.framer.position();
            let entries = vec![Entry::Refused(why.clone(), None)];
            let bytes = feed.name.clone().into_bytes();
            units.push(IntakeUnit { start: at, end: at, bytes, entries });
        }
        (mark, units)
    }

    fn unit(&mut self, framed: Framed) -> IntakeUnit {
        let (unit, entries) = match framed {
            Framed::Refused { unit, reason } => (unit, vec![Entry::Refused(reason.reason, None)]),
            Framed::Unit(unit) => {
                let entries = self.entries(&unit);
                (unit, entries)
            }
        };
        IntakeUnit { start: unit.start, end: unit.end, bytes: unit.bytes, entries }
    }

    fn entries(&mut self, unit: &Unit) -> Vec<Entry> {
        match self.decoder.decode(unit) {
            Ok(items) => items.into_iter().map(|item| self.entry(item)).collect(),
            Err(refusal) => vec![Entry::Refused(refusal.reason, None)],
        }
    }

    fn entry(&self, item: Item) -> Entry {
        let now = self.clock.now();
        match item {
            Item::Receipt(mut receipt) => match self.rules.place_receipt(&mut receipt, now) {
                Ok(place) => Entry::Receipt(slot(place), sharing(place), receipt),
                Err(fault) => {
                    let (till, number) = (receipt.till, receipt.receipt);
                    let why = format!("receipt {number} of till {till}: {fault}");
                    Entry::Refused(why, Some(till))
                }
            },
            Item::Movement(movement) => match self.rules.place_movement(&movement, now) {
                Ok(place) => Entry::Movement(slot(place), movement),
                Err(fault) => Entry::Refused(format!("movement {}: {fault}", movement.id), None),
            },
        }
    }

    /// Commits, then tells. A disk that takes nothing holds the source back until it does, or until
    /// the agent ends: what was not committed is read again.
    async fn take(
        &mut self,
        (feed, mark): (&str, String),
        units: Vec<IntakeUnit>,
        notices: &Notices,
    ) -> Result<(), BufferError> {
        let (source, feed, at) = (self.name.clone(), feed.to_owned(), self.clock.now());
        let intake = Arc::new(Intake { source, feed, mark: Some(mark), at, units });
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 1);
        let taken = loop {
            match self.buffer.take(Arc::clone(&intake)).await {
                Ok(taken) => break taken,
                Err(BufferError::Closed) => return Err(BufferError::Closed),
                Err(error) => {
                    let what = Chain(&error).to_string();
                    tracing::error!(source = %self.name, error = %what, "the source is held back");
                    tell(&notices.1, Notice::Down { source: notices.0, error: what }).await;
                    tokio::select! {
                        () = sleep(backoff.next_wait()) => {}
                        _ = self.stop.wait_for(|stop| *stop) => return Err(error),
                    }
                }
            }
        };
        if taken.quarantined > 0 {
            let (source, feed) = (&intake.source, &intake.feed);
            tracing::warn!(%source, %feed, units = taken.quarantined, "set aside with its bytes");
        }
        if !taken.slots.is_empty() {
            tell(&notices.1, Notice::Added { source: notices.0, slots: taken.slots }).await;
        }
        Ok(())
    }
}

/// Tells the closer. It lives as long as any source does, but for a failure that ends the agent.
async fn tell(notices: &mpsc::Sender<Notice>, notice: Notice) {
    if notices.send(notice).await.is_err() {
        tracing::debug!("the closer has ended");
    }
}

fn slot(place: Place) -> Slot {
    (place.minute, place.business_day)
}

fn sharing(place: Place) -> Sharing {
    match place.company {
        Company::Shared => Sharing::Shared,
        Company::Alone => Sharing::Alone,
    }
}
