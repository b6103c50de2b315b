//! What a person may ask of a running agent: one line of JSON over a socket in the state folder, one
//! line back. The words only; `run` carries them out, the command line asks.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::ids::Sequence;

/// Bytes of a question or an answer.
pub const LINE_BYTES_MAX: u64 = 64 << 10;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Send confirmed batches again, with the same bytes.
    Resend {
        /// The first.
        from: Sequence,
        /// The last.
        to: Sequence,
    },
    /// Read again what was set aside.
    Retry {
        /// Its number.
        id: i64,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, in words.
    Done(String),
    /// It is not done, and why.
    Failed(String),
}

/// Returns where the socket of a state folder lies.
pub fn path(state_folder: &Path) -> PathBuf {
    state_folder.join("agent.sock")
}
