//! The kernel's word that something happened in a folder. Only a hint: it may be lost, come late,
//! or never come (on network folders).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::mount::Identity;

/// Hints that wait: more are dropped, and the listing finds what they told of.
const HINTS_MAX: usize = 1024;

/// What happened to a file.
pub(super) struct Hint {
    name: String,
    writer: Writer,
}

/// What a hint tells of a file's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// None is left, or the file was moved into place.
    Gone,
    /// One writes.
    Busy,
    /// It tells nothing.
    Unknown,
}

/// Where the hints of a folder go, and what stands before its names.
type Listeners = BTreeMap<PathBuf, (mpsc::Sender<Hint>, String)>;

/// The one watcher of all folders: it holds a thread.
#[derive(Clone)]
pub struct Watch {
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
    listeners: Arc<Mutex<Listeners>>,
}

impl Default for Watch {
    /// Starts watching. Where the kernel has no watch to give, the listings do the work alone.
    fn default() -> Self {
        let listeners = Arc::<Mutex<Listeners>>::default();
        let told = Arc::clone(&listeners);
        let tell = move |event: notify::Result<notify::Event>| {
            let listeners = told.lock().unwrap_or_else(PoisonError::into_inner);
            event.iter().for_each(|event| tell(&listeners, event));
        };
        let watcher = notify::recommended_watcher(tell);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "the kernel gives no hints: folders are listed in turn");
        }
        Self { watcher: Arc::new(Mutex::new(watcher.ok())), listeners }
    }
}

impl Watch {
    /// Watches a folder anew.
    fn begin(&self, folder: &Path, (tx, before): (mpsc::Sender<Hint>, String)) -> bool {
        self.end(folder);
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watcher.as_mut() else { return false };
        // The lock ends here: the watcher's thread takes it while the watcher waits for the thread.
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(folder.to_owned(), (tx, before));
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "the folder gives no hints");
                false
            }
        }
    }

    /// Watches a folder no more, if it ever did.
    fn end(&self, folder: &Path) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
        if listener.is_some()
            && let Some(watcher) = watcher.as_mut()
            && let Err(error) = watcher.unwatch(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "the folder was not watched");
        }
    }

    /// Tells whether the kernel would tell of what happens in a folder.
    pub(super) fn fires(folder: &Path) -> Result<(), String> {
        let mut watcher = notify::recommended_watcher(|_| {}).map_err(|error| error.to_string())?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|error| error.to_string())
    }
}

/// Hints of a folder and of some below it.
pub(super) struct Hints {
    folder: PathBuf,
    watch: Watch,
    tx: mpsc::Sender<Hint>,
    rx: mpsc::Receiver<Hint>,
    /// Which folders are watched, by name; one that was made anew is watched anew.
    watched: BTreeMap<String, Identity>,
}

impl Hints {
    /// Makes hints of a folder that need not be there yet.
    pub(super) fn new(folder: PathBuf, watch: Watch) -> Self {
        let (tx, rx) = mpsc::channel(HINTS_MAX);
        Self { folder, watch, tx, rx, watched: BTreeMap::new() }
    }

    /// Watches the source's folder if it does not yet. Where that fails the listing does the work.
    pub(super) fn watch_root(&mut self, identity: Identity) {
        self.watch_one("", identity);
    }

    /// Watches the source's folder no more.
    pub(super) fn end_root(&mut self) {
        if self.watched.remove("").is_some() {
            self.watch.end(&self.folder);
        }
    }

    /// Watches these folders below the source's, and no others.
    pub(super) fn watch_below(&mut self, folders: &[(String, Identity)]) {
        let is_gone = |name: &String| !name.is_empty() && folders.iter().all(|it| it.0 != *name);
        let gone: Vec<String> = self.watched.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.watched.remove(&name);
            self.watch.end(&self.folder.join(name));
        }
        folders.iter().for_each(|(name, identity)| self.watch_one(name, *identity));
    }

    fn watch_one(&mut self, name: &str, identity: Identity) {
        if self.watched.get(name) == Some(&identity) {
            return;
        }
        let before = if name.is_empty() { String::new() } else { format!("{name}/") };
        if self.watch.begin(&self.path(name), (self.tx.clone(), before)) {
            self.watched.insert(name.to_owned(), identity);
        } else {
            self.watched.remove(name);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }

    /// Waits for a hint.
    pub(super) async fn next(&mut self) -> Hint {
        self.rx.recv().await.expect("the sender is kept here")
    }

    /// Returns the names that a hint and all that wait behind it tell of, and notes their writers.
    pub(super) fn drain(
        &mut self,
        first: Option<Hint>,
        mut note: impl FnMut(&str, Writer),
    ) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut next = first.or_else(|| self.rx.try_recv().ok());
        while let Some(hint) = next {
            note(&hint.name, hint.writer);
            names.insert(hint.name);
            next = self.rx.try_recv().ok();
        }
        names
    }
}

fn tell(listeners: &Listeners, event: &notify::Event) {
    let writer = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Writer::Gone,
        EventKind::Modify(ModifyKind::Data(_)) => Writer::Busy,
        EventKind::Create(_) | EventKind::Modify(_) => Writer::Unknown,
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => return,
    };
    for path in &event.paths {
        let listener = path.parent().and_then(|folder| listeners.get(folder));
        let name = path.file_name().and_then(|name| name.to_str());
        if let (Some((tx, before)), Some(name)) = (listener, name) {
            // A hint too many is dropped: the listing finds what it told of.
            drop(tx.try_send(Hint { name: format!("{before}{name}"), writer }));
        }
    }
}
