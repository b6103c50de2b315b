//! A way to reach tills. A source yields chunks of bytes and can resume where a mark says; it knows
//! nothing of what the bytes mean, and writes nothing down: marks are kept by whoever commits.

use std::future::Future;

use shared::time::Timestamp;

pub mod directory;
pub mod fake;
pub mod http;
mod lines;
pub mod serial;
pub mod tcp;

/// What a source says next.
#[derive(Debug)]
pub enum Event {
    /// A feed begins or goes on.
    Begin {
        /// The feed's name within the source.
        feed: String,
        /// Where its next byte stands, and from where a framer starts.
        place: Place,
    },
    /// A feed that has begun before and has not ended is spoken of again.
    Resume {
        /// The feed's name.
        feed: String,
    },
    /// The next bytes of the feed.
    Bytes(Vec<u8>),
    /// No byte has come for a while: what ends by silence has ended.
    Quiet,
    /// The feed has no more bytes for now.
    End(Ending),
    /// All feeds were read to their end: all that had come by this time of the clock is read.
    Idle(Timestamp),
}

/// How far a feed is taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The offset of the first byte that is not.
    pub offset: u64,
    /// What whoever reads on must know of the bytes before it, in its own terms; 0 for nothing.
    pub memory: u64,
}

/// How a feed ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// More may come: bytes that make no unit yet wait.
    Open,
    /// Nothing will be added: bytes that make no unit are a refusal.
    Finished,
    /// It cannot be read on, and why: bytes that make no unit are a refusal.
    Damaged(String),
}

/// Whether what a feed holds is taken in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Its format's own end mark was read, or there is nothing left over.
    Whole,
    /// Bytes are left that make no unit yet.
    Partial,
}

/// Why a source cannot be read now. It is asked again later.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder is not there or cannot be listed.
    #[error("the folder {path} cannot be read")]
    Folder {
        /// The folder.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Files were read from the folder, and it holds none any more.
    #[error(
        "the folder {path} is empty, though {known} files of it are known: is it mounted? \
         where it is emptied by right, say may_empty = true"
    )]
    Emptied {
        /// The folder.
        path: String,
        /// How many files are known.
        known: usize,
    },
    /// In the folder's place lies another disk, with none of the files that were read.
    #[error(
        "the folder {path} lies on another disk, and none of its known files is there: is it \
         mounted? where it was exchanged by right, say may_empty = true or start the agent anew"
    )]
    Replaced {
        /// The folder.
        path: String,
    },
    /// It holds more files than can be remembered.
    #[error(
        "the folder {path} holds {files} files that are to be read, at most {most} can be: nothing \
         of it is read until some that were read are cleared away; processed_folder moves them"
    )]
    Crowded {
        /// The folder.
        path: String,
        /// How many files.
        files: usize,
        /// How many there may be.
        most: usize,
    },
    /// A service does not answer, or not with what can be read.
    #[error("the service {url} cannot be read")]
    Endpoint {
        /// Its URL, without the query.
        url: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file in it cannot be read; the others can. If its feed was begun, it is over and begins anew.
    #[error("the file {feed} cannot be read")]
    Feed {
        /// The file.
        feed: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A line to a till cannot be had.
    #[error("{what}")]
    Line {
        /// Which line, and what was tried.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Copies of what a printer got were given up, so that the printer did not wait.
    #[error("{bytes} bytes of the printer's copy were given up")]
    CopyLost {
        /// How many bytes.
        bytes: u64,
    },
}

/// A way to reach tills.
pub trait Source: Send {
    /// Waits for what comes next. May be dropped while it waits: nothing is lost by that.
    fn next(&mut self) -> impl Future<Output = Result<Event, SourceError>> + Send;

    /// Returns the mark of the present feed that is taken in up to a place; nothing where the source
    /// cannot go back, or where its place moves only at the feed's end.
    fn mark(&mut self, place: Place, completeness: Completeness) -> Option<String>;

    /// Tells that what was read is committed with its mark: the source may let go of it, and answer
    /// whoever waits for an answer.
    fn committed(&mut self, fate: Fate);

    /// Tells, after `committed`, how the last telegram among what is committed came: whole, or damaged
    /// and to be sent again. Only now may its sender hear of it.
    fn answer(&mut self, _: Form) {}

    /// Tells that the disk takes nothing now: a source that can be held says so to its till.
    fn held_back(&mut self) {}
}

/// How a telegram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Whole, whatever it says.
    Sound,
    /// Damaged: sent again it may come whole.
    Garbled,
}

/// What became of bytes that are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All of it is counted, or was counted before.
    Taken,
    /// Some of it is set aside.
    SetAside,
}
