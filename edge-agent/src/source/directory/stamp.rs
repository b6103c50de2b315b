//! What a file's metadata says of it, without a look into it.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

/// Tells one state of a file from another, as far as the file system does. The device is no part of
/// it: a share that is mounted anew has another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds, as are those below.
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

/// A file, or a bundle, that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The path below the source's folder.
    pub(super) name: String,
    pub(super) stamp: Stamp,
    pub(super) shape: Shape,
}

/// What a feed is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One file.
    File,
    /// All files of a folder.
    Bundle,
}

impl Ord for Candidate {
    /// The oldest comes first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.stamp.modified, &self.name).cmp(&(other.stamp.modified, &other.name))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Stamp {
    /// Returns a number that stands for it in memory; 0 and 1 for none.
    pub(super) fn print(&self) -> u64 {
        short(self).max(2)
    }

    /// Returns when the file was last written.
    pub(super) fn modified_at(&self) -> Option<Timestamp> {
        at(self.modified)
    }

    /// Returns when the file or what is said of it last changed.
    pub(super) fn changed_at(&self) -> Option<Timestamp> {
        at(self.changed)
    }
}

fn at((seconds, nanos): (i64, i64)) -> Option<Timestamp> {
    Timestamp::from_unix_millis(seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)?)
}

/// Returns a number that stands for a value in memory, never on disk.
pub(super) fn short(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn stamp(meta: &Metadata) -> Stamp {
    Stamp {
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

/// Tells whether a name says that its file is hidden, or not ready.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') || [".tmp", ".part", "~"].iter().any(|end| name.ends_with(end))
}
