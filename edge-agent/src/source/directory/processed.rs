//! Clearing away files that are read to their end, where the configuration wants it, and what the
//! disk says to that.

use std::path::Path;

use crate::source::SourceError;

/// Names the folder that cannot be read.
pub(super) fn folder_error(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Folder { path: path.display().to_string(), source }
}

/// Tells whether a file is simply not there any more.
pub(super) fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Moves a file; one of the same name that is there already stays.
pub(super) fn move_away(from: &Path, folder: &Path, name: &str) -> std::io::Result<()> {
    let mut to = folder.join(name);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut copy = 1;
    while to.symlink_metadata().is_ok() {
        copy += 1;
        to = folder.join(format!("{name}.{copy}"));
    }
    std::fs::rename(from, to)
}
