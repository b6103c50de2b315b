//! One source's way into the buffer: chunks, units, receipts, places, one transaction. The mark
//! goes with what it covers; the source hears of it only when the disk has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shared::backoff::Backoff;
use shared::log::Chain;
use shared::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::closing::Notice;
use super::time::Timekeeper;
use crate::aggregate::open::Slot;
use crate::aggregate::{Company, Place, Rules};
use crate::buffer::{Buffer, BufferError, Claim, Entry, Intake, IntakeUnit, Sharing, Supply};
use crate::config::Role;
use crate::format::{self, Decoder, Format, Framed, Framer, Item, Unit};
use crate::source::{self, Completeness, Ending, Event, Fate, Form, Source, SourceError};

/// What takes a source in.
pub(super) struct Intaker {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) supply: Supply,
    pub(super) format: Format,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) rules: Rules,
    /// When the buffer was made; only where another box may have counted before.
    pub(super) made: Option<watch::Receiver<Timestamp>>,
    pub(super) time: Timekeeper,
    pub(super) buffer: Buffer,
    pub(super) stop: watch::Receiver<bool>,
}

/// The feeds that have begun and not ended, and the one that is spoken of. A source bounds how many
/// it has open at once.
#[derive(Default)]
struct Feeds {
    open: BTreeMap<String, Box<dyn Framer>>,
    present: String,
}

impl Feeds {
    fn begin(&mut self, name: String, framer: Box<dyn Framer>) {
        self.present.clone_from(&name);
        self.open.insert(name, framer);
    }

    fn resume(&mut self, name: String) {
        assert!(self.open.contains_key(&name), "a feed is resumed before its end");
        self.present = name;
    }

    fn framer(&mut self) -> &mut dyn Framer {
        let framer = self.open.get_mut(&self.present);
        framer.expect("a source begins a feed before it reads it").as_mut()
    }

    /// Forgets a feed that could not be read on.
    fn forget(&mut self, name: &str) {
        self.open.remove(name);
    }

    /// Takes the present feed out.
    fn end(&mut self) -> Box<dyn Framer> {
        let framer = self.open.remove(&self.present);
        framer.expect("a source begins a feed before it ends it")
    }
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
        let mut feeds = Feeds::default();
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
                    self.handle(event, &mut feeds, &mut source, &notices).await?;
                }
                Err(error) => {
                    if let SourceError::Feed { feed, .. } = &error {
                        feeds.forget(feed);
                    }
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
        feeds: &mut Feeds,
        source: &mut S,
        notices: &Notices,
    ) -> Result<(), BufferError> {
        let framed = match event {
            Event::Begin { feed, place } => {
                let mut framer = self.format.framer(place.offset);
                framer.remember(place.memory);
                feeds.begin(feed, framer);
                return Ok(());
            }
            Event::Resume { feed } => {
                feeds.resume(feed);
                return Ok(());
            }
            Event::Idle(at) => {
                tell(&notices.1, Notice::ReadToEnd { source: notices.0, at }).await;
                return Ok(());
            }
            Event::End(ending) => {
                let feed = feeds.present.clone();
                let (mark, units) = self.end(&ending, (&feed, feeds.end()), source);
                return self.take((&feed, mark), units, source, notices).await;
            }
            Event::Bytes(bytes) => feeds.framer().push(&bytes),
            Event::Quiet => feeds.framer().quiet(),
        };
        let last = feeds.framer().ended().pop();
        if framed.is_empty() && last.is_none() {
            return Ok(());
        }
        let mark = source.mark(place(feeds.framer()), Completeness::Partial);
        let units: Vec<IntakeUnit> = framed.into_iter().map(|framed| self.unit(framed)).collect();
        // A telegram that makes no unit yet is on disk by the mark of a source that keeps it there;
        // any other source answers nobody.
        if units.is_empty() && mark.is_none() {
            return Ok(());
        }
        self.take((&feeds.present, mark), units, source, notices).await?;
        match last {
            Some(format::Form::Sound) => source.answer(Form::Sound),
            Some(format::Form::Garbled) => source.answer(Form::Garbled),
            None => {}
        }
        Ok(())
    }

    /// Ends a feed. A remainder that is only now known to be refused, or to be a unit, does not move
    /// the mark: should the file grow after all, its last unit is read whole.
    fn end<S: Source>(
        &mut self,
        ending: &Ending,
        (feed, mut framer): (&str, Box<dyn Framer>),
        source: &mut S,
    ) -> (Option<String>, Vec<IntakeUnit>) {
        let quiet = framer.quiet();
        let mut units: Vec<IntakeUnit> =
            quiet.into_iter().map(|framed| self.unit(framed)).collect();
        let whole = if framer.complete() { Completeness::Whole } else { Completeness::Partial };
        let mark = source.mark(place(framer.as_ref()), whole);
        if *ending != Ending::Open
            && let Some(rest) = framer.finish()
        {
            units.push(self.unit(rest));
        }
        if let Ending::Damaged(why) = ending {
            let at = framer.position();
            let entries = vec![Entry::Refused(why.clone(), None)];
            let bytes = feed.as_bytes().to_vec();
            units.push(IntakeUnit { start: at, end: at, bytes, entries });
        }
        (mark, units)
    }

    /// Reads bytes that are no feed's any more, as one that ends with them.
    pub(super) fn read(&mut self, start: u64, bytes: &[u8]) -> Vec<IntakeUnit> {
        let mut framer = self.format.framer(start);
        let mut framed = framer.push(bytes);
        framed.extend(framer.quiet());
        framed.extend(framer.finish());
        framed.into_iter().map(|framed| self.unit(framed)).collect()
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
            Ok(items) => {
                let role = self.role;
                let wanted = items.into_iter().filter(|item| role.wants(item));
                wanted.map(|item| self.entry(item)).collect()
            }
            Err(refusal) => vec![Entry::Refused(refusal.reason, None)],
        }
    }

    fn entry(&mut self, item: Item) -> Entry {
        let now = self.time.read().believed();
        self.rules.counted_since = self.made.as_ref().map(|made| *made.borrow());
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
            Item::Closing(closing) => match self.rules.place_closing(&closing, now) {
                Ok(place) => Entry::Closing(slot(place), closing),
                Err(fault) => Entry::Refused(format!("closing {}: {fault}", closing.closing), None),
            },
            Item::Refused(refusal) => Entry::Refused(refusal.reason, None),
        }
    }

    /// Commits, then tells. A disk that takes nothing holds the source back until it does, or until
    /// the agent ends: what was not committed is read again.
    async fn take<S: Source>(
        &mut self,
        (feed, mark): (&str, Option<String>),
        units: Vec<IntakeUnit>,
        source: &mut S,
        notices: &Notices,
    ) -> Result<(), BufferError> {
        let (name, feed, at) = (self.name.clone(), feed.to_owned(), self.time.stamp());
        let (claim, supply) = (self.role.claim(), self.supply);
        let intake = Arc::new(Intake { source: name, feed, claim, supply, mark, at, units });
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 1);
        let taken = loop {
            match self.buffer.take(Arc::clone(&intake)).await {
                Ok(taken) => break taken,
                Err(BufferError::Closed) => return Err(BufferError::Closed),
                Err(error) => {
                    let what = Chain(&error).to_string();
                    tracing::error!(source = %self.name, error = %what, "the source is held back");
                    source.held_back();
                    tell(&notices.1, Notice::Down { source: notices.0, error: what }).await;
                    tokio::select! {
                        () = sleep(backoff.next_wait()) => {}
                        _ = self.stop.wait_for(|stop| *stop) => return Err(error),
                    }
                }
            }
        };
        source.committed(if taken.quarantined > 0 { Fate::SetAside } else { Fate::Taken });
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

/// Returns how far a framer has taken its feed in.
fn place(framer: &dyn Framer) -> source::Place {
    source::Place { offset: framer.position(), memory: framer.memory() }
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

impl Role {
    /// Returns what receipts of such a source are worth.
    pub(super) fn claim(self) -> Claim {
        match self {
            Self::Counts => Claim::Counts,
            Self::Backfills | Self::Mapped | Self::Closings => Claim::Backfills,
        }
    }

    /// Tells whether a source of this role brings such an item. What another source counts and this
    /// one cannot join with it by the fiscal device's number is left to that one.
    fn wants(self, item: &Item) -> bool {
        match (self, item) {
            (Self::Counts, _) | (_, Item::Closing(_) | Item::Refused(_)) => true,
            (Self::Backfills, Item::Receipt(receipt)) => receipt.counts && receipt.fiscal.is_some(),
            (Self::Mapped, Item::Receipt(receipt)) => receipt.counts,
            (Self::Backfills | Self::Mapped, Item::Movement(_)) => true,
            (Self::Closings, Item::Receipt(_) | Item::Movement(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests;
