//! The kernel's word that something happened in a folder. Only a hint: it may be lost, come late,
//! or never come (on network folders).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// Hints of one folder.
pub(super) struct Hints {
    folder: PathBuf,
    tx: mpsc::Sender<Hint>,
    rx: mpsc::Receiver<Hint>,
    /// The watcher and the folder's identity: a folder that was made anew is watched anew.
    watcher: Option<(RecommendedWatcher, (u64, u64))>,
}

impl Hints {
    /// Makes hints of a folder that need not be there yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        let (tx, rx) = mpsc::channel(HINTS_MAX);
        Self { folder, tx, rx, watcher: None }
    }

    /// Watches the folder if it does not yet. Where that fails the listing does the work alone.
    pub(super) fn watch(&mut self) {
        let identity = std::fs::metadata(&self.folder).ok().map(|meta| (meta.dev(), meta.ino()));
        if self.watcher.as_ref().map(|(_, identity)| *identity) == identity {
            return;
        }
        self.watcher = None;
        let Some(identity) = identity else { return };
        let tx = self.tx.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            event.iter().flat_map(hints_of).for_each(|hint| drop(tx.try_send(hint)));
        };
        let watching = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::NonRecursive).map(|()| watcher)
        });
        match watching {
            Ok(watcher) => self.watcher = Some((watcher, identity)),
            Err(error) => {
                let folder = self.folder.display();
                tracing::debug!(%folder, %error, "the folder gives no hints");
            }
        }
    }

    /// Waits for a hint.
    pub(super) async fn next(&mut self) -> Hint {
        self.rx.recv().await.expect("the sender is kept here")
    }

    /// Returns the names that a hint and all that wait behind it tell of, and notes closed files.
    pub(super) fn drain(&mut self, first: Hint, closed: &mut BTreeSet<String>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut next = Some(first);
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

fn hints_of(event: &notify::Event) -> Vec<Hint> {
    let closed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => true,
        EventKind::Create(_) | EventKind::Modify(_) => false,
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => {
            return Vec::new();
        }
    };
    let name = |path: &PathBuf| file_name(path).map(|name| Hint { name, closed });
    event.paths.iter().filter_map(name).collect()
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}
