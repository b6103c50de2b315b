//! Clearing away files that are read to their end, where the configuration wants it.

use std::path::Path;

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
