//! A disk that loses its power. A recorder notes what a program does to a folder; from the notes every
//! state is made that a power cut may leave behind.
//!
//! What is assumed of the disk: bytes that were synced stay. Of all others any sector of 512 bytes may
//! be there or not, as of any moment since, whatever became of its neighbours; so may a file's length.
//! Names that were made, moved or removed since their folder was last synced stay or go back, each
//! folder in the order in which they were changed; syncing a file does not sync its name; a move is
//! there or not, never half. A sector itself is written whole or not at all, and bytes that were
//! synced do not rot: what a disk does that breaks this is no power cut.

mod choice;
mod model;
mod notes;
mod recorder;

pub use choice::Choice;
pub use model::{Disk, DiskError, Image, Part};
pub use notes::{Emptied, Note, NotesError, append_placed, read};
pub use recorder::{Recorder, RecorderError};

#[cfg(test)]
mod tests;
