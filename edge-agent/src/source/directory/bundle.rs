//! A folder as one stream of bytes: an uncompressed POSIX tar of its regular files, by name, with no
//! times, so that the same files always give the same bytes. Nothing is held but the present header.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};

use super::stamp::{Stamp, is_unfinished, stamp};
use crate::digest::Digest;

/// Bytes of all files of a bundle: a year's export of a busy store, many times over.
pub const BUNDLE_BYTES_MAX: u64 = 4 << 30;

/// Files of a bundle: an export by the German standard has some twenty.
pub const BUNDLE_FILES_MAX: usize = 256;

/// Bytes of a tar's block.
const BLOCK_BYTES: usize = 512;

/// A file of a bundle.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    stamp: Stamp,
}

/// Returns what tells one state of a bundle from another: the names, sizes and times of its files.
pub(super) fn bundle_stamp(folder: &Path) -> Result<Stamp> {
    let (mut digest, mut whole) = (Digest::default(), Stamp::default());
    for Member { name, stamp } in members(folder)? {
        digest.update(name.as_bytes());
        digest.update(format!("\0{stamp:?}\0").as_bytes());
        whole.size = whole.size.saturating_add(stamp.size);
        whole.modified = whole.modified.max(stamp.modified);
        whole.changed = whole.changed.max(stamp.changed);
    }
    let [a, b, c, d, e, f, g, h, ..] = digest.value();
    whole.inode = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    Ok(whole)
}

/// Returns the regular files of a folder by name; links are not followed, unfinished names are left
/// alone. One too many is returned where there are too many.
fn members(folder: &Path) -> Result<Vec<Member>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = entry.file_name().into_string();
        if let Ok(name) = name
            && meta.is_file()
            && !is_unfinished(&name)
        {
            found.push(Member { name, stamp: stamp(&meta) });
        }
        if found.len() > BUNDLE_FILES_MAX {
            break;
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Reads a folder as a tar.
pub struct Bundle {
    folder: PathBuf,
    /// The files still to come, the next one last.
    members: Vec<Member>,
    /// What is being read: headers, padding and end in memory, a file from the disk.
    part: Part,
}

enum Part {
    /// Bytes in memory, and how many are read.
    Bytes(Vec<u8>, usize),
    /// A file, the bytes that its header has promised, and the padding behind them.
    File { file: File, left: u64, padding: usize },
    /// All is read.
    End,
}

impl Bundle {
    /// Opens a folder. One that is too large is a fault of kind `InvalidData`.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut members = members(folder)?;
        let fault = |what: String| Err(Error::new(ErrorKind::InvalidData, what));
        if members.len() > BUNDLE_FILES_MAX {
            return fault(format!("the folder holds more than {BUNDLE_FILES_MAX} files"));
        }
        let bytes = members.iter().fold(0_u64, |sum, it| sum.saturating_add(it.stamp.size));
        if bytes > BUNDLE_BYTES_MAX {
            return fault(format!("the folder holds more than {BUNDLE_BYTES_MAX} bytes"));
        }
        members.reverse();
        Ok(Self { folder: folder.to_owned(), members, part: Part::Bytes(Vec::new(), 0) })
    }

    /// Goes on to the next part.
    fn advance(&mut self) -> Result<()> {
        self.part = match std::mem::replace(&mut self.part, Part::End) {
            Part::File { padding, .. } => Part::Bytes(vec![0; padding], 0),
            Part::Bytes(bytes, _) if bytes.len() > BLOCK_BYTES => Part::End,
            Part::Bytes(bytes, _) if bytes.len() == BLOCK_BYTES => self.file()?,
            Part::Bytes(..) | Part::End => self.header()?,
        };
        Ok(())
    }

    /// Makes the header of the next file, or the end: two blocks of zeros.
    fn header(&self) -> Result<Part> {
        let Some(member) = self.members.last() else {
            return Ok(Part::Bytes(vec![0; 2 * BLOCK_BYTES], 0));
        };
        let mut header = tar::Header::new_ustar();
        let unfit = |error| Error::new(ErrorKind::InvalidData, format!("a name in it: {error}"));
        header.set_path(&member.name).map_err(unfit)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o444);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(member.stamp.size);
        header.set_cksum();
        Ok(Part::Bytes(header.as_bytes().to_vec(), 0))
    }

    /// Opens the file whose header was read.
    fn file(&mut self) -> Result<Part> {
        let member = self.members.pop().expect("a header is made of a file that is still to come");
        let file = super::file::open_plain(&self.folder.join(&member.name))?;
        let block = BLOCK_BYTES as u64;
        let padding = member.stamp.size.next_multiple_of(block) - member.stamp.size;
        let padding = usize::try_from(padding).expect("it is less than a block");
        Ok(Part::File { file, left: member.stamp.size, padding })
    }
}

impl Read for Bundle {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match &mut self.part {
                Part::Bytes(bytes, at) if *at < bytes.len() => {
                    let count = into.len().min(bytes.len() - *at);
                    into[..count].copy_from_slice(&bytes[*at..*at + count]);
                    *at += count;
                    return Ok(count);
                }
                Part::File { file, left, .. } if *left > 0 => {
                    let most = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let count = file.read(&mut into[..most])?;
                    if count == 0 && most > 0 {
                        return Err(Error::other("a file of the bundle has shrunk"));
                    }
                    *left -= count as u64;
                    return Ok(count);
                }
                Part::End => return Ok(0),
                Part::Bytes(..) | Part::File { .. } => self.advance()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(folder: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        Bundle::open(folder).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn any_tar_reader_finds_the_files_by_name_whatever_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(5_000);
        let files = [("b.csv", long.as_str()), ("a.csv", ""), ("c.csv", &long[..512])];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        for name in [".hidden", "d.tmp", "e.csv~"] {
            std::fs::write(folder.path().join(name), "no").unwrap();
        }
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::os::unix::fs::symlink("b.csv", folder.path().join("link.csv")).unwrap();
        let first = bytes(folder.path());
        let mut found = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let (mut text, mtime) = (String::new(), entry.header().mtime().unwrap());
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text, mtime));
        }
        let wanted = [("a.csv", ""), ("b.csv", &long), ("c.csv", &long[..512])];
        let wanted = wanted.map(|(name, text)| (name.to_owned(), text.to_owned(), 0));
        assert_eq!(found, wanted);
        std::fs::write(folder.path().join("a.csv"), "").unwrap();
        assert!(bytes(folder.path()) == first, "the same files give the same bytes");
    }

    #[test]
    fn too_many_files_are_refused_and_a_shrinking_file_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "some text").unwrap();
        let mut bundle = Bundle::open(folder.path()).unwrap();
        std::fs::write(&path, "some").unwrap();
        let error = bundle.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "a file of the bundle has shrunk");
        for number in 0..BUNDLE_FILES_MAX {
            std::fs::write(folder.path().join(format!("{number}.csv")), "").unwrap();
        }
        let error = Bundle::open(folder.path()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the folder holds more than 256 files");
    }
}
