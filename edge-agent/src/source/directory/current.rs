//! The file that is being read: what of it is taken in, and where it is to be read on. A read that is
//! under way outlives whoever waits for it.

use std::io::Error;

use tokio::task::JoinHandle;

use super::file::{Chunk, OpenFile, Trail, half, keep_tail};
use super::known::{Mark, State};
use super::stamp::{Shape, Stamp};
use crate::source::{Completeness, Ending, Place};

/// The file that is being read.
pub(super) struct Current {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) stamp: Stamp,
    /// Whether a change after this reading shows in the stamp.
    pub(super) stamp_tells: bool,
    pub(super) edges: Option<u64>,
    pub(super) reading: Reading,
    /// What stands before `base`.
    pub(super) trail: Trail,
    pub(super) base: u64,
    /// Bytes after `base`: at most what the framer holds and one chunk.
    pub(super) pending: Vec<u8>,
    pub(super) finished: bool,
    /// It ends in the midst of packed bytes.
    pub(super) torn: bool,
    pub(super) ending: Option<Ending>,
    pub(super) mark: Option<Mark>,
}

/// How far reading is.
pub(super) enum Reading {
    /// The next chunk can be read.
    Idle(OpenFile),
    /// One is being read.
    Busy(JoinHandle<(OpenFile, Result<Chunk, Error>)>),
    /// It is read to its end.
    Over,
}

impl Current {
    /// Waits for the next chunk; nothing after the end. May be dropped while it waits.
    pub(super) async fn read(&mut self) -> Option<Result<Chunk, Error>> {
        self.reading = match std::mem::replace(&mut self.reading, Reading::Over) {
            Reading::Idle(file) => Reading::Busy(tokio::task::spawn_blocking(|| file.read())),
            Reading::Busy(under_way) => Reading::Busy(under_way),
            Reading::Over => return None,
        };
        let Reading::Busy(under_way) = &mut self.reading else { return None };
        let (file, chunk) = under_way.await.expect("file operations do not panic");
        let goes_on = matches!(chunk, Ok(Chunk::Bytes(_)));
        self.reading = if goes_on { Reading::Idle(file) } else { Reading::Over };
        Some(chunk)
    }

    /// Takes in everything before a place and returns the mark that says so.
    pub(super) fn take_in(&mut self, place: Place, completeness: Completeness) -> String {
        let Place { offset, memory } = place;
        assert!(offset >= self.base, "a feed is taken in forwards");
        let taken = usize::try_from(offset - self.base).expect("pending bytes fit memory");
        self.trail.digest.update(&self.pending[..taken]);
        keep_tail(&mut self.trail.tail, &self.pending[..taken]);
        self.pending.drain(..taken);
        self.base = offset;
        let state = match (&self.ending, completeness) {
            (None, _) | (Some(Ending::Open), Completeness::Partial) => State::Open,
            (Some(Ending::Open), Completeness::Whole) if self.torn => State::Open,
            (Some(Ending::Open), Completeness::Whole)
            | (Some(Ending::Finished | Ending::Damaged(_)), _) => State::Done,
        };
        let is_known = self.ending.is_some() && self.stamp_tells;
        let mark = Mark {
            offset,
            memory,
            hash: format!("{:032x}", half(&self.trail.digest)),
            stamp: is_known.then_some(self.stamp),
            state,
            edges: self.edges,
        };
        let text = serde_json::to_string(&mark).expect("a mark is text and numbers");
        self.mark = Some(mark);
        text
    }
}
