//! What a source remembers of its files, in some ninety bytes each: a store may leave tens of
//! thousands of them lying. Names and stamps are kept as short numbers: two that fall together cost a
//! second reading, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::time::Clock;
use tokio::time::Instant;

use super::hints::Writer;
use super::mount::Disk;
use super::stamp::{Candidate, Shape, Stamp, short};
use crate::source::Place;

/// Files remembered beyond those that lie in the folder: more are forgotten, and read again should
/// they come back.
const ABSENT_MAX: usize = 16_384;

/// Closed files that are remembered: more wait for their age.
const CLOSED_MAX: usize = 4096;

/// Files that could not be read and are left alone for a while; more are tried at every listing.
const TROUBLES_MAX: usize = 256;

/// Bundles whose standing still is watched; more wait for these.
const SETTLING_MAX: usize = 256;

/// How long a file that could not be read is left alone, at first and at most.
const TROUBLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often a file on a share is read whole whose size and edges stay while its times move.
const PROOF: Duration = Duration::from_secs(3600);

/// How long nothing is moved away after that has failed.
const MOVE_PAUSE: Duration = Duration::from_secs(60);

/// Where a file stands, as it is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) offset: u64,
    /// What whoever reads on must know of the bytes before `offset`.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) memory: u64,
    /// The first half of the SHA-256 of all bytes before `offset`.
    pub(super) hash: String,
    /// The file as it was when it was last read to its end; nothing where it was not.
    pub(super) stamp: Option<Stamp>,
    pub(super) state: State,
    /// Hash of the file's first and last bytes, on a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) edges: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Being read, or with a tail that waits.
    #[default]
    Open,
    /// Read to its end.
    Done,
}

fn is_nothing(memory: &u64) -> bool {
    *memory == 0
}

/// A mark in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    hash: u128,
    offset: u64,
    memory: u64,
    size: u64,
    stamp: u64,
    edges: u64,
    /// When the content was last proved whole, in seconds of the source's life.
    proved: u32,
    /// The listing that last saw the file.
    seen: u32,
    state: State,
}

/// How a file is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// From its mark on, its beginning proved.
    Whole,
    /// Its edges alone: only its times have moved.
    Edges,
}

/// What decides on a look beside the marks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Age at which an unfinished file is taken for finished.
    pub(super) tail: Duration,
    /// How long a bundle stands still before it is read.
    pub(super) settle: Duration,
    /// Whether what is read to its end is moved away.
    pub(super) moves: bool,
}

/// The marks of a source's files, as the buffer has them.
#[derive(Debug, Default)]
pub struct Marks(BTreeMap<u64, Known>);

impl Marks {
    /// Adds a page of marks. One that cannot be read costs a second reading of its file.
    pub fn add(&mut self, page: &[(String, String)]) {
        for (name, mark) in page {
            match serde_json::from_str(mark) {
                Ok(mark) => drop(self.0.insert(short(name.as_str()), known(&mark))),
                Err(error) => tracing::warn!(%name, %error, "a mark is not readable"),
            }
        }
    }
}

fn known(mark: &Mark) -> Known {
    Known {
        hash: u128::from_str_radix(&mark.hash, 16).unwrap_or_default(),
        offset: mark.offset,
        memory: mark.memory,
        size: mark.stamp.map_or(0, |stamp| stamp.size),
        stamp: mark.stamp.map_or(0, |stamp| stamp.print()),
        edges: mark.edges.unwrap_or_default(),
        state: mark.state,
        ..Known::default()
    }
}

/// What is known of all files.
pub(super) struct Files {
    marks: BTreeMap<u64, Known>,
    closed: BTreeSet<String>,
    settling: BTreeMap<String, (Stamp, Instant)>,
    troubles: BTreeMap<String, (Instant, Duration)>,
    habits: Habits,
    began: Instant,
    round: u32,
    move_again: Instant,
    pub(super) disk: Disk,
}

impl Files {
    pub(super) fn new(marks: Marks, habits: Habits) -> Self {
        let began = Instant::now();
        Self {
            marks: marks.0,
            closed: BTreeSet::new(),
            settling: BTreeMap::new(),
            troubles: BTreeMap::new(),
            habits,
            began,
            round: 0,
            move_again: began,
            disk: Disk::Local,
        }
    }

    /// Begins a listing and returns its number.
    pub(super) fn begin_round(&mut self) -> u32 {
        self.round = self.round.wrapping_add(1);
        self.round
    }

    /// Notes that the listing sees a file; tells whether it is known.
    pub(super) fn see(&mut self, name: &str) -> bool {
        let (known, round) = (self.marks.get_mut(&short(name)), self.round);
        known.map(|known| known.seen = round).is_some()
    }

    /// Ends a listing that saw so many files: of those that are gone, many are forgotten.
    pub(super) fn end_round(&mut self, matched: usize) {
        if self.marks.len() > matched.saturating_add(ABSENT_MAX) {
            self.marks.retain(|_, known| known.seen == self.round);
        }
    }

    /// Returns how many files are known.
    pub(super) fn count(&self) -> usize {
        self.marks.len()
    }

    /// Tells how a file has to be looked at: it has other bytes, or a tail that waits no more.
    pub(super) fn look(&self, candidate: &Candidate) -> Option<Look> {
        let Some(known) = self.known(&candidate.name) else { return Some(Look::Whole) };
        if known.stamp == candidate.stamp.print() {
            let again = match known.state {
                State::Open => true,
                State::Done => self.habits.moves && Instant::now() >= self.move_again,
            };
            return (again && self.is_finished(candidate)).then_some(Look::Whole);
        }
        let proved = self.age().saturating_sub(known.proved) < seconds(PROOF);
        let alike = known.stamp != 0 && known.edges != 0 && known.size == candidate.stamp.size;
        let edges = alike && proved && self.disk != Disk::Local;
        Some(if edges { Look::Edges } else { Look::Whole })
    }

    /// Tells whether a bundle that has something new has stood still for long enough.
    pub(super) fn is_settled(&mut self, candidate: &Candidate) -> bool {
        let (name, now) = (&candidate.name, Instant::now());
        match self.settling.get(name) {
            Some((stamp, since)) if *stamp == candidate.stamp => {
                now.duration_since(*since) >= self.habits.settle
            }
            Some(_) => {
                self.settling.insert(name.clone(), (candidate.stamp, now));
                false
            }
            None => {
                if self.settling.len() < SETTLING_MAX {
                    self.settling.insert(name.clone(), (candidate.stamp, now));
                }
                false
            }
        }
    }

    /// Tells whether nothing will be added to a file.
    pub(super) fn is_finished(&self, candidate: &Candidate) -> bool {
        let age = || candidate.stamp.modified_at().map(|at| Clock::real().now().since(at));
        candidate.shape == Shape::Bundle
            || self.closed.contains(&candidate.name)
            || age().is_none_or(|age| age > self.habits.tail)
    }

    /// Returns the place at which a file is read on, and the hash of what stands before it.
    pub(super) fn place(&self, name: &str) -> (Place, u128) {
        let place = |known: &Known| Place { offset: known.offset, memory: known.memory };
        self.known(name).map_or_else(Default::default, |known| (place(known), known.hash))
    }

    /// Returns the hash of a file's edges; 0 where none is known.
    pub(super) fn edges(&self, name: &str) -> u64 {
        self.known(name).map_or(0, |known| known.edges)
    }

    /// Notes that only the times of a file have moved.
    pub(super) fn times_moved(&mut self, candidate: &Candidate) {
        if let Some(known) = self.marks.get_mut(&short(candidate.name.as_str())) {
            known.stamp = candidate.stamp.print();
        }
    }

    /// Takes a mark that is committed.
    pub(super) fn commit(&mut self, name: &str, mark: &Mark) {
        let known = Known { proved: self.age(), seen: self.round, ..known(mark) };
        self.marks.insert(short(name), known);
        self.troubles.remove(name);
        self.settling.remove(name);
        // One whose stamp is not to be trusted yet is looked at once more, as a closed one.
        if mark.state == State::Done && mark.stamp.is_some() {
            self.closed.remove(name);
        }
    }

    /// Forgets a file that was moved away.
    pub(super) fn forget(&mut self, name: &str) {
        self.marks.remove(&short(name));
        self.closed.remove(name);
    }

    /// Notes that a file could not be moved away.
    pub(super) fn move_failed(&mut self) {
        self.move_again = Instant::now() + MOVE_PAUSE;
    }

    /// Notes what a hint tells of a file's writer.
    pub(super) fn note_writer(&mut self, name: &str, writer: Writer) {
        match writer {
            Writer::Gone if self.closed.len() < CLOSED_MAX => {
                self.closed.insert(name.to_owned());
            }
            Writer::Busy => drop(self.closed.remove(name)),
            Writer::Gone | Writer::Unknown => {}
        }
    }

    /// Notes that a file cannot be read now.
    pub(super) fn trouble(&mut self, name: &str) {
        let pause = self.troubles.get(name).map_or(TROUBLE.0, |(_, pause)| *pause * 2);
        let pause = pause.min(TROUBLE.1);
        if self.troubles.len() >= TROUBLES_MAX && !self.troubles.contains_key(name) {
            self.troubles.pop_first();
        }
        self.troubles.insert(name.to_owned(), (Instant::now() + pause, pause));
    }

    /// Tells whether a file that could not be read is to be left alone for now.
    pub(super) fn is_left_alone(&self, name: &str) -> bool {
        self.troubles.get(name).is_some_and(|(until, _)| Instant::now() < *until)
    }

    fn known(&self, name: &str) -> Option<&Known> {
        self.marks.get(&short(name))
    }

    fn age(&self) -> u32 {
        seconds(self.began.elapsed())
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
