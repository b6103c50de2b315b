//! Small files that are written whole or not at all, and folders that are private. Never reads or
//! writes anything that grows.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::StackError;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, StackError> {
    fs::read_to_string(path).map_err(StackError::path("read", path))
}

/// Writes a text file that anyone may read; a reader sees the old text or the new one.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), StackError> {
    write_with_mode(path, text, 0o644)
}

/// Writes a text file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), StackError> {
    write_with_mode(path, text, 0o600)
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), StackError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(new)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(StackError::path("write", new))?;
    fs::rename(new, path).map_err(StackError::path("replace", path))
}

/// Makes a folder and its parents.
pub(crate) fn create_folder(path: &Path) -> Result<(), StackError> {
    fs::create_dir_all(path).map_err(StackError::path("create", path))
}

/// Makes a folder and sets who may enter it.
pub(crate) fn create_folder_with_mode(path: &Path, mode: u32) -> Result<(), StackError> {
    create_folder(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(StackError::path("set the permissions of", path))
}

/// The line that a server's log begins with at each start.
pub(crate) const STARTED: &str = "--- a new start ---";

/// Returns the last lines that a log has since the last start, for an error that has to say why a server ended. Java's stack
/// traces are left out: they would push out the line that says it.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let since = text.rsplit(STARTED).next().unwrap_or_default().trim_start();
            let all: Vec<&str> = since.lines().filter(|line| !line.starts_with("\tat ")).collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", path.display()),
    }
}
