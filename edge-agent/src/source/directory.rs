//! Folders that tills drop files into: renamed into place, or written where they lie. Nothing in them
//! is written, moved or removed unless that is asked for.
//!
//! The names are looked at in turn, the oldest file first. Hints from the kernel only shorten the
//! wait; what decides is the listing. A file's mark is the offset of its last unit's end and a hash
//! of all bytes before it: a file whose beginning has changed is another file and is read from its
//! start. That size and time stand still proves nothing: an unfinished tail waits until the file is
//! closed or moved into place, which the kernel tells, or until it is old. That files are gone is no
//! quiet day: a folder that held some and holds none is a source that is down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::log::Chain;
use shared::time::{Clock, Timestamp};
use tokio::time::Instant;

use super::{Completeness, Ending, Event, Fate, Place, Source, SourceError};
use crate::config::{BundleConfig, Names};

mod book;
pub mod bundle;
mod current;
mod file;
mod hints;
mod known;
mod listing;
mod mount;
mod probe;
mod processed;
mod stamp;

use current::{Current, Reading};
use file::{Chunk, OpenFile, Trail};
use hints::Hints;
pub use hints::Watch;
use known::{Files, Habits, Look, State};
pub use known::{Marks, Recall};
use listing::Listed;
pub use mount::Disk;
use mount::{Identity, Mount};
pub use probe::probe;
use processed::{folder_error, is_gone, move_away};
use stamp::{Candidate, Shape, Stamp};

/// Part of the time that listing the folder may take where hints come: one in so many.
const LISTING_SHARE: u32 = 100;

/// The same where only the listing tells: what is new waits for it.
const LISTING_SHARE_POLLED: u32 = 4;

/// Files whose growth is followed: a store's tills, several times over.
const TRAILS_MAX: usize = 64;

/// A file changed so shortly ago can change once more without the clock of its disk moving: some
/// kernels count times in steps of 10 ms.
const FRESH: Duration = Duration::from_millis(20);

/// What a source needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// Levels of folders that are looked into.
    pub depth: u32,
    /// Which files are read.
    pub names: Names,
    /// What makes a folder one feed.
    pub bundle: Option<BundleConfig>,
    /// Where files go that are read to their end.
    pub processed_folder: Option<PathBuf>,
    /// Whether a folder without files is no fault.
    pub may_empty: bool,
    /// The disk, where it is not to be found out.
    pub disk: Option<Disk>,
    /// How often the folder is listed where no hint comes.
    pub poll: Duration,
    /// Age at which an unfinished file is taken for finished.
    pub tail: Duration,
    /// How long a hint waits for others, so that a busy till's receipts share a transaction.
    pub gather: Duration,
    /// The agent's clock.
    pub clock: Clock,
}

/// A folder of files.
pub struct Directory {
    settings: Arc<Settings>,
    files: Arc<Mutex<Files>>,
    recall: Option<Recall>,
    /// Of files that may grow; the others are hashed from their start.
    trails: BTreeMap<String, Trail>,
    hints: Hints,
    queue: VecDeque<Candidate>,
    /// Files of which only the times seem to have moved.
    moved: VecDeque<Candidate>,
    current: Option<Current>,
    /// What hints have told of, and until when they wait for others.
    hinted: BTreeSet<String>,
    gather_until: Instant,
    listing: Listing,
}

/// When the folder was and will be listed.
struct Listing {
    began: Timestamp,
    next: Instant,
    /// When it may be where hints were missed.
    soonest: Instant,
    tell_idle: bool,
    /// More have something new than the queue took.
    more: bool,
    mount: Option<Mount>,
    parts: usize,
    unnamed_told: bool,
}

impl Directory {
    /// Makes a source that goes on where the marks say.
    pub fn new(settings: Settings, mut marks: Marks, watch: Watch) -> Self {
        let habits = Habits {
            tail: settings.tail,
            settle: settings.bundle.as_ref().map_or(Duration::ZERO, |bundle| bundle.settle),
            moves: settings.processed_folder.is_some(),
        };
        let listing = Listing {
            began: settings.clock.now(),
            next: Instant::now(),
            soonest: Instant::now(),
            tell_idle: false,
            more: false,
            mount: None,
            parts: 1,
            unnamed_told: false,
        };
        let settings = Arc::new(settings);
        Self {
            hints: Hints::new(Arc::clone(&settings), watch),
            settings,
            recall: marks.take_recall(),
            files: Arc::new(Mutex::new(Files::new(marks, habits))),
            trails: BTreeMap::new(),
            queue: VecDeque::new(),
            moved: VecDeque::new(),
            current: None,
            hinted: BTreeSet::new(),
            gather_until: Instant::now(),
            listing,
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may have come, then fills the queue.
    async fn look(&mut self) -> Result<(), SourceError> {
        if self.hinted.is_empty() {
            let hint = tokio::select! {
                hint = self.hints.next() => hint,
                () = tokio::time::sleep_until(self.listing.next) => return self.list().await,
            };
            self.hinted = self.drain(Some(hint));
            self.gather_until = Instant::now() + self.settings.gather;
        }
        tokio::time::sleep_until(self.gather_until).await;
        let more = self.drain(None);
        self.hinted.extend(more);
        if self.hints.take_missed() {
            self.listing.next = self.listing.next.min(self.listing.soonest);
        }
        let queued = self.queue_names(self.hinted.clone()).await;
        self.hinted.clear();
        queued
    }

    fn drain(&mut self, first: Option<hints::Hint>) -> BTreeSet<String> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.hints.drain(first, |name, writer| files.note_writer(name, writer))
    }

    async fn queue_names(&mut self, names: BTreeSet<String>) -> Result<(), SourceError> {
        let (settings, files) = (Arc::clone(&self.settings), Arc::clone(&self.files));
        let looked = blocking(move || {
            let ask = |name: &String| match listing::candidate(&settings, name) {
                Ok(found) => found.map(Ok),
                Err(error) => Some(Err((name.clone(), error))),
            };
            let mut found = names.iter().filter_map(ask).collect::<Result<Vec<_>, _>>()?;
            let files = files.lock().unwrap_or_else(PoisonError::into_inner);
            found.retain(|it| !files.is_left_alone(&it.name) && files.look(it).is_some());
            Ok(found)
        });
        let mut found = looked.await.map_err(|(name, source)| self.unreadable(name, source))?;
        found.sort();
        self.queue.extend(found);
        Ok(())
    }

    async fn list(&mut self) -> Result<(), SourceError> {
        let (began, from) = (self.settings.clock.now(), Instant::now());
        self.listing.next = from + self.settings.poll;
        let mount = self.mount().await?;
        let (settings, files) = (Arc::clone(&self.settings), Arc::clone(&self.files));
        let parts = self.listing.parts;
        let listed = blocking(move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.disk = mount.disk;
            listing::list(&settings, &mut files, parts)
        });
        let listed = listed.await.map_err(|(path, source)| folder_error(&path, source))?;
        self.judge(mount, &listed)?;
        self.files().end_round(listed.matched);
        if mount.disk == Disk::Local {
            self.hints.watch_root(mount.identity);
        }
        self.listing.mount = Some(mount);
        self.listing.parts = listing::parts(listed.moved_count);
        self.listing.more = listed.more;
        if mount.disk == Disk::Local && self.settings.bundle.is_none() {
            self.hints.watch_below(&listed.folders);
        }
        let wanted = listed.found.into_iter();
        self.queue.extend(wanted);
        self.moved.extend(listed.moved);
        self.listing.began = began;
        self.listing.tell_idle = listed.left_alone == 0;
        let after = |share| Instant::now() + (from.elapsed() * share).max(self.settings.poll);
        self.listing.soonest = after(LISTING_SHARE_POLLED);
        self.listing.next = match mount.disk {
            Disk::Local => after(LISTING_SHARE),
            Disk::Share(_) => self.listing.soonest,
        };
        match listed.unreadable {
            Some((name, source)) => Err(self.unreadable(name, source)),
            None => Ok(()),
        }
    }

    /// Finds out on which disk the folder lies, and has the kernel tell of it where it can.
    async fn mount(&mut self) -> Result<Mount, SourceError> {
        let settings = Arc::clone(&self.settings);
        let found = blocking(move || mount::mount(&settings.path)).await;
        let mut mount = found.map_err(|source| folder_error(&self.settings.path, source))?;
        mount.disk = self.settings.disk.unwrap_or(mount.disk);
        let before = self.listing.mount.map(|mount| mount.disk);
        match mount.disk {
            // One in its place gives no hints before it is judged.
            Disk::Local if self.listing.mount.is_none_or(|it| it.identity == mount.identity) => {
                self.hints.watch_root(mount.identity);
            }
            Disk::Local => self.hints.end_root(),
            Disk::Share(kind) if before != Some(mount.disk) => {
                let (folder, poll) = (self.settings.path.display(), self.settings.poll);
                tracing::info!(%folder, kind, ?poll, "a share gives no hints: it is listed in turn");
            }
            Disk::Share(_) => {}
        }
        Ok(mount)
    }

    /// Tells a folder whose files are gone from one in which nothing has happened.
    fn judge(&mut self, mount: Mount, listed: &Listed) -> Result<(), SourceError> {
        let path = self.settings.path.display().to_string();
        if listed.unnamed > 0 && !std::mem::replace(&mut self.listing.unnamed_told, true) {
            let names = listed.unnamed;
            tracing::warn!(folder = %path, names, "names that are no UTF-8 are left alone");
        }
        if listed.matched > book::FILES_MAX {
            let (files, most) = (listed.matched, book::FILES_MAX);
            return Err(SourceError::Crowded { path, files, most });
        }
        let known = self.files().count();
        if self.settings.may_empty || known == 0 {
            return Ok(());
        }
        if listed.matched == 0 {
            return Err(SourceError::Emptied { path, known });
        }
        let device = |identity: Identity| identity.0;
        match self.listing.mount.map(|mount| mount.identity) {
            Some(before) if before == mount.identity => Ok(()),
            Some(before) if device(before) != device(mount.identity) && listed.known == 0 => {
                Err(SourceError::Replaced { path })
            }
            Some(_) => {
                tracing::warn!(folder = %path, "the folder was made or mounted anew");
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn begin(&mut self, candidate: Candidate) -> Result<Option<Event>, SourceError> {
        // It may have been queued twice, by a hint and by the listing.
        let recall = self.recall.as_ref();
        let mark = known::mark_of(&self.files, recall, &candidate.name).await;
        let (look, finished) = {
            let files = self.files();
            (files.look(&candidate), files.is_finished(&candidate))
        };
        if look.is_none() {
            return Ok(None);
        }
        let place = Place { offset: mark.offset, memory: mark.memory };
        let hash = u128::from_str_radix(&mark.hash, 16).unwrap_or_default();
        let path = self.path(&candidate.name);
        let trail = self.trails.get(&candidate.name).cloned();
        let known = file::Known { offset: place.offset, hash, trail };
        let (shape, disk) = (candidate.shape, self.files().disk);
        let opened = blocking(move || {
            let edged = disk != Disk::Local && shape == Shape::File;
            let edges = edged.then(|| file::edges(&path)).transpose()?;
            Ok((OpenFile::open(&path, shape, known)?, edges))
        });
        let (opened, edges) = match opened.await {
            Ok(opened) => opened,
            // Gone since it was listed: moved away by whoever owns it.
            Err(error) if is_gone(&error) => return Ok(None),
            Err(source) => return Err(self.unreadable(candidate.name, source)),
        };
        if shape == Shape::Bundle && opened.stamp != candidate.stamp {
            return Ok(None);
        }
        let feed = candidate.name.clone();
        let place = if opened.offset == place.offset { place } else { Place::default() };
        let changed = opened.stamp.changed_at();
        // The times of a share are of another clock.
        let is_fresh =
            disk == Disk::Local && changed.is_some_and(|at| Clock::real().now().since(at) < FRESH);
        self.current = Some(Current {
            name: candidate.name,
            shape,
            stamp: opened.stamp,
            stamp_tells: !is_fresh,
            edges,
            reading: Reading::Idle(opened.file),
            trail: Trail { identity: opened.identity, digest: opened.digest, tail: opened.tail },
            base: place.offset,
            pending: Vec::new(),
            finished,
            torn: false,
            ending: None,
            mark: None,
        });
        Ok(Some(Event::Begin { feed, place }))
    }

    /// Looks at the edges of a file whose times have moved: where they are as before, so is the file,
    /// until it is proved whole again.
    async fn look_at_edges(&mut self, candidate: Candidate) {
        if self.files().look(&candidate) != Some(Look::Edges) {
            self.queue.push_back(candidate);
            return;
        }
        let (path, from) = (self.path(&candidate.name), Instant::now());
        match blocking(move || file::edges(&path)).await {
            Ok(edges) if self.files().has_edges(&candidate, edges) => {
                self.files().times_moved(&candidate);
            }
            // One that cannot be read now is told of when it is read whole.
            Ok(_) | Err(_) => self.queue.push_back(candidate),
        }
        self.listing.next += from.elapsed() * LISTING_SHARE_POLLED;
    }

    fn path(&self, name: &str) -> PathBuf {
        if name == "." { self.settings.path.clone() } else { self.settings.path.join(name) }
    }

    /// A folder with a file that cannot be read is not read to its end.
    fn unreadable(&mut self, feed: String, source: std::io::Error) -> SourceError {
        self.listing.tell_idle = false;
        self.files().trouble(&feed);
        SourceError::Feed { feed, source }
    }

    /// Reads on; nothing where the present file is at its end and was told so.
    async fn read_on(&mut self) -> Result<Option<Event>, SourceError> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let Some(chunk) = current.read().await else {
            self.current = None;
            return Ok(None);
        };
        let ending = match chunk {
            Ok(Chunk::Bytes(bytes)) => {
                current.pending.extend_from_slice(&bytes);
                return Ok(Some(Event::Bytes(bytes)));
            }
            Ok(Chunk::End) if current.finished => Ending::Finished,
            Ok(Chunk::Torn(why)) if current.finished => Ending::Damaged(why),
            Ok(Chunk::End) => Ending::Open,
            Ok(Chunk::Torn(_)) => {
                current.torn = true;
                Ending::Open
            }
            Err(source) => {
                let feed = current.name.clone();
                self.current = None;
                return Err(self.unreadable(feed, source));
            }
        };
        current.ending = Some(ending.clone());
        Ok(Some(Event::End(ending)))
    }

    /// Moves a file away that is read to its end, unless it has changed meanwhile.
    fn move_away(&mut self, folder: &Path, name: &str, stamp: Stamp) {
        let outcome = match self.stamp(name) {
            Ok(found) if found == stamp => move_away(&self.path(name), folder, name),
            Ok(_) => return,
            Err(error) if is_gone(&error) => return,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => self.files().forget(name),
            Err(error) => {
                self.files().move_failed();
                tracing::warn!(%name, error = %Chain(&error), "a processed file was not moved");
            }
        }
    }

    fn stamp(&self, name: &str) -> std::io::Result<Stamp> {
        let path = self.path(name);
        let meta = std::fs::symlink_metadata(&path)?;
        if meta.is_dir() { bundle::bundle_stamp(&path) } else { Ok(stamp::stamp(&meta)) }
    }
}

impl Source for Directory {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if let Some(event) = self.read_on().await? {
                return Ok(event);
            }
            // One leaves its queue when it was looked at, not before.
            if let Some(candidate) = self.queue.front().cloned() {
                let begun = self.begin(candidate).await;
                self.queue.pop_front();
                if let Some(event) = begun? {
                    return Ok(event);
                }
            } else if let Some(candidate) = self.moved.front().cloned() {
                self.look_at_edges(candidate).await;
                self.moved.pop_front();
            } else if self.listing.more {
                self.list().await?;
            } else if std::mem::take(&mut self.listing.tell_idle) {
                return Ok(Event::Idle(self.listing.began));
            } else {
                self.look().await?;
            }
        }
    }

    fn mark(&mut self, place: Place, completeness: Completeness) -> Option<String> {
        let current = self.current.as_mut();
        let current = current.expect("a mark is asked for while a feed is open");
        Some(current.take_in(place, completeness))
    }

    fn committed(&mut self, _: Fate) {
        let Some(current) = &mut self.current else { return };
        let Some(mark) = current.mark.take() else { return };
        let (name, trail) = (current.name.clone(), current.trail.clone());
        let moves = mark.state == State::Done && current.finished;
        let (shape, stamp) = (current.shape, current.stamp);
        self.files().commit(&name, &mark);
        if shape == Shape::File {
            if self.trails.len() >= TRAILS_MAX && !self.trails.contains_key(&name) {
                self.trails.pop_first();
            }
            self.trails.insert(name.clone(), trail);
        }
        if moves && let Some(folder) = self.settings.processed_folder.clone() {
            self.move_away(&folder, &name, stamp);
        }
    }
}

/// Runs file operations where a hanging network folder holds nobody else up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("file operations do not panic")
}
