//! The files of an export, one by one and bounded: what a zip claims of its size is believed by
//! nobody. The only file that names zip and tar.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use super::frame::{Kind, kind};

/// Bytes of all tables together, unpacked. They are grouped by receipt in memory, so this is what
/// bounds a decoder's: some ten times it at the worst.
pub(super) const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// Files of an export; the standard has 22.
const FILES_MAX: usize = 1024;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("it is neither a zip nor a tar")]
    Foreign,
    #[error("the zip is damaged")]
    Zip(#[source] zip::result::ZipError),
    #[error("the tar is damaged")]
    Tar(#[source] std::io::Error),
    #[error("{0} cannot be unpacked")]
    Entry(String, #[source] std::io::Error),
    #[error("it holds more than {FILES_MAX} files")]
    TooMany,
    #[error("it holds more than 64 MiB when unpacked")]
    TooLarge,
    #[error("it holds {0} twice")]
    Twice(String),
}

/// The wanted files of an export by their names without folder, in small letters.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Unpacks the files whose names are wanted.
pub(super) fn unpack(bytes: &[u8], wanted: &[&str]) -> Result<Files, ArchiveError> {
    let mut unpacked = Unpacked { files: Files::new(), left: UNPACKED_BYTES_MAX };
    match kind(bytes).ok_or(ArchiveError::Foreign)? {
        Kind::Zip => {
            let mut archive =
                zip::ZipArchive::new(Cursor::new(bytes)).map_err(ArchiveError::Zip)?;
            if archive.len() > FILES_MAX {
                return Err(ArchiveError::TooMany);
            }
            for index in 0..archive.len() {
                let entry = archive.by_index(index).map_err(ArchiveError::Zip)?;
                let name = file_name(entry.name().map_err(ArchiveError::Zip)?.as_bytes());
                if entry.is_file() && wanted.contains(&name.as_str()) {
                    unpacked.add(name, entry)?;
                }
            }
        }
        Kind::Tar => {
            let mut archive = tar::Archive::new(Cursor::new(bytes));
            let entries = archive.entries().map_err(ArchiveError::Tar)?;
            for (count, entry) in entries.enumerate() {
                let entry = entry.map_err(ArchiveError::Tar)?;
                if count >= FILES_MAX {
                    return Err(ArchiveError::TooMany);
                }
                let name = file_name(&entry.path_bytes());
                if entry.header().entry_type().is_file() && wanted.contains(&name.as_str()) {
                    unpacked.add(name, entry)?;
                }
            }
        }
    }
    Ok(unpacked.files)
}

/// Returns a path's last part in small letters; a folder around the files is nothing to us.
fn file_name(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.rsplit(['/', '\\']).next().unwrap_or("").to_ascii_lowercase()
}

struct Unpacked {
    files: Files,
    left: u64,
}

impl Unpacked {
    fn add(&mut self, name: String, entry: impl Read) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        let mut bounded = entry.take(self.left + 1);
        let read = bounded.read_to_end(&mut bytes);
        let length = read.map_err(|error| ArchiveError::Entry(name.clone(), error))? as u64;
        self.left = self.left.checked_sub(length).ok_or(ArchiveError::TooLarge)?;
        match self.files.insert(name.clone(), bytes) {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Twice(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_zip_that_unpacks_to_too_much_is_refused() {
        use std::io::Write as _;
        let mut packed = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        packed.start_file("export/LINES.csv", options).unwrap();
        let zeros = vec![b'0'; 1 << 20];
        (0..65).for_each(|_| packed.write_all(&zeros).unwrap());
        let bytes = packed.finish().unwrap().into_inner();
        assert!(bytes.len() < 1 << 20);
        assert!(matches!(unpack(&bytes, &["lines.csv"]), Err(ArchiveError::TooLarge)));
        assert!(unpack(&bytes, &["vat.csv"]).unwrap().is_empty());
    }
}
