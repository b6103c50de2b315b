//! One file, read in chunks; `.gz` is unpacked on the way, and offsets count unpacked bytes.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::digest::Digest;

/// Bytes read at once: some dozen receipts, a fraction of the agent's memory.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes before the mark that prove a file that has only grown: receipts differ in fewer.
const TRAIL_BYTES: usize = 1 << 10;

/// A file with its place in it.
pub(super) struct OpenFile {
    reader: Box<dyn Read + Send>,
}

/// A file that was opened, and where reading goes on.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) stamp: String,
    pub(super) identity: Identity,
    pub(super) offset: u64,
    /// Hash of the bytes before `offset`.
    pub(super) digest: Digest,
    /// The last bytes before `offset`.
    pub(super) tail: Vec<u8>,
}

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// What is known of a file's beginning.
pub(super) struct Known {
    pub(super) offset: u64,
    pub(super) hash: String,
    pub(super) trail: Option<Trail>,
}

/// What spares a file that grows all day the hashing of its whole beginning at every receipt. It
/// is believed only where the same file has grown; after a restart the whole beginning is hashed.
#[derive(Clone)]
pub(super) struct Trail {
    pub(super) identity: Identity,
    pub(super) digest: Digest,
    pub(super) tail: Vec<u8>,
}

/// Keeps the last bytes of what was taken in.
pub(super) fn keep_tail(tail: &mut Vec<u8>, taken: &[u8]) {
    tail.extend_from_slice(&taken[taken.len().saturating_sub(TRAIL_BYTES)..]);
    let surplus = tail.len().saturating_sub(TRAIL_BYTES);
    tail.drain(..surplus);
}

/// What a file gives.
pub(super) enum Chunk {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// No more for now.
    End,
    /// It cannot be unpacked further.
    Damaged(String),
}

/// Tells one state of a file from another, as far as the file system does.
pub(super) fn stamp(meta: &Metadata) -> String {
    let (modified, changed) =
        ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    let (device, inode, size) = (meta.dev(), meta.ino(), meta.size());
    format!("{device}:{inode}:{size}:{}.{}:{}.{}", modified.0, modified.1, changed.0, changed.1)
}

impl OpenFile {
    /// Opens a file and goes on at what is known of it; where its beginning is another, at its start.
    pub(super) fn open(path: &Path, known: Known) -> std::io::Result<Opened> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let (stamp, identity) = (stamp(&meta), (meta.dev(), meta.ino()));
        if let Some(trail) = known.trail
            && trail.identity == identity
            && meta.len() > known.offset
            && !is_packed(path)
            && is_followed(&file, known.offset, &trail.tail)?
        {
            let Trail { digest, tail, .. } = trail;
            let file = Self { reader: Box::new(file) };
            return Ok(Opened { file, stamp, identity, offset: known.offset, digest, tail });
        }
        let mut opened = Self { reader: reader(path, file) };
        let (digest, tail) = opened.skip(known.offset)?;
        if known.offset == 0 || digest.hex() == known.hash {
            let offset = known.offset;
            return Ok(Opened { file: opened, stamp, identity, offset, digest, tail });
        }
        let file = Self { reader: reader(path, File::open(path)?) };
        let (digest, tail) = (Digest::default(), Vec::new());
        Ok(Opened { file, stamp, identity, offset: 0, digest, tail })
    }

    /// Reads the next chunk. Takes and returns the file, since it is read on another thread.
    pub(super) fn read(mut self) -> (Self, std::io::Result<Chunk>) {
        let mut bytes = vec![0; CHUNK_BYTES];
        let chunk = loop {
            match self.reader.read(&mut bytes) {
                Ok(0) => break Ok(Chunk::End),
                Ok(count) => {
                    bytes.truncate(count);
                    break Ok(Chunk::Bytes(bytes));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A packed file that is still being written ends within its stream.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Ok(Chunk::End),
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) =>
                {
                    break Ok(Chunk::Damaged(format!("it cannot be unpacked: {error}")));
                }
                Err(error) => break Err(error),
            }
        };
        (self, chunk)
    }

    /// Hashes the bytes before an offset; fewer where the file is shorter.
    fn skip(&mut self, offset: u64) -> std::io::Result<(Digest, Vec<u8>)> {
        let (mut digest, mut tail) = (Digest::default(), Vec::new());
        let mut left = offset;
        let mut bytes = vec![0; if offset == 0 { 0 } else { CHUNK_BYTES }];
        while left > 0 {
            let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.reader.read(&mut bytes[..most]) {
                Ok(0) => break,
                Ok(count) => {
                    digest.update(&bytes[..count]);
                    keep_tail(&mut tail, &bytes[..count]);
                    left -= count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((digest, tail))
    }
}

/// Leaves the file at `offset` and tells whether `tail` stands before it.
fn is_followed(file: &File, offset: u64, tail: &[u8]) -> std::io::Result<bool> {
    let mut file = file;
    let start = offset.saturating_sub(tail.len() as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut found = vec![0; tail.len()];
    match file.read_exact(&mut found) {
        Ok(()) if found == tail => Ok(true),
        Ok(()) => file.rewind().map(|()| false),
        // It has shrunk since it was looked at.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => file.rewind().map(|()| false),
        Err(error) => Err(error),
    }
}

fn reader(path: &Path, file: File) -> Box<dyn Read + Send> {
    if is_packed(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
