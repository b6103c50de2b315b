//! The mark outside of the buffer: which stream lies there, on which machine, and the highest sequence
//! that was handed over to go out. A buffer that knows less than its mark was rolled back.
//!
//! The order: a batch is committed, then the mark is raised to its sequence, then the batch is handed
//! over. So the mark is never ahead of the buffer, and a buffer below its mark is an older copy. Two
//! places are written in turn, each with its checksum: whatever a power cut leaves, one is whole. The
//! mark is written at once and synced every [`SYNC_EVERY`] batches: an agent that is killed leaves it
//! exact, a power cut leaves it behind by what the system had not written yet (half a minute), which
//! lets the buffer be ahead and never accuses it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::ids::StreamId;

use super::{BufferError, swap};
use crate::digest::Digest;

/// Batches between two syncs: one sync in an hour of a store at work.
const SYNC_EVERY: u64 = 64;

/// Bytes of one of the two places: a disk's sector, which is written whole or not at all.
const PLACE_BYTES: usize = 512;

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The stream.
    pub(super) stream: StreamId,
    /// A hash of the machine's id; nothing where the buffer is bound to none.
    pub(super) machine: Option<String>,
    /// The highest sequence that was handed over.
    pub(super) sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct Place {
    turn: u64,
    #[serde(flatten)]
    mark: Mark,
}

/// The file with the mark.
#[derive(Debug)]
pub(super) struct Counter {
    file: File,
    path: PathBuf,
    turn: u64,
    mark: Mark,
    synced: u64,
}

/// Reads the mark; nothing where there is none that is whole.
pub(super) fn read(path: &Path) -> Result<Option<Mark>, BufferError> {
    Ok(newest(path).map_err(failed("read", path))?.map(|place| place.mark))
}

impl Counter {
    /// Writes a mark anew, durably.
    pub(super) fn begin(path: &Path, mark: Mark) -> Result<Self, BufferError> {
        let turn = newest(path).map_err(failed("read", path))?.map_or(0, |place| place.turn);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.map_err(failed("make", path))?;
        let synced = mark.sequence;
        let mut counter = Self { file, path: path.to_owned(), turn, mark, synced };
        // Both places, so that no older stream's mark is left.
        for _ in 0..2 {
            counter.write()?;
        }
        counter.sync()?;
        swap::sync_folder(path).map_err(failed("make", path))?;
        Ok(counter)
    }

    /// Raises the mark; what is lower changes nothing.
    pub(super) fn raise(&mut self, sequence: u64) -> Result<(), BufferError> {
        if sequence <= self.mark.sequence {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.mark.sequence, sequence);
        if let Err(error) = self.write() {
            self.mark.sequence = before;
            return Err(error);
        }
        if sequence - self.synced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes the mark durable.
    pub(super) fn sync(&mut self) -> Result<(), BufferError> {
        self.file.sync_all().map_err(failed("write", &self.path))?;
        self.synced = self.mark.sequence;
        Ok(())
    }

    fn write(&mut self) -> Result<(), BufferError> {
        let turn = self.turn + 1;
        let text = serde_json::to_string(&Place { turn, mark: self.mark.clone() });
        let text = text.expect("a mark is text");
        let mut bytes = format!("{text}\n{}", checksum(&text)).into_bytes();
        assert!(bytes.len() < PLACE_BYTES, "a mark fits its place");
        bytes.resize(PLACE_BYTES - 1, b' ');
        bytes.push(b'\n');
        let place = (turn % 2) * PLACE_BYTES as u64;
        self.file.write_all_at(&bytes, place).map_err(failed("write", &self.path))?;
        self.turn = turn;
        Ok(())
    }
}

/// Returns what a buffer and its mark hold of a machine's id: the id itself is nobody's business.
pub(super) fn machine_hash(id: &str) -> String {
    let mut digest = Digest::default();
    digest.update(b"frischmarkt edge-agent buffer\0");
    digest.update(id.as_bytes());
    digest.hex()
}

fn newest(path: &Path) -> io::Result<Option<Place>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = |at: u64| -> io::Result<Option<[u8; PLACE_BYTES]>> {
        let mut bytes = [0; PLACE_BYTES];
        match file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            // What a disk does not give back now may be whole: it is not gone.
            Err(error) => Err(error),
        }
    };
    let place = |bytes: [u8; PLACE_BYTES]| -> Option<Place> {
        let (text, rest) = std::str::from_utf8(&bytes).ok()?.split_once('\n')?;
        if checksum(text) != rest.trim_end() {
            return None;
        }
        serde_json::from_str(text).ok()
    };
    let places = [read(0)?, read(PLACE_BYTES as u64)?];
    Ok(places.into_iter().flatten().filter_map(place).max_by_key(|place| place.turn))
}

fn checksum(text: &str) -> String {
    let mut digest = Digest::default();
    digest.update(text.as_bytes());
    digest.hex()
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> BufferError {
    move |source| BufferError::File { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> Mark {
        let stream = "0193a2b0-0000-7000-8000-000000000001".parse().unwrap();
        Mark { stream, machine: Some(machine_hash("box")), sequence }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_any_torn_write_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        assert_eq!(read(&path).unwrap(), None);
        let mut counter = Counter::begin(&path, mark(0)).unwrap();
        counter.raise(7).unwrap();
        counter.raise(3).unwrap();
        assert_eq!(read(&path).unwrap(), Some(mark(7)));
        let before = std::fs::read(&path).unwrap();
        counter.raise(8).unwrap();
        let after = std::fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(mark(8)));
        for torn in 0..=PLACE_BYTES * 2 {
            let bytes = [&after[..torn], &before[torn..]].concat();
            std::fs::write(&path, bytes).unwrap();
            let found = read(&path).unwrap();
            assert!(found == Some(mark(7)) || found == Some(mark(8)), "{torn}: {found:?}");
        }
        std::fs::write(&path, "nothing of ours").unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(Counter::begin(&path, mark(9)).unwrap().mark, mark(9));
        assert_eq!(read(&path).unwrap(), Some(mark(9)));
    }
}
