//! The files that are known, in 24 bytes each: sorted by a short number for the name, with a short
//! number for what the file looked like when it was last read. All else that a mark says is written
//! down, and asked for when its file is read on. Two numbers that fall together cost a second
//! reading, nothing else.

use super::known::{Mark, State};
use super::stamp::{Stamp, short};

/// Files of a folder that are read: with more in it the source is down and says so, since what is
/// remembered of them must not outgrow a small box.
pub(super) const FILES_MAX: usize = 131_072;

/// Files remembered beyond those that lie in the folder: more are forgotten, and asked for where they
/// are written down should they come back.
const ABSENT_MAX: usize = 16_384;

/// All entries together: 3.4 MiB.
const ENTRIES_MAX: usize = FILES_MAX + ABSENT_MAX;

/// Entries for which room is made at once.
const ROOM: usize = 4096;

/// The bit of a stamp's number that tells whether the file is read to its end.
const DONE: u64 = 1;

/// A file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    name: u64,
    /// The number of its stamp, 0 where none is known, and the bit of its state.
    stamp: u64,
    /// The number of its edges and its size; 0 where none is known.
    edges: u32,
    /// When the content was last proved whole, in seconds of the source's life; the highest bit tells
    /// whether the present listing has seen the file.
    proved: u32,
}

/// The bit of [`Entry::proved`] that tells whether the present listing has seen the file.
const SEEN: u32 = 1 << 31;

/// All files that are remembered.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    /// Some that are written down are not here.
    is_cut: bool,
}

impl Entry {
    /// Returns what is remembered of a file whose content was proved at this second.
    pub(super) fn new(name: &str, mark: &Mark, proved: u32) -> Self {
        let state = match mark.state {
            State::Done => DONE,
            State::Open => 0,
        };
        let size = mark.stamp.map_or(0, |stamp| stamp.size);
        Self {
            name: short(name),
            stamp: mark.stamp.map_or(0, |stamp| stamp.print() & !DONE) | state,
            edges: mark.edges.map_or(0, |edges| edges_print(edges, size)),
            proved: proved.min(SEEN - 1),
        }
    }

    pub(super) fn state(&self) -> State {
        if self.stamp & DONE == 0 { State::Open } else { State::Done }
    }

    /// Tells whether the file looked like this when it was last read.
    pub(super) fn looks_like(&self, stamp: &Stamp) -> bool {
        self.stamp & !DONE == stamp.print() & !DONE
    }

    /// Tells whether its stamp and its edges are known.
    pub(super) fn has_edges(&self) -> bool {
        self.stamp & !DONE != 0 && self.edges != 0
    }

    /// Tells whether its edges and its size are these.
    pub(super) fn has_these(&self, edges: u64, size: u64) -> bool {
        self.edges == edges_print(edges, size)
    }

    pub(super) fn proved(&self) -> u32 {
        self.proved & !SEEN
    }

    /// Notes that the file looks otherwise, and is the same.
    pub(super) fn look_like(&mut self, stamp: &Stamp) {
        self.stamp = (stamp.print() & !DONE) | (self.stamp & DONE);
    }

    pub(super) fn see(&mut self) {
        self.proved |= SEEN;
    }
}

/// Returns a number that stands for a file's edges and its size in memory, never 0.
fn edges_print(edges: u64, size: u64) -> u32 {
    u32::try_from(short(&(edges, size)) >> 32).unwrap_or_default().max(1)
}

impl Book {
    /// Adds many; those beyond the bound are left out.
    pub(super) fn add(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            if self.entries.len() >= ENTRIES_MAX {
                self.is_cut = true;
                break;
            }
            self.make_room();
            self.entries.push(entry);
        }
        self.entries.sort_unstable_by_key(|entry| entry.name);
        self.entries.dedup_by_key(|entry| entry.name);
    }

    /// Remembers a file, or remembers it anew.
    pub(super) fn insert(&mut self, entry: Entry) {
        match self.find(entry.name) {
            Ok(at) => self.entries[at] = entry,
            Err(_) if self.entries.len() >= ENTRIES_MAX => self.is_cut = true,
            Err(at) => {
                self.make_room();
                self.entries.insert(at, entry);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(short(name)) {
            self.entries.remove(at);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.find(short(name)).ok().map(|at| &self.entries[at])
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.find(short(name)).ok().map(|at| &mut self.entries[at])
    }

    /// Tells whether a mark of such a file may be written down.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        self.is_cut || self.get(name).is_some()
    }

    /// Begins a listing, which has seen no file yet.
    pub(super) fn begin_round(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.proved &= !SEEN);
    }

    /// Ends a listing that saw so many files: of those that are gone, many are forgotten.
    pub(super) fn end_round(&mut self, matched: usize) {
        if self.entries.len() > matched.saturating_add(ABSENT_MAX) {
            self.entries.retain(|entry| entry.proved & SEEN != 0);
            self.entries.shrink_to(self.entries.len() + ROOM);
            self.is_cut = true;
        }
    }

    /// Returns how many files are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, name: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&name, |entry| entry.name)
    }

    /// Grows by steps: doubling would hold twice of what is needed.
    fn make_room(&mut self) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(ROOM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Book {
        /// Returns how many bytes all entries take.
        pub(in super::super) fn bytes(&self) -> usize {
            self.entries.capacity() * size_of::<Entry>()
        }
    }

    #[test]
    fn more_files_than_the_bound_are_not_remembered_and_may_be_written_down() {
        let mark = Mark { state: State::Done, ..Mark::default() };
        let named = |at: usize| Entry::new(&format!("bon-{at}.xml"), &mark, 0);
        let mut book = Book::default();
        book.add((0..ENTRIES_MAX).map(named));
        assert!(!book.may_hold("other.xml"));
        book.add([named(ENTRIES_MAX)].into_iter());
        book.insert(named(ENTRIES_MAX + 1));
        assert_eq!(book.len(), ENTRIES_MAX);
        assert!(book.may_hold("other.xml"));
        assert!(book.bytes() <= ENTRIES_MAX * 24 + ROOM * 24, "{}", book.bytes());
        // What a listing has not seen goes first.
        book.begin_round();
        book.get_mut("bon-7.xml").unwrap().see();
        book.end_round(1);
        assert_eq!(book.len(), 1);
        assert!(book.bytes() <= 2 * ROOM * 24, "{}", book.bytes());
    }
}
