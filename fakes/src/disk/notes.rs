//! The recorder's notes: frames of a fixed head and its bytes, in the order in which things were done.
//! A frame that breaks off ends the notes: whoever wrote it was killed.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of one note that are taken for possible: more is no note.
const NOTE_BYTES_MAX: usize = 64 << 20;

const HEAD_BYTES: usize = 32;

/// The kind of a note that this side writes itself.
const PLACED: u32 = 100;

/// Why notes cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// The file refused.
    #[error("cannot {what} the notes {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The notes' file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is something else in it.
    #[error("the note at byte {at} of {path} is none: {why}")]
    Content {
        /// The notes' file.
        path: PathBuf,
        /// Where the note begins.
        at: usize,
        /// What is wrong.
        why: String,
    },
}

/// One thing that was done. Paths are below the recorded folder; the folder itself is "".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A file or folder was opened, and made where it was not there.
    Opened {
        /// Its path.
        path: String,
        /// Its number on the disk.
        inode: u64,
        /// Whether it was emptied by that.
        emptied: Emptied,
    },
    /// Bytes were written.
    Written {
        /// The file.
        inode: u64,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was given a length.
    Cut {
        /// The file.
        inode: u64,
        /// The length.
        length: u64,
    },
    /// A file or folder was synced.
    Synced {
        /// The file or folder.
        inode: u64,
    },
    /// A file was moved.
    Renamed {
        /// From where.
        from: String,
        /// To where.
        to: String,
    },
    /// A file was removed.
    Unlinked(String),
    /// A folder was made.
    FolderMade(String),
    /// A folder was removed.
    FolderRemoved(String),
    /// A socket was made.
    SocketMade(String),
    /// Bytes were about to be sent over the network.
    Sent {
        /// The other end's port.
        peer: u16,
        /// What.
        bytes: Vec<u8>,
    },
    /// A line was about to be said on standard error.
    Said(String),
    /// Somebody else was about to put a file there, whole and synced.
    Placed {
        /// Where.
        path: String,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// Something was done that is not noted.
    Odd(String),
}

/// Whether opening a file has emptied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// Reads all notes of a file; none where there is no file.
pub fn read(path: &Path) -> Result<Vec<Note>, NotesError> {
    let mut whole = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut whole)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(NotesError::File { what: "read", path: path.to_owned(), source });
        }
    }
    let (mut notes, mut at) = (Vec::new(), 0);
    while let Some(head) = whole.get(at..at + HEAD_BYTES) {
        let wrong = |why: String| NotesError::Content { path: path.to_owned(), at, why };
        let head = Head::parse(head);
        let lengths = head.lengths.map(|length| length as usize);
        let length: usize = lengths.iter().sum();
        if length > NOTE_BYTES_MAX {
            return Err(wrong(format!("it has {length} bytes")));
        }
        let Some(body) = whole.get(at + HEAD_BYTES..at + HEAD_BYTES + length) else { break };
        notes.push(head.note(body, lengths).map_err(wrong)?);
        at += HEAD_BYTES + length;
    }
    Ok(notes)
}

/// Notes that a file is about to be put there by somebody else, before it is.
pub fn append_placed(notes: &Path, path: &str, bytes: &[u8]) -> Result<(), NotesError> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("tests place small files");
    let lengths = [length(path.as_bytes()), 0, length(bytes)];
    let mut whole = Vec::new();
    for number in [PLACED].into_iter().chain(lengths) {
        whole.extend(number.to_ne_bytes());
    }
    whole.extend([0; 16]);
    whole.extend(path.as_bytes());
    whole.extend(bytes);
    let opened = File::options().create(true).append(true).open(notes);
    // One write, so that it stands between two of the recorder's.
    let done = opened.and_then(|mut file| file.write_all(&whole));
    done.map_err(|source| NotesError::File { what: "write", path: notes.to_owned(), source })
}

struct Head {
    kind: u32,
    lengths: [u32; 3],
    inode: u64,
    number: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let small = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let large = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        Self {
            kind: small(0),
            lengths: [small(4), small(8), small(12)],
            inode: large(16),
            number: large(24),
        }
    }

    fn note(&self, body: &[u8], lengths: [usize; 3]) -> Result<Note, String> {
        let (path, rest) = body.split_at(lengths[0]);
        let (to, data) = rest.split_at(lengths[1]);
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| "its path is no text".to_owned())
        };
        let (path, to) = (text(path)?, text(to)?);
        let (inode, bytes) = (self.inode, data.to_vec());
        Ok(match self.kind {
            1 => {
                let emptied = if self.number == 0 { Emptied::No } else { Emptied::Yes };
                Note::Opened { path, inode, emptied }
            }
            2 => Note::Written { inode, offset: self.number, bytes },
            3 => Note::Cut { inode, length: self.number },
            4 => Note::Synced { inode },
            5 => Note::Renamed { from: path, to },
            6 => Note::Unlinked(path),
            7 => Note::FolderMade(path),
            8 => Note::FolderRemoved(path),
            9 => Note::SocketMade(path),
            10 => {
                let peer = u16::try_from(self.number).map_err(|_| "its port is none".to_owned())?;
                Note::Sent { peer, bytes }
            }
            11 => Note::Said(String::from_utf8_lossy(data).into_owned()),
            12 => Note::Odd(path),
            PLACED => Note::Placed { path, bytes },
            other => return Err(format!("nothing is of kind {other}")),
        })
    }
}
