//! One file, read in chunks; `.gz` is unpacked on the way, and offsets count unpacked bytes.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::digest::Digest;

/// Bytes read at once: some dozen receipts, a fraction of the agent's memory.
const CHUNK_BYTES: usize = 64 << 10;

/// A file with its place in it.
pub(super) struct OpenFile {
    reader: Box<dyn Read + Send>,
}

/// A file that was opened, and where reading goes on.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) stamp: String,
    pub(super) offset: u64,
    /// Hash of the bytes before `offset`.
    pub(super) digest: Digest,
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
    /// Opens a file and goes on at `known`, an offset and the hash of what stood before it; where
    /// the file's beginning is another, at its start.
    pub(super) fn open(path: &Path, known: &(u64, String)) -> std::io::Result<Opened> {
        let file = File::open(path)?;
        let stamp = stamp(&file.metadata()?);
        let mut opened = Self { reader: reader(path, file) };
        let digest = opened.skip(known.0)?;
        if known.0 == 0 || digest.hex() == known.1 {
            return Ok(Opened { file: opened, stamp, offset: known.0, digest });
        }
        let file = Self { reader: reader(path, File::open(path)?) };
        Ok(Opened { file, stamp, offset: 0, digest: Digest::default() })
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
    fn skip(&mut self, offset: u64) -> std::io::Result<Digest> {
        let mut digest = Digest::default();
        let mut left = offset;
        let mut bytes = vec![0; if offset == 0 { 0 } else { CHUNK_BYTES }];
        while left > 0 {
            let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.reader.read(&mut bytes[..most]) {
                Ok(0) => break,
                Ok(count) => {
                    digest.update(&bytes[..count]);
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
        Ok(digest)
    }
}

fn reader(path: &Path, file: File) -> Box<dyn Read + Send> {
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }
}
