//! Which minutes are open, and when each closes. Holds no receipts: those lie in the buffer.
//!
//! A minute that receives its receipts as they happen closes a grace after its end. A minute that
//! was over when its receipt came (a backfill, a late file, the first minutes after a restart)
//! waits for the rest: until its sources have been read to their end, or for the holding time. No
//! minute stays open longer than [`OPEN_MOST`], whatever the wall clock does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::time::{BusinessDay, Minute, Timestamp};

/// How long a minute stays open at most, by a clock that only runs forward.
pub const OPEN_MOST: Duration = Duration::from_secs(120);

/// An instant by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since the agent started, which never jumps.
    pub steady: Duration,
}

/// A minute and business day: what one batch is of.
pub type Slot = (Minute, BusinessDay);

/// The minutes that are open.
#[derive(Debug)]
pub struct OpenMinutes {
    grace: Duration,
    holding: Duration,
    open: BTreeMap<Slot, Entry>,
}

#[derive(Debug)]
struct Entry {
    opened: Duration,
    late: bool,
    waits_for: BTreeSet<usize>,
}

impl OpenMinutes {
    /// Makes an empty set; `holding` is what minutes wait that are over already.
    pub fn new(grace: Duration, holding: Duration) -> Self {
        Self { grace, holding, open: BTreeMap::new() }
    }

    /// Notes that the slot has received something from a source.
    pub fn add(&mut self, slot: Slot, source: usize, now: Now) {
        let late = self.is_over(slot, now.wall);
        let fresh = || Entry { opened: now.steady, late, waits_for: BTreeSet::new() };
        self.open.entry(slot).or_insert_with(fresh).waits_for.insert(source);
    }

    /// Notes that a source has been read to its end: minutes that are over wait for it no more.
    pub fn read_to_end(&mut self, source: usize) {
        for entry in self.open.values_mut() {
            entry.waits_for.remove(&source);
        }
    }

    /// Takes out every slot that is due, the oldest first.
    pub fn close(&mut self, now: Now) -> Vec<Slot> {
        let due = |(slot, entry): &(&Slot, &Entry)| self.wait(**slot, entry, now).is_zero();
        let due: Vec<Slot> = self.open.iter().filter(due).map(|(slot, _)| *slot).collect();
        for slot in &due {
            self.open.remove(slot);
        }
        due
    }

    /// Tells how long until `close` has work, so that the caller can sleep until then.
    pub fn next_close(&self, now: Now) -> Option<Duration> {
        self.open.iter().map(|(slot, entry)| self.wait(*slot, entry, now)).min()
    }

    /// Returns the earliest minute that is open.
    pub fn earliest(&self) -> Option<Minute> {
        self.open.keys().next().map(|slot| slot.0)
    }

    /// Returns the latest minute whose grace is over.
    pub fn over_through(&self, wall: Timestamp) -> Minute {
        wall.minus(self.grace).minute().previous()
    }

    fn is_over(&self, slot: Slot, wall: Timestamp) -> bool {
        slot.0.end().plus(self.grace) <= wall
    }

    fn wait(&self, slot: Slot, entry: &Entry, now: Now) -> Duration {
        let held = |most: Duration| (entry.opened + most).saturating_sub(now.steady);
        let planned = if !entry.late {
            slot.0.end().plus(self.grace).since(now.wall)
        } else if entry.waits_for.is_empty() {
            Duration::ZERO
        } else {
            held(self.holding)
        };
        planned.min(held(OPEN_MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: &str, steady: u64) -> Now {
        Now { wall: wall.parse().unwrap(), steady: Duration::from_secs(steady) }
    }

    fn slot(minute: &str) -> Slot {
        (minute.parse().unwrap(), "2026-11-23".parse().unwrap())
    }

    fn open() -> OpenMinutes {
        OpenMinutes::new(Duration::from_secs(5), Duration::from_secs(10))
    }

    #[test]
    fn a_live_minute_closes_a_grace_after_its_end_and_not_before() {
        let mut minutes = open();
        let live = slot("2026-11-23T09:41:00Z");
        minutes.add(live, 0, now("2026-11-23T09:41:07Z", 0));
        minutes.read_to_end(0);
        let before = now("2026-11-23T09:42:04Z", 57);
        assert_eq!(minutes.close(before), []);
        assert_eq!(minutes.next_close(before), Some(Duration::from_secs(1)));
        assert_eq!(minutes.close(now("2026-11-23T09:42:05Z", 58)), [live]);
        assert_eq!(minutes.next_close(before), None);
    }

    #[test]
    fn minutes_that_are_over_close_together_when_the_source_is_read_to_its_end() {
        let mut minutes = open();
        let slots = [slot("2026-11-23T07:00:00Z"), slot("2026-11-23T07:01:00Z")];
        let at = now("2026-11-23T09:41:07Z", 0);
        minutes.add(slots[1], 0, at);
        minutes.add(slots[0], 0, at);
        minutes.add(slots[0], 1, at);
        assert_eq!(minutes.close(at), []);
        minutes.read_to_end(0);
        assert_eq!(minutes.close(at), [slots[1]]);
        minutes.read_to_end(1);
        assert_eq!(minutes.close(at), [slots[0]]);
    }

    #[test]
    fn minutes_that_are_over_wait_no_longer_than_the_holding_time() {
        let mut minutes = open();
        let late = slot("2026-11-23T07:00:00Z");
        minutes.add(late, 0, now("2026-11-23T09:41:07Z", 100));
        minutes.add(late, 0, now("2026-11-23T09:41:16Z", 109));
        assert_eq!(minutes.close(now("2026-11-23T09:41:16Z", 109)), []);
        assert_eq!(minutes.close(now("2026-11-23T09:41:17Z", 110)), [late]);
    }

    #[test]
    fn no_minute_stays_open_when_the_wall_clock_stands_or_falls_back() {
        let mut minutes = open();
        let live = slot("2026-11-23T09:41:00Z");
        minutes.add(live, 0, now("2026-11-23T09:41:07Z", 0));
        assert_eq!(minutes.close(now("2026-11-23T08:00:00Z", 119)), []);
        assert_eq!(minutes.close(now("2026-11-23T08:00:00Z", 120)), [live]);
    }
}
