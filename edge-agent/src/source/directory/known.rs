//! What a source remembers of its files: little of all of them, and the whole mark of those that were
//! read last. A store may leave tens of thousands of them lying.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::time::Clock;
use tokio::time::Instant;

use super::book::{Book, Entry};
use super::hints::Writer;
use super::mount::Disk;
use super::stamp::{Candidate, Shape, Stamp};

/// Files whose whole mark is kept in memory: those that grow, several times over. The mark of any
/// other file is asked for when it is read on.
const RECENT_MAX: usize = 256;

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

/// Where a file's mark is.
enum Kept {
    /// In memory.
    Here(Mark),
    /// Where marks are written down, if anywhere.
    Written,
    /// Nowhere: the file is new.
    Nowhere,
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

/// Reads the mark of a file where it is written down; nothing where it has none.
pub type Recall =
    Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// The marks of a source's files: those that are written down are known in short.
#[derive(Default)]
pub struct Marks {
    book: Book,
    recall: Option<Recall>,
}

impl Marks {
    /// Knows no file yet; a mark is read whole by `recall`, when its file is.
    pub fn new(recall: Recall) -> Self {
        Self { book: Book::default(), recall: Some(recall) }
    }

    /// Adds a page of marks. One that cannot be read costs a second reading of its file.
    pub fn add(&mut self, page: &[(String, String)]) {
        let known =
            |(name, mark): &(String, String)| Some(Entry::new(name, &parse(name, mark)?, 0));
        self.book.add(page.iter().filter_map(known));
    }

    /// Takes out what reads a mark whole.
    pub(super) fn take_recall(&mut self) -> Option<Recall> {
        self.recall.take()
    }
}

/// Reads a mark as it is written down.
fn parse(name: &str, mark: &str) -> Option<Mark> {
    match serde_json::from_str(mark) {
        Ok(mark) => Some(mark),
        Err(error) => {
            tracing::warn!(%name, %error, "a mark is not readable");
            None
        }
    }
}

/// What is known of all files.
pub(super) struct Files {
    book: Book,
    /// The whole marks of files that were read last.
    recent: BTreeMap<String, Mark>,
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
            book: marks.book,
            recent: BTreeMap::new(),
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
        self.book.begin_round();
        self.round
    }

    /// Notes that the listing sees a file; tells whether it is known.
    pub(super) fn see(&mut self, name: &str) -> bool {
        self.book.get_mut(name).map(Entry::see).is_some()
    }

    /// Ends a listing that saw so many files: of those that are gone, many are forgotten.
    pub(super) fn end_round(&mut self, matched: usize) {
        self.book.end_round(matched);
    }

    /// Returns how many files are known.
    pub(super) fn count(&self) -> usize {
        self.book.len()
    }

    /// Tells how a file has to be looked at: it has other bytes, or a tail that waits no more.
    pub(super) fn look(&self, candidate: &Candidate) -> Option<Look> {
        let Some(known) = self.book.get(&candidate.name) else { return Some(Look::Whole) };
        if known.looks_like(&candidate.stamp) {
            let again = match known.state() {
                State::Open => true,
                State::Done => self.habits.moves && Instant::now() >= self.move_again,
            };
            return (again && self.is_finished(candidate)).then_some(Look::Whole);
        }
        let proved = self.age().saturating_sub(known.proved()) < seconds(PROOF);
        let edges = known.has_edges() && proved && self.disk != Disk::Local;
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

    /// Returns the mark of a file that was read lately, or tells whether one may be written down.
    fn mark(&self, name: &str) -> Kept {
        match self.recent.get(name) {
            Some(mark) => Kept::Here(mark.clone()),
            None if self.book.may_hold(name) => Kept::Written,
            None => Kept::Nowhere,
        }
    }

    /// Remembers a file that was forgotten, by its mark as it is written down.
    fn remember(&mut self, name: &str, mark: &Mark) {
        if mark.stamp.is_some() && self.book.get(name).is_none() {
            self.note(name, mark, 0);
        }
    }

    /// Tells whether a file's edges and its size are as they were.
    pub(super) fn has_edges(&self, candidate: &Candidate, edges: u64) -> bool {
        let known = self.book.get(&candidate.name);
        known.is_some_and(|known| known.has_these(edges, candidate.stamp.size))
    }

    /// Notes that only the times of a file have moved.
    pub(super) fn times_moved(&mut self, candidate: &Candidate) {
        if let Some(known) = self.book.get_mut(&candidate.name) {
            known.look_like(&candidate.stamp);
        }
    }

    /// Takes a mark that is committed.
    pub(super) fn commit(&mut self, name: &str, mark: &Mark) {
        self.note(name, mark, self.age());
        if self.recent.len() >= RECENT_MAX && !self.recent.contains_key(name) {
            self.recent.pop_first();
        }
        self.recent.insert(name.to_owned(), mark.clone());
        self.troubles.remove(name);
        self.settling.remove(name);
        // One whose stamp is not to be trusted yet is looked at once more, as a closed one.
        if mark.state == State::Done && mark.stamp.is_some() {
            self.closed.remove(name);
        }
    }

    /// Forgets a file that was moved away.
    pub(super) fn forget(&mut self, name: &str) {
        self.book.remove(name);
        self.recent.remove(name);
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

    fn note(&mut self, name: &str, mark: &Mark, proved: u32) {
        let mut entry = Entry::new(name, mark, proved);
        entry.see();
        self.book.insert(entry);
    }

    fn age(&self) -> u32 {
        seconds(self.began.elapsed())
    }
}

/// Returns where a file stands; that of one read long ago is asked for.
pub(super) async fn mark_of(files: &Mutex<Files>, recall: Option<&Recall>, name: &str) -> Mark {
    let held = || files.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = held().mark(name);
    match (kept, recall) {
        (Kept::Here(mark), _) => mark,
        (Kept::Written, Some(recall)) => {
            let written = recall(name.to_owned()).await;
            let mark = written.and_then(|text| parse(name, &text)).unwrap_or_default();
            held().remember(name, &mark);
            mark
        }
        (Kept::Written, None) | (Kept::Nowhere, _) => Mark::default(),
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Names;
    use crate::source::SourceError;
    use crate::source::directory::book::FILES_MAX;
    use crate::source::directory::listing::{self, Listed};
    use crate::source::directory::{Directory, Settings, Watch, mount};

    fn settings(path: &Path) -> Settings {
        Settings {
            path: path.to_owned(),
            depth: 1,
            names: Names::new(&["*.xml".to_owned()], &[]).unwrap(),
            bundle: None,
            processed_folder: None,
            may_empty: false,
            disk: None,
            poll: Duration::from_secs(1),
            tail: Duration::from_secs(86_400),
            gather: Duration::ZERO,
            clock: Clock::real(),
        }
    }

    impl Files {
        /// Returns how many bytes the files take, those of the last names aside.
        fn bytes(&self) -> usize {
            self.book.bytes() + self.recent.len() * size_of::<(String, Mark)>()
        }
    }

    /// Files that a store leaves lying.
    const FILES: usize = 50_000;

    #[test]
    fn fifty_thousand_files_that_were_read_take_some_24_bytes_each() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..FILES {
            std::fs::write(folder.path().join(format!("receipt-{at:06}.xml")), []).unwrap();
        }
        let settings = settings(folder.path());
        let habits = Habits { tail: settings.tail, settle: Duration::ZERO, moves: false };
        let mut files = Files::new(Marks::default(), habits);
        let (before, mut read, mut more) = (files.bytes(), 0, true);
        while more {
            let listed = listing::list(&settings, &mut files, 1).unwrap();
            for found in &listed.found {
                let (stamp, state) = (Some(found.stamp), State::Done);
                files.commit(&found.name, &Mark { stamp, state, ..Mark::default() });
            }
            (read, more) = (read + listed.found.len(), listed.more);
            files.end_round(listed.matched);
        }
        let again = listing::list(&settings, &mut files, 1).unwrap();
        assert_eq!((read, again.found.len(), again.known), (FILES, 0, FILES));
        let growth = files.bytes() - before;
        assert!(growth <= FILES * 24 + 200_000, "{growth} bytes for {FILES} files");
        println!("{growth} bytes for {FILES} files");
    }

    #[tokio::test]
    async fn a_folder_with_more_files_than_can_be_remembered_is_down_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let mut directory = Directory::new(settings, Marks::default(), Watch::default());
        let mount = mount::mount(folder.path()).unwrap();
        let mut listed = Listed { matched: FILES_MAX, ..Listed::default() };
        assert!(directory.judge(mount, &listed).is_ok());
        listed.matched += 1;
        let told = directory.judge(mount, &listed).unwrap_err();
        assert!(matches!(told, SourceError::Crowded { files: 131_073, most: 131_072, .. }));
        assert!(told.to_string().contains("holds 131073 files"), "{told}");
    }
}
