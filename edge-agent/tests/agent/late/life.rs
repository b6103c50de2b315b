//! The agent's life in a test: its pure parts around a real buffer, on clocks that the plan moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use edge_agent::aggregate::clock::Watch;
use edge_agent::aggregate::open::{Now, OpenMinutes, Slot};
use edge_agent::aggregate::{Company, Oldest, Rules};
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Quota, Settings, Sharing, Supply, Writer,
    time_unknown,
};
use edge_agent::format::{Choice, Format, Framed, Item};
use shared::time::Timestamp;
use tempfile::TempDir;

use super::plan::{Chunk, Plan, Shown};
use super::{BUILT, GRACE, key, wall};
use crate::reading::{context, data};

/// The agent's pure parts around a real buffer, joined as `run` joins them.
pub(super) struct Agent {
    buffer: Buffer,
    writer: Writer,
    minutes: OpenMinutes,
    watch: Watch,
    rules: Rules,
    booted: i64,
    at: i64,
    shown: Vec<Shown>,
    learnt: bool,
    pub(super) doubts: usize,
}

impl Agent {
    pub(super) fn boot(folder: &TempDir, plan: &Plan, at: i64) -> Self {
        let shown = plan.shown.clone();
        let wall = wall(&shown, at).0;
        let now = if wall < BUILT.parse().unwrap() { time_unknown() } else { wall };
        let settings = Settings {
            path: folder.path().join("buffer.db"),
            key: key(folder.path()),
            machine_id: None,
            quota: Quota::UNBOUNDED,
            now,
        };
        let (buffer, writer) = Buffer::open(settings).unwrap();
        let rules = Rules {
            store: "10".parse().unwrap(),
            oldest: Oldest::DaysBack(400),
            zone: chrono_tz::Europe::Berlin,
            business_day_cut: chrono::NaiveTime::from_hms_opt(2, 0, 0).unwrap(),
            counted_since: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let kept = runtime.block_on(buffer.kept()).unwrap();
        let open = runtime.block_on(buffer.open_slots()).unwrap();
        let watch = Watch::new(Some(BUILT.parse().unwrap()), kept.last_cut_at);
        let minutes = OpenMinutes::new(GRACE, Duration::from_secs(10));
        let mut agent = Self {
            buffer,
            writer,
            minutes,
            watch,
            rules,
            booted: at,
            at,
            shown,
            learnt: false,
            doubts: 0,
        };
        let now = agent.now();
        for slot in open {
            (1..=3).for_each(|till| agent.minutes.add(slot, till, now));
        }
        agent
    }

    pub(super) fn reboot(self, folder: &TempDir, plan: &Plan, at: i64) -> Self {
        let doubts = self.doubts;
        self.end();
        Self { doubts, ..Self::boot(folder, plan, at) }
    }

    pub(super) fn end(self) {
        drop(self.buffer);
        self.writer.join();
    }

    fn now(&self) -> Now {
        let steady = Duration::from_secs(u64::try_from(self.at - self.booted).unwrap());
        Now { wall: wall(&self.shown, self.at).0, steady }
    }

    /// Looks at the clock; returns the time where it is believed, and the time to note.
    async fn look(&mut self) -> (Option<Timestamp>, Timestamp) {
        let now = self.now();
        let doubt = self.watch.judge(now, wall(&self.shown, self.at).1);
        self.doubts += usize::from(doubt.is_some());
        if doubt.is_some_and(|doubt| !doubt.knows_time()) {
            self.learnt = false;
            return (None, time_unknown());
        }
        if !std::mem::replace(&mut self.learnt, true) {
            self.buffer.learn_time(now.wall).await.unwrap();
            self.buffer.prune(now.wall).await.unwrap();
        }
        (doubt.is_none().then_some(now.wall), now.wall)
    }

    /// Closes what is due until an instant, and reads all tills to their end now and then.
    pub(super) async fn live_until(&mut self, until: i64) {
        while self.at < until {
            self.look().await;
            let next = self.minutes.next_close(self.now());
            let next =
                next.map_or(3600, |span| i64::try_from(span.as_secs()).unwrap().clamp(1, 3600));
            // The clock may jump in between; whoever sleeps for long would not see it.
            let jump = self.shown.iter().map(|shown| shown.from).find(|&from| from > self.at);
            self.at = (self.at + next).min(until).min(jump.unwrap_or(until));
            self.close().await;
        }
        self.at = until;
    }

    async fn close(&mut self) -> Vec<Slot> {
        let due = self.minutes.close(self.now());
        for &slot in &due {
            let at = self.now().wall;
            let cut = Cut { store: "10".parse().unwrap(), at, complete_through: None };
            let cut = self.buffer.close(slot, cut).await.unwrap();
            assert_eq!(cut.len(), 1, "a minute is cut into one batch at a time");
        }
        due
    }

    /// Takes a burst: each till's chunk, then all is read to its end. Every minute that was over is cut
    /// by that, once, whichever tills brought something for it.
    pub(super) async fn take(&mut self, chunks: &[Chunk]) {
        let now = self.now();
        let mut over = BTreeSet::new();
        for chunk in chunks {
            let slots = self.take_chunk(chunk).await;
            over.extend(slots.iter().filter(|slot| slot.0.end().plus(GRACE) <= now.wall));
            slots.into_iter().for_each(|slot| self.minutes.add(slot, chunk.till, now));
        }
        (1..=3).for_each(|till| self.minutes.read_to_end(till));
        let closed: BTreeSet<Slot> = self.close().await.into_iter().collect();
        assert!(over.is_subset(&closed), "what a burst brings for the past waits for nothing");
    }

    async fn take_chunk(&mut self, chunk: &Chunk) -> BTreeSet<Slot> {
        let (believed, at) = self.look().await;
        let intake = Intake {
            source: format!("till-{}", chunk.till),
            feed: "file".to_owned(),
            claim: Claim::Counts,
            supply: Supply::Waits,
            mark: None,
            at,
            units: self.units(chunk, believed),
        };
        let taken = self.buffer.take(Arc::new(intake)).await.unwrap();
        assert_eq!(taken.quarantined, 0);
        taken.slots
    }

    fn units(&self, chunk: &Chunk, believed: Option<Timestamp>) -> Vec<IntakeUnit> {
        let layout = std::fs::read_to_string(data("telegram/whole/layout.toml")).unwrap();
        let (name, settings) =
            if chunk.till == 3 { ("telegram", Some(&*layout)) } else { ("jsonl", None) };
        let format = Format::find(Choice { name, dialect: None, settings }).unwrap();
        let mut context = context("10", self.rules.zone);
        context.business_day_cut = self.rules.business_day_cut;
        let mut decoder = format.decoder(context);
        let mut framer = format.framer(0);
        let mut framed = framer.push(&chunk.bytes);
        framed.extend(framer.finish());
        let unit = |framed: Framed| {
            let Framed::Unit(unit) = framed else { panic!("{framed:?}") };
            let items = decoder.decode(&unit).unwrap();
            let entries = items.into_iter().map(|item| self.entry(item, believed)).collect();
            IntakeUnit { start: unit.start, end: unit.end, bytes: unit.bytes, entries }
        };
        framed.into_iter().map(unit).collect()
    }

    fn entry(&self, item: Item, believed: Option<Timestamp>) -> Entry {
        let Item::Receipt(mut receipt) = item else { panic!("{item:?}") };
        let place = self.rules.place_receipt(&mut receipt, believed).unwrap();
        assert_eq!(place.company, Company::Shared);
        Entry::Receipt((place.minute, place.business_day), Sharing::Shared, receipt)
    }
}
