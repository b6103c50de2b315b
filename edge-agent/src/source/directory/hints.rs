//! The kernel's word that something happened in a folder. Only a hint: it may be lost, come late,
//! or never come (on network folders).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::Settings;
use super::mount::Identity;
use super::stamp::is_unfinished;

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

/// Where the hints of a folder go.
type Listeners = BTreeMap<PathBuf, Listener>;

/// Whoever listens to the hints of a folder.
struct Listener {
    tx: mpsc::Sender<Hint>,
    /// What stands before its names.
    before: String,
    settings: Arc<Settings>,
    missed: Arc<AtomicBool>,
}

impl Listener {
    /// Passes a hint on. One too many is dropped, and noted: the listing finds what it told of.
    fn hear(&self, name: &str, writer: Writer) {
        let own = name;
        let name = format!("{}{own}", self.before);
        if !is_unfinished(own)
            && self.settings.names.takes(&name)
            && self.tx.try_send(Hint { name, writer }).is_err()
        {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Notes that the kernel itself has dropped hints, and wakes whoever waits for some.
    fn miss(&self) {
        self.missed.store(true, Ordering::Release);
        // Where there is no room others wait, and wake as well.
        drop(self.tx.try_send(Hint { name: String::new(), writer: Writer::Unknown }));
    }
}

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
    fn begin(&self, folder: &Path, listener: Listener) -> bool {
        self.end(folder);
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watcher.as_mut() else { return false };
        // The lock ends here: the watcher's thread takes it while the watcher waits for the thread.
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(folder.to_owned(), listener);
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
    settings: Arc<Settings>,
    watch: Watch,
    missed: Arc<AtomicBool>,
    tx: mpsc::Sender<Hint>,
    rx: mpsc::Receiver<Hint>,
    /// Which folders are watched, by name; one that was made anew is watched anew.
    watched: BTreeMap<String, Identity>,
}

impl Hints {
    /// Makes hints of a folder that need not be there yet.
    pub(super) fn new(settings: Arc<Settings>, watch: Watch) -> Self {
        let (tx, rx) = mpsc::channel(HINTS_MAX);
        Self { settings, watch, missed: Arc::default(), tx, rx, watched: BTreeMap::new() }
    }

    /// Tells whether hints were dropped since this was asked last.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// Watches the source's folder if it does not yet. Where that fails the listing does the work.
    pub(super) fn watch_root(&mut self, identity: Identity) {
        self.watch_one("", identity);
    }

    /// Watches the source's folder no more.
    pub(super) fn end_root(&mut self) {
        if self.watched.remove("").is_some() {
            self.watch.end(&self.settings.path);
        }
    }

    /// Watches these folders below the source's, and no others.
    pub(super) fn watch_below(&mut self, folders: &[(String, Identity)]) {
        let is_gone = |name: &String| !name.is_empty() && folders.iter().all(|it| it.0 != *name);
        let gone: Vec<String> = self.watched.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.watched.remove(&name);
            self.watch.end(&self.settings.path.join(name));
        }
        folders.iter().for_each(|(name, identity)| self.watch_one(name, *identity));
    }

    fn watch_one(&mut self, name: &str, identity: Identity) {
        if self.watched.get(name) == Some(&identity) {
            return;
        }
        let before = if name.is_empty() { String::new() } else { format!("{name}/") };
        let (tx, missed) = (self.tx.clone(), Arc::clone(&self.missed));
        let listener = Listener { tx, before, settings: Arc::clone(&self.settings), missed };
        if self.watch.begin(&self.path(name), listener) {
            self.watched.insert(name.to_owned(), identity);
        } else {
            self.watched.remove(name);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let folder = &self.settings.path;
        if name.is_empty() { folder.clone() } else { folder.join(name) }
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
    if event.need_rescan() {
        listeners.values().for_each(Listener::miss);
    }
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
        if let (Some(listener), Some(name)) = (listener, name) {
            listener.hear(name, writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::time::Clock;

    use super::*;
    use crate::config::Names;

    #[tokio::test]
    async fn what_is_not_ours_takes_no_room_and_what_is_missed_is_noted() {
        let folder = PathBuf::from("/tills");
        let settings = Settings {
            path: folder.clone(),
            depth: 1,
            names: Names::new(&["*.jsonl".to_owned()], &[]).unwrap(),
            bundle: None,
            processed_folder: None,
            may_empty: false,
            disk: None,
            poll: Duration::from_secs(1),
            tail: Duration::from_secs(1),
            gather: Duration::from_secs(1),
            clock: Clock::real(),
        };
        let mut hints = Hints::new(Arc::new(settings), Watch::default());
        let (tx, missed) = (hints.tx.clone(), Arc::clone(&hints.missed));
        let settings = Arc::clone(&hints.settings);
        let listener = Listener { tx, before: String::new(), settings, missed };
        let listeners = Listeners::from([(folder.clone(), listener)]);
        let kind = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let write =
            |name: String| tell(&listeners, &notify::Event::new(kind).add_path(folder.join(name)));
        for number in 0..2 * HINTS_MAX {
            write(format!("{number}.log"));
            write(format!("{number}.jsonl.tmp"));
        }
        assert!(!hints.take_missed());
        (0..HINTS_MAX).for_each(|number| write(format!("{number}.jsonl")));
        assert!(!hints.take_missed());
        write("one-too-many.jsonl".to_owned());
        assert!(hints.take_missed() && !hints.take_missed());
        assert_eq!(
            hints.drain(None, |_, writer| assert_eq!(writer, Writer::Gone)).len(),
            HINTS_MAX
        );
        // The kernel has dropped some: nobody knows which.
        let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        tell(&listeners, &lost);
        assert!(hints.next().await.name.is_empty() && hints.take_missed());
    }
}
