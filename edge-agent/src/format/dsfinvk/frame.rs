//! One export is one unit: a zip, or a folder as an uncompressed tar. Only its end tells what is in
//! it (a zip's table of contents stands there), so it is held whole, up to a bound. What begins like
//! neither is refused in pieces as it comes.

use super::super::held::Held;
use super::super::{Framed, Framer, GARBAGE_BYTES_MAX};

/// Bytes of an archive that is held: a large store's export of a month, packed, has a tenth of it.
pub(in crate::format) const ARCHIVE_BYTES_MAX: usize = 64 << 20;

/// Bytes that tell what a file is: a tar names itself in its first block.
const HEAD_BYTES: usize = 512;

const TAR_MAGIC: &[u8] = b"ustar";
const TAR_MAGIC_AT: usize = 257;
const NO_ARCHIVE: &str = "neither a zip nor a tar of an export";
const TOO_LARGE: &str = "an archive of more than 64 MiB";

/// The framer of archives.
#[derive(Debug)]
pub struct ArchiveFramer {
    held: Held,
    /// Why all that comes is refused, where it is.
    foreign: Option<&'static str>,
    /// An archive was handed on: blanks and zeros behind it are nothing.
    read: bool,
    position: u64,
}

impl ArchiveFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of an archive.
    pub fn new(start: u64) -> Self {
        Self { held: Held::new(start), foreign: None, read: start > 0, position: start }
    }

    fn refuse_more_than(&mut self, keep: usize) -> Vec<Framed> {
        let Some(reason) = self.foreign else { return Vec::new() };
        let mut pieces = Vec::new();
        while self.held.len() > keep {
            let length = self.held.len().min(GARBAGE_BYTES_MAX);
            pieces.push(self.held.refuse(length, reason));
            self.position = self.held.start();
        }
        pieces
    }

    fn unit(&mut self) -> Framed {
        let unit = self.held.take(self.held.len());
        self.position = self.held.start();
        self.read = true;
        Framed::Unit(unit)
    }

    fn is_padding(&self) -> bool {
        self.read && self.held.bytes().iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
    }
}

impl Framer for ArchiveFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        // Small steps: what is refused lies in the same pieces whatever the chunks.
        for part in chunk.chunks(HEAD_BYTES) {
            self.held.extend(part);
            if self.foreign.is_none() && self.held.len() > ARCHIVE_BYTES_MAX {
                self.foreign = Some(TOO_LARGE);
            }
            if self.foreign.is_none() && is_foreign(self.held.bytes()) && !self.is_padding() {
                self.foreign = Some(NO_ARCHIVE);
            }
            found.extend(self.refuse_more_than(GARBAGE_BYTES_MAX));
        }
        found
    }

    fn quiet(&mut self) -> Vec<Framed> {
        if self.foreign.is_none() && is_whole(self.held.bytes()) {
            vec![self.unit()]
        } else {
            Vec::new()
        }
    }

    fn finish(&mut self) -> Option<Framed> {
        if self.held.len() == 0 {
            return None;
        }
        if self.is_padding() {
            self.held.skip();
            return None;
        }
        if self.foreign.is_none() && kind(self.held.bytes()).is_none() {
            self.foreign = Some(NO_ARCHIVE);
        }
        if self.foreign.is_some() {
            return self.refuse_more_than(0).pop();
        }
        Some(self.unit())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        let nothing_left = self.held.len() == 0 || self.is_padding();
        self.read && nothing_left && self.foreign.is_none()
    }
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Zip,
    Tar,
}

/// Tells by the first bytes what an archive is.
pub(super) fn kind(bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(Kind::Zip);
    }
    let is_tar = bytes.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(TAR_MAGIC));
    is_tar.then_some(Kind::Tar)
}

fn is_foreign(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD_BYTES && kind(bytes).is_none()
}

/// Tells whether an archive ends where the bytes end.
fn is_whole(bytes: &[u8]) -> bool {
    match kind(bytes) {
        Some(Kind::Zip) => zip_ends(bytes),
        // Two empty blocks end a tar (POSIX.1-2017, pax, "ustar Interchange Format").
        Some(Kind::Tar) => {
            let ending = bytes.len().checked_sub(2 * HEAD_BYTES).map(|at| &bytes[at..]);
            bytes.len().is_multiple_of(HEAD_BYTES)
                && ending.is_some_and(|ending| ending.iter().all(|byte| *byte == 0))
        }
        None => false,
    }
}

/// Tells whether the record that ends a zip (APPNOTE.TXT 4.3.16) closes the bytes held and names a
/// table of contents that lies right before it.
fn zip_ends(bytes: &[u8]) -> bool {
    const RECORD_BYTES: usize = 22;
    const COMMENT_BYTES_MAX: usize = 65_535;
    let Some(last) = bytes.len().checked_sub(RECORD_BYTES) else { return false };
    let first = last.saturating_sub(COMMENT_BYTES_MAX);
    (first..=last).rev().any(|at| {
        let record = &bytes[at..];
        let number = |from: usize, length: usize| {
            record[from..from + length]
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        record.starts_with(b"PK\x05\x06")
            && number(20, 2) == (record.len() - RECORD_BYTES) as u64
            && number(12, 4) + number(16, 4) == at as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_comes_out_when_its_end_is_read_and_silence_falls() {
        let empty_zip = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
        let mut framer = ArchiveFramer::new(0);
        assert!(framer.push(&empty_zip[..21]).is_empty() && framer.quiet().is_empty());
        assert!(framer.push(&empty_zip[21..]).is_empty() && !framer.complete());
        assert_eq!(framer.quiet().len(), 1);
        assert!(framer.complete() && framer.finish().is_none());
        assert_eq!(framer.position(), 22);
    }

    #[test]
    fn zeros_behind_a_tar_are_nothing_and_other_bytes_are_refused() {
        let mut tar = vec![0; 512 * 3];
        tar[TAR_MAGIC_AT..TAR_MAGIC_AT + 5].copy_from_slice(TAR_MAGIC);
        let mut framer = ArchiveFramer::new(0);
        framer.push(&tar);
        assert_eq!(framer.quiet().len(), 1);
        framer.push(&[0; 512]);
        assert!(framer.complete() && framer.finish().is_none());
        framer.push(b"more");
        assert!(matches!(framer.finish(), Some(Framed::Refused { .. })));
    }

    #[test]
    fn what_is_too_large_is_refused_in_bounded_pieces() {
        let mut framer = ArchiveFramer::new(0);
        let mut found = framer.push(b"PK\x03\x04");
        for _ in 0..=64 {
            found.extend(framer.push(&vec![b'x'; 1 << 20]));
        }
        found.extend(framer.finish());
        let held: u64 = found
            .iter()
            .map(|framed| match framed {
                Framed::Refused { unit, .. } => {
                    assert!(unit.bytes.len() <= GARBAGE_BYTES_MAX);
                    unit.end - unit.start
                }
                Framed::Unit(unit) => panic!("a unit of {} bytes", unit.bytes.len()),
            })
            .sum();
        assert_eq!(held, 65 * (1 << 20) + 4);
    }
}
