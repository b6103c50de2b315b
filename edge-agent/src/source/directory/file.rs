//! One file, or one bundle, read in chunks; `.gz` is unpacked on the way, and offsets count unpacked
//! bytes.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use nix::fcntl::OFlag;

use super::bundle::{Bundle, bundle_stamp};
use super::mount::Identity;
use super::stamp::{Shape, Stamp, stamp};
use crate::digest::Digest;

/// Bytes read at once: some dozen receipts, a fraction of the agent's memory.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes before the mark that prove a file that has only grown: receipts differ in fewer.
const TRAIL_BYTES: usize = 1 << 10;

/// Bytes at either end of a file that tell whether only its times have moved.
const EDGE_BYTES: u64 = 4 << 10;

/// A file with its place in it.
pub(super) struct OpenFile {
    reader: Box<dyn Read + Send>,
}

/// A file that was opened, and where reading goes on.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) stamp: Stamp,
    pub(super) identity: Identity,
    pub(super) offset: u64,
    /// Hash of the bytes before `offset`.
    pub(super) digest: Digest,
    /// The last bytes before `offset`.
    pub(super) tail: Vec<u8>,
}

/// What is known of a file's beginning.
pub(super) struct Known {
    pub(super) offset: u64,
    /// The first half of the SHA-256 of the bytes before `offset`.
    pub(super) hash: u128,
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
    /// It cannot be unpacked further; it may still be being written.
    Torn(String),
}

impl OpenFile {
    /// Opens a file and goes on at what is known of it; where its beginning is another, at its start.
    pub(super) fn open(path: &Path, shape: Shape, known: Known) -> std::io::Result<Opened> {
        let (file, stamp) = match shape {
            Shape::File => {
                let file = open_plain(path)?;
                let stamp = stamp(&file.metadata()?);
                (file, stamp)
            }
            Shape::Bundle => (File::open(path)?, bundle_stamp(path)?),
        };
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        if let Some(trail) = known.trail
            && trail.identity == identity
            && meta.len() > known.offset
            && is_plain(path, shape)
            && is_followed(&file, known.offset, &trail.tail)?
        {
            let Trail { digest, tail, .. } = trail;
            let file = Self { reader: Box::new(file) };
            return Ok(Opened { file, stamp, identity, offset: known.offset, digest, tail });
        }
        let mut opened = Self { reader: reader(path, shape, file) };
        let (digest, tail) = opened.skip(known.offset)?;
        if known.offset == 0 || half(&digest) == known.hash {
            let offset = known.offset;
            return Ok(Opened { file: opened, stamp, identity, offset, digest, tail });
        }
        let file = match shape {
            Shape::File => open_plain(path)?,
            Shape::Bundle => File::open(path)?,
        };
        let file = Self { reader: reader(path, shape, file) };
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
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    break Ok(Chunk::Torn("it ends within its packed bytes".to_owned()));
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) =>
                {
                    break Ok(Chunk::Torn(format!("it cannot be unpacked: {error}")));
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

/// Opens a file for reading; a link in its place is none.
pub(super) fn open_plain(path: &Path) -> std::io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::NotFound, "it is no file any more"));
    }
    Ok(file)
}

/// Returns a hash of a file's first and last bytes, never 0.
pub(super) fn edges(path: &Path) -> std::io::Result<u64> {
    let file = open_plain(path)?;
    let length = file.metadata()?.len();
    let mut digest = Digest::default();
    let last = length.saturating_sub(EDGE_BYTES);
    for (from, to) in [(0, length.min(EDGE_BYTES)), (last.max(EDGE_BYTES.min(length)), length)] {
        let size = usize::try_from(to - from).expect("an edge fits memory");
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, from)?;
        digest.update(&bytes);
    }
    let [a, b, c, d, e, f, g, h, ..] = digest.value();
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1))
}

/// Returns the half of a hash that is kept.
pub(super) fn half(digest: &Digest) -> u128 {
    let value = digest.value();
    let (first, _) = value.split_at(16);
    u128::from_be_bytes(first.try_into().expect("sixteen bytes are half of a hash"))
}

fn reader(path: &Path, shape: Shape, file: File) -> Box<dyn Read + Send> {
    match shape {
        Shape::Bundle => match Bundle::open(path) {
            Ok(bundle) => Box::new(bundle),
            Err(error) => Box::new(Unreadable(Some(error))),
        },
        Shape::File if is_packed(path) => Box::new(MultiGzDecoder::new(file)),
        Shape::File => Box::new(file),
    }
}

/// Says why nothing can be read, where the bytes would begin.
struct Unreadable(Option<Error>);

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn is_plain(path: &Path, shape: Shape) -> bool {
    shape == Shape::File && !is_packed(path)
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}
