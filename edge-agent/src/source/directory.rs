//! A folder that tills drop files into: renamed into place, or written where they lie.
//!
//! The names are looked at in turn, the oldest file first. Hints from the kernel only shorten the
//! wait; what decides is the listing. A file's mark is the offset of its last unit's end and the
//! SHA-256 of all bytes before it: a file whose beginning has changed is another file and is read
//! from its start. That size and time stand still proves nothing: an unfinished tail waits until
//! the file is closed or moved into place, which the kernel tells, or until it is old.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::time::{Clock, Timestamp};
use tokio::time::Instant;

use super::{Completeness, Ending, Event, Fate, Source, SourceError};

mod file;
mod hints;

use file::{Chunk, Known, OpenFile, Trail};
use hints::Hints;
pub use hints::Watch;

/// Share of the time that listing the folder may take: a large folder is listed less often.
const LISTING_SHARE: u32 = 100;

/// Files whose growth is followed: a store's tills, several times over.
const TRAILS_MAX: usize = 64;

/// What a source needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// Where files go that are read to their end.
    pub processed_folder: Option<PathBuf>,
    /// How often the folder is listed where no hint comes.
    pub poll: Duration,
    /// Age at which an unfinished file is taken for finished.
    pub tail: Duration,
    /// How long a hint waits for others, so that a busy till's receipts share a transaction.
    pub gather: Duration,
    /// The agent's clock.
    pub clock: Clock,
}

/// Where a file stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    offset: u64,
    hash: String,
    /// The file as it was when it was last read to its end; empty where it was not.
    stamp: String,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Being read, or with a tail that waits.
    #[default]
    Open,
    /// Read to its end.
    Done,
}

/// A file that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    modified: Timestamp,
    name: String,
    stamp: String,
}

/// A folder of files.
pub struct Directory {
    settings: Settings,
    marks: BTreeMap<String, Mark>,
    closed: BTreeSet<String>,
    /// Of files that may grow; the others are hashed from their start.
    trails: BTreeMap<String, Trail>,
    hints: Hints,
    queue: VecDeque<Candidate>,
    current: Option<Current>,
    listing: Listing,
}

/// The file that is being read.
struct Current {
    name: String,
    stamp: String,
    /// Absent while it is read, and after its end.
    file: Option<OpenFile>,
    /// What stands before `base`.
    trail: Trail,
    base: u64,
    /// Bytes after `base`: at most what the framer holds and one chunk.
    pending: Vec<u8>,
    finished: bool,
    ending: Option<Ending>,
    mark: Option<Mark>,
}

/// When the folder was and will be listed.
struct Listing {
    began: Timestamp,
    next: Instant,
    tell_idle: bool,
}

impl Directory {
    /// Makes a source that goes on where the marks say.
    pub fn new(settings: Settings, marks: Vec<(String, String)>, watch: Watch) -> Self {
        // A mark that cannot be read costs a second reading of its file, nothing else.
        let read = |(name, mark): (String, String)| Some((name, serde_json::from_str(&mark).ok()?));
        let marks = marks.into_iter().filter_map(read).collect();
        let began = settings.clock.now();
        Self {
            hints: Hints::new(settings.path.clone(), watch),
            settings,
            marks,
            closed: BTreeSet::new(),
            trails: BTreeMap::new(),
            queue: VecDeque::new(),
            current: None,
            listing: Listing { began, next: Instant::now(), tell_idle: false },
        }
    }

    /// Waits until something may have come, then fills the queue.
    async fn look(&mut self) -> Result<(), SourceError> {
        let hinted = tokio::select! {
            hinted = self.hints.next() => Some(hinted),
            () = tokio::time::sleep_until(self.listing.next) => None,
        };
        match hinted {
            Some(hint) => {
                let mut names = self.hints.drain(Some(hint), &mut self.closed);
                tokio::time::sleep(self.settings.gather).await;
                names.extend(self.hints.drain(None, &mut self.closed));
                self.queue_names(names).await;
                Ok(())
            }
            None => self.list().await,
        }
    }

    async fn queue_names(&mut self, names: BTreeSet<String>) {
        let folder = self.settings.path.clone();
        let looked = blocking(move || {
            names.iter().filter_map(|name| candidate(&folder, name)).collect::<Vec<_>>()
        });
        let found = looked.await;
        self.queue_candidates(found);
    }

    async fn list(&mut self) -> Result<(), SourceError> {
        let (began, from) = (self.settings.clock.now(), Instant::now());
        self.listing.next = from + self.settings.poll;
        self.hints.watch();
        let folder = self.settings.path.clone();
        let listed = blocking(move || list(&folder)).await;
        let found = listed.map_err(|source| SourceError::Folder {
            path: self.settings.path.display().to_string(),
            source,
        })?;
        self.queue_candidates(found);
        self.listing.began = began;
        self.listing.tell_idle = true;
        let pause = (from.elapsed() * LISTING_SHARE).max(self.settings.poll);
        self.listing.next = Instant::now() + pause;
        Ok(())
    }

    fn queue_candidates(&mut self, found: Vec<Candidate>) {
        let mut wanted: Vec<Candidate> =
            found.into_iter().filter(|candidate| self.is_wanted(candidate)).collect();
        wanted.sort();
        self.queue.extend(wanted);
    }

    /// Tells whether a file has something new: other bytes, or a tail that waits no more.
    fn is_wanted(&self, candidate: &Candidate) -> bool {
        match self.marks.get(&candidate.name) {
            Some(mark) if mark.stamp == candidate.stamp => {
                mark.state == State::Open && self.is_finished(candidate)
            }
            Some(_) | None => true,
        }
    }

    fn is_finished(&self, candidate: &Candidate) -> bool {
        let age = Clock::real().now().since(candidate.modified);
        self.closed.contains(&candidate.name) || age > self.settings.tail
    }

    async fn begin(&mut self, candidate: Candidate) -> Result<Option<Event>, SourceError> {
        // It may have been queued twice, by a hint and by the listing.
        if !self.is_wanted(&candidate) {
            return Ok(None);
        }
        let finished = self.is_finished(&candidate);
        let mark = self.marks.get(&candidate.name).cloned().unwrap_or_default();
        let path = self.settings.path.join(&candidate.name);
        let trail = self.trails.get(&candidate.name).cloned();
        let known = Known { offset: mark.offset, hash: mark.hash, trail };
        let opened = blocking(move || OpenFile::open(&path, known)).await;
        let opened = match opened {
            Ok(opened) => opened,
            // Gone since it was listed: moved away by whoever owns it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.unreadable(candidate.name, source)),
        };
        let (feed, offset) = (candidate.name.clone(), opened.offset);
        self.current = Some(Current {
            name: candidate.name,
            stamp: opened.stamp,
            file: Some(opened.file),
            trail: Trail { identity: opened.identity, digest: opened.digest, tail: opened.tail },
            base: offset,
            pending: Vec::new(),
            finished,
            ending: None,
            mark: None,
        });
        Ok(Some(Event::Begin { feed, offset }))
    }

    /// A folder with a file that cannot be read is not read to its end.
    fn unreadable(&mut self, feed: String, source: std::io::Error) -> SourceError {
        self.listing.tell_idle = false;
        SourceError::Feed { feed, source }
    }

    /// Reads on; nothing where the present file is at its end and was told so.
    async fn read_on(&mut self) -> Result<Option<Event>, SourceError> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let Some(file) = current.file.take() else {
            self.current = None;
            return Ok(None);
        };
        let (file, chunk) = blocking(move || file.read()).await;
        let ending = match chunk {
            Ok(Chunk::Bytes(bytes)) => {
                current.file = Some(file);
                current.pending.extend_from_slice(&bytes);
                return Ok(Some(Event::Bytes(bytes)));
            }
            Ok(Chunk::End) if current.finished => Ending::Finished,
            Ok(Chunk::End) => Ending::Open,
            Ok(Chunk::Damaged(why)) => Ending::Damaged(why),
            Err(source) => {
                let feed = current.name.clone();
                self.current = None;
                return Err(self.unreadable(feed, source));
            }
        };
        current.ending = Some(ending.clone());
        Ok(Some(Event::End(ending)))
    }
}

impl Source for Directory {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if let Some(event) = self.read_on().await? {
                return Ok(event);
            }
            if let Some(candidate) = self.queue.pop_front() {
                if let Some(event) = self.begin(candidate).await? {
                    return Ok(event);
                }
            } else if std::mem::take(&mut self.listing.tell_idle) {
                return Ok(Event::Idle(self.listing.began));
            } else {
                self.look().await?;
            }
        }
    }

    fn mark(&mut self, offset: u64, completeness: Completeness) -> Option<String> {
        let current = self.current.as_mut().expect("a mark is asked for while a feed is open");
        assert!(offset >= current.base, "a feed is taken in forwards");
        let taken = usize::try_from(offset - current.base).expect("pending bytes fit memory");
        current.trail.digest.update(&current.pending[..taken]);
        file::keep_tail(&mut current.trail.tail, &current.pending[..taken]);
        current.pending.drain(..taken);
        current.base = offset;
        let (stamp, state) = match (&current.ending, completeness) {
            (None, _) => (String::new(), State::Open),
            (Some(Ending::Open), Completeness::Partial) => (current.stamp.clone(), State::Open),
            (Some(Ending::Open), Completeness::Whole)
            | (Some(Ending::Finished | Ending::Damaged(_)), _) => {
                (current.stamp.clone(), State::Done)
            }
        };
        let mark = Mark { offset, hash: current.trail.digest.hex(), stamp, state };
        let text = serde_json::to_string(&mark).expect("a mark is text and numbers");
        current.mark = Some(mark);
        Some(text)
    }

    fn committed(&mut self, _: Fate) {
        let Some(current) = &mut self.current else { return };
        let Some(mark) = current.mark.take() else { return };
        let (name, done) = (current.name.clone(), mark.state == State::Done);
        self.marks.insert(name.clone(), mark);
        if self.trails.len() >= TRAILS_MAX && !self.trails.contains_key(&name) {
            self.trails.pop_first();
        }
        self.trails.insert(name.clone(), current.trail.clone());
        if !done {
            return;
        }
        self.closed.remove(&name);
        if let Some(folder) = &self.settings.processed_folder {
            match move_away(&self.settings.path.join(&name), folder, &name) {
                Ok(()) => drop(self.marks.remove(&name)),
                Err(error) => tracing::warn!(%name, %error, "a processed file was not moved"),
            }
        }
    }
}

/// Runs file operations where a hanging network folder holds nobody else up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("file operations do not panic")
}

fn list(folder: &Path) -> std::io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        // A name that is no UTF-8 is none that a till writes.
        found.extend(name.to_str().and_then(|name| candidate(folder, name)));
    }
    Ok(found)
}

/// Returns what is to be known of a file; nothing where it is none that is read.
fn candidate(folder: &Path, name: &str) -> Option<Candidate> {
    let unfinished = name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part");
    if unfinished {
        return None;
    }
    let meta = std::fs::metadata(folder.join(name)).ok().filter(std::fs::Metadata::is_file)?;
    let modified = Timestamp::from_utc(meta.modified().ok()?.into());
    Some(Candidate { modified, name: name.to_owned(), stamp: file::stamp(&meta) })
}

/// Moves a file; one of the same name that is there already stays.
fn move_away(from: &Path, folder: &Path, name: &str) -> std::io::Result<()> {
    let mut to = folder.join(name);
    let mut copy = 1;
    while to.exists() {
        copy += 1;
        to = folder.join(format!("{name}.{copy}"));
    }
    std::fs::rename(from, to)
}
