//! Why the buffer does not do what it is asked, and what may come of asking again.

use std::path::PathBuf;

use super::{KeyError, Unbound};

/// Why the buffer did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// The key is not the one that the buffer was made with.
    #[error("the key does not open the buffer {0}: wrong key, or no buffer; nothing was touched")]
    WrongKey(PathBuf),
    /// The key cannot be had.
    #[error("the buffer's key cannot be had")]
    Key(#[source] KeyError),
    /// Another process writes to it.
    #[error("an agent is already running on the buffer {0}")]
    Taken(PathBuf),
    /// It is not the one that it is bound to be.
    #[error("the buffer {path} must not go on as it is: {why}")]
    Unbound {
        /// The database file.
        path: PathBuf,
        /// Why.
        why: Unbound,
    },
    /// The linked SQLite can corrupt a write-ahead log.
    #[error("SQLite {0} is linked, at least 3.51.3 is needed")]
    OldSqlite(&'static str),
    /// Its tables are of another version of the agent.
    #[error("the tables of the buffer {path} are of version {found}, this agent knows {known}")]
    OtherVersion {
        /// The database file.
        path: PathBuf,
        /// The version that it says.
        found: String,
        /// The version that is known.
        known: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the buffer could not {what}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// What was read back is not what is ever written.
    #[error("the buffer holds {0}, which was never written by an agent")]
    Unreadable(String),
    /// It may take no more of the disk; nothing has changed.
    #[error(
        "the buffer holds {used} of the {bytes} bytes of its quota: what it holds must go out first"
    )]
    Full {
        /// Bytes in use.
        used: u64,
        /// Its quota.
        bytes: u64,
    },
    /// What was tried again is refused again; nothing has changed.
    #[error("it is refused again: {0}")]
    RefusedAgain(String),
    /// The writing thread has ended.
    #[error("the buffer is closed")]
    Closed,
}

impl BufferError {
    /// Returns true where the disk or the quota has no more room.
    pub fn is_out_of_room(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            Self::WrongKey(_)
            | Self::Key(_)
            | Self::Taken(_)
            | Self::Unbound { .. }
            | Self::OldSqlite(_)
            | Self::OtherVersion { .. }
            | Self::Unreadable(_)
            | Self::RefusedAgain(_)
            | Self::Closed => false,
        }
    }

    /// Returns true where the disk failed, so that the same may succeed later.
    pub fn is_of_the_disk(&self) -> bool {
        let failed = |source: &rusqlite::Error| {
            use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, SystemIoFailure};
            let code = source.sqlite_error_code();
            code.is_some_and(|code| matches!(code, SystemIoFailure | CannotOpen | DatabaseBusy))
        };
        match self {
            Self::Database { source, .. } => self.is_out_of_room() || failed(source),
            Self::File { .. } => true,
            Self::Full { .. }
            | Self::WrongKey(_)
            | Self::Key(_)
            | Self::Taken(_)
            | Self::Unbound { .. }
            | Self::OldSqlite(_)
            | Self::OtherVersion { .. }
            | Self::Unreadable(_)
            | Self::RefusedAgain(_)
            | Self::Closed => false,
        }
    }
}
