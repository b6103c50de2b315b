//! One look at a folder and those below it. It holds the oldest files that have something new, up to
//! a bound, and opens none.

use std::collections::BinaryHeap;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::bundle::bundle_stamp;
use super::known::{Files, Look};
use super::mount::Identity;
use super::stamp::{Candidate, Shape, is_unfinished, short, stamp};
use super::{Settings, mount};

/// Files that wait to be read, the oldest: where more have something new, the folder is listed
/// again when these are read. Some 150 bytes each.
pub(super) const QUEUE_MAX: usize = 4096;

/// Files whose edges are looked at between two listings; of more, a part each time.
const EDGES_MAX: usize = 1024;

/// Folders below the source's own whose hints are listened to: those that changed last.
const HINTED_MAX: usize = 64;

/// What a look has found.
#[derive(Default)]
pub(super) struct Listed {
    /// The files that have something new, the oldest first.
    pub(super) found: Vec<Candidate>,
    /// The files of which only the times have moved.
    pub(super) moved: Vec<Candidate>,
    /// Whether more have something new than `found` holds.
    pub(super) more: bool,
    /// Files that the source reads.
    pub(super) matched: usize,
    /// Those of them that are known.
    pub(super) known: usize,
    /// Files that are left alone after a failure.
    pub(super) left_alone: usize,
    /// Names that are no UTF-8.
    pub(super) unnamed: usize,
    /// Files of which only the times have moved, those not in `moved` included.
    pub(super) moved_count: usize,
    /// The folders below, those that changed last.
    pub(super) folders: Vec<(String, Identity)>,
    /// The first file that could not be asked.
    pub(super) unreadable: Option<(String, Error)>,
}

/// Lists the source's folder. `parts` is in how many parts the files are looked at whose times move.
pub(super) fn list(
    settings: &Settings,
    files: &mut Files,
    parts: usize,
) -> Result<Listed, (PathBuf, Error)> {
    let round = files.begin_round();
    let part = usize::try_from(round).unwrap_or(0) % parts.max(1);
    let processed = settings.processed_folder.as_deref();
    let skipped = processed.and_then(|folder| mount::mount(folder).ok()).map(|it| it.identity);
    let mut walk = Walk {
        settings,
        files,
        part: (part, parts.max(1)),
        skipped,
        heap: BinaryHeap::new(),
        folders: BinaryHeap::new(),
        listed: Listed::default(),
    };
    walk.folder("", 1).map_err(|(name, error)| (settings.path.join(name), error))?;
    let Walk { heap, folders, mut listed, .. } = walk;
    listed.found = heap.into_sorted_vec();
    listed.folders = folders.into_iter().map(|(_, name, identity)| (name, identity)).collect();
    Ok(listed)
}

/// Asks one file that a hint has named; nothing where the source does not read it.
pub(super) fn candidate(settings: &Settings, name: &str) -> std::io::Result<Option<Candidate>> {
    let own = name.rsplit('/').next().unwrap_or(name);
    // Whether a file is one of a bundle only the listing knows.
    if settings.bundle.is_some() || is_unfinished(own) || !settings.names.takes(name) {
        return Ok(None);
    }
    match std::fs::symlink_metadata(settings.path.join(name)) {
        Ok(meta) if meta.is_file() => {
            let (name, stamp) = (name.to_owned(), stamp(&meta));
            Ok(Some(Candidate { name, stamp, shape: Shape::File }))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

struct Walk<'a> {
    settings: &'a Settings,
    files: &'a mut Files,
    part: (usize, usize),
    skipped: Option<Identity>,
    /// The newest is on top, and goes where there are too many.
    heap: BinaryHeap<Candidate>,
    /// As above, by the negative time of change: the one that changed first goes.
    folders: BinaryHeap<(i64, String, Identity)>,
    listed: Listed,
}

type Walked = Result<(), (String, Error)>;

impl Walk<'_> {
    /// Goes through a folder; `level` is 1 for the source's own.
    fn folder(&mut self, below: &str, level: u32) -> Walked {
        let path = self.settings.path.join(below);
        if self.is_bundle(&path).map_err(|error| (below.to_owned(), error))? {
            self.bundle(below, &path);
            return Ok(());
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // One below that is gone since its name was read.
            Err(error) if error.kind() == ErrorKind::NotFound && level > 1 => return Ok(()),
            Err(error) => return Err((below.to_owned(), error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| (below.to_owned(), error))?;
            let Ok(own) = entry.file_name().into_string() else {
                self.listed.unnamed += 1;
                continue;
            };
            if is_unfinished(&own) {
                continue;
            }
            let name = if below.is_empty() { own } else { format!("{below}/{own}") };
            // A crowd of files that are none of ours is not asked one by one.
            let is_ours = |kind: std::fs::FileType| {
                (kind.is_dir() && level < self.settings.depth)
                    || (kind.is_file() && self.settings.names.takes(&name))
            };
            if entry.file_type().is_ok_and(|kind| !is_ours(kind)) {
                continue;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && level < self.settings.depth => {
                    let identity = (meta.dev(), meta.ino());
                    if self.skipped != Some(identity) {
                        self.folder(&name, level + 1)?;
                        self.folders.push((-meta.ctime(), name, identity));
                        if self.folders.len() > HINTED_MAX {
                            self.folders.pop();
                        }
                    }
                }
                Ok(meta) if meta.is_file() && self.settings.names.takes(&name) => {
                    self.file(Candidate { name, stamp: stamp(&meta), shape: Shape::File });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => drop(self.listed.unreadable.get_or_insert((name, error))),
            }
        }
        Ok(())
    }

    fn is_bundle(&self, path: &Path) -> std::io::Result<bool> {
        let Some(bundle) = &self.settings.bundle else { return Ok(false) };
        match std::fs::symlink_metadata(path.join(&bundle.mark)) {
            Ok(meta) => Ok(meta.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn bundle(&mut self, below: &str, path: &Path) {
        let name = if below.is_empty() { ".".to_owned() } else { below.to_owned() };
        match bundle_stamp(path) {
            Ok(stamp) => self.file(Candidate { name, stamp, shape: Shape::Bundle }),
            Err(error) => drop(self.listed.unreadable.get_or_insert((name, error))),
        }
    }

    fn file(&mut self, candidate: Candidate) {
        self.listed.matched += 1;
        self.listed.known += usize::from(self.files.see(&candidate.name));
        if self.files.is_left_alone(&candidate.name) {
            self.listed.left_alone += 1;
            return;
        }
        match self.files.look(&candidate) {
            Some(Look::Whole) => {
                if candidate.shape == Shape::Bundle && !self.files.is_settled(&candidate) {
                    return;
                }
                self.heap.push(candidate);
                if self.heap.len() > QUEUE_MAX {
                    self.heap.pop();
                    self.listed.more = true;
                }
            }
            Some(Look::Edges) => {
                self.listed.moved_count += 1;
                let (part, parts) = self.part;
                let here = short(candidate.name.as_str()) % (parts as u64) == part as u64;
                if here && self.listed.moved.len() < 2 * EDGES_MAX {
                    self.listed.moved.push(candidate);
                }
            }
            None => {}
        }
    }
}

/// Returns in how many parts files are looked at of which so many have moved their times.
pub(super) fn parts(moved: usize) -> usize {
    moved / EDGES_MAX + 1
}
