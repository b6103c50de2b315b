//! The kernel's word that something happened in a folder. Only a hint: it may be lost, come late,
//! or never come (on network folders).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Hints that wait: more are dropped, and the listing finds what they told of.
const HINTS_MAX: usize = 1024;

/// Closed files that are remembered: more wait for their age.
const CLOSED_MAX: usize = 4096;

/// What happened to a file.
pub(super) struct Hint {
    name: String,
    /// No writer is left, or it was moved into place.
    closed: bool,
}

/// Where the hints of a folder go.
type Listeners = BTreeMap<PathBuf, mpsc::Sender<Hint>>;

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
    fn begin(&self, folder: &Path, tx: mpsc::Sender<Hint>) -> bool {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watcher.as_mut() else { return false };
        // The lock ends here: the watcher's thread takes it while the watcher waits for the thread.
        let before = {
            let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.insert(folder.to_owned(), tx)
        };
        if before.is_some()
            && let Err(error) = watcher.unwatch(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "the old folder was not watched");
        }
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "the folder gives no hints");
                false
            }
        }
    }
}

/// Hints of one folder.
pub(super) struct Hints {
    folder: PathBuf,
    watch: Watch,
    tx: mpsc::Sender<Hint>,
    rx: mpsc::Receiver<Hint>,
    /// Which folder is watched: one that was made anew is watched anew.
    watched: Option<(u64, u64)>,
}

impl Hints {
    /// Makes hints of a folder that need not be there yet.
    pub(super) fn new(folder: PathBuf, watch: Watch) -> Self {
        let (tx, rx) = mpsc::channel(HINTS_MAX);
        Self { folder, watch, tx, rx, watched: None }
    }

    /// Watches the folder if it does not yet. Where that fails the listing does the work alone.
    pub(super) fn watch(&mut self) {
        let identity = std::fs::metadata(&self.folder).ok().map(|meta| (meta.dev(), meta.ino()));
        if self.watched == identity {
            return;
        }
        let begun = identity.is_some() && self.watch.begin(&self.folder, self.tx.clone());
        self.watched = identity.filter(|_| begun);
    }

    /// Waits for a hint.
    pub(super) async fn next(&mut self) -> Hint {
        self.rx.recv().await.expect("the sender is kept here")
    }

    /// Returns the names that a hint and all that wait behind it tell of, and notes closed files.
    pub(super) fn drain(
        &mut self,
        first: Option<Hint>,
        closed: &mut BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut next = first.or_else(|| self.rx.try_recv().ok());
        while let Some(hint) = next {
            if hint.closed && closed.len() < CLOSED_MAX {
                closed.insert(hint.name.clone());
            }
            names.insert(hint.name);
            next = self.rx.try_recv().ok();
        }
        names
    }
}

fn tell(listeners: &Listeners, event: &notify::Event) {
    let closed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => true,
        EventKind::Create(_) | EventKind::Modify(_) => false,
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => return,
    };
    for path in &event.paths {
        let tx = path.parent().and_then(|folder| listeners.get(folder));
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        if let (Some(tx), Some(name)) = (tx, name) {
            // A hint too many is dropped: the listing finds what it told of.
            drop(tx.try_send(Hint { name, closed }));
        }
    }
}
