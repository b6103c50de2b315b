//! Puts a new file in the buffer's place and keeps the old one, so that an end at any point leaves
//! either the old one or the new one there. A note beside the buffer says that it is under way; whoever
//! opens the buffer next ends it first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::BufferError;

/// Returns a path with something behind its name.
pub(super) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(more);
    PathBuf::from(name)
}

/// Returns where the new file is made.
pub(super) fn new_file(path: &Path) -> PathBuf {
    beside(path, ".new")
}

/// Removes what an earlier try has left of a new file.
pub(super) fn clear(new: &Path) -> Result<(), BufferError> {
    for more in ["", "-wal", "-shm", "-journal"] {
        let path = beside(new, more);
        if let Err(source) = absent(fs::remove_file(&path)) {
            return Err(BufferError::File { what: "clear away", path, source });
        }
    }
    Ok(())
}

/// Puts the complete new file where there is no buffer. A log without its buffer is laid aside.
pub(super) fn place(path: &Path) -> Result<(), BufferError> {
    let carry_out = || -> io::Result<()> {
        sync(&new_file(path))?;
        absent(fs::rename(beside(path, "-wal"), beside(path, ".left-wal")))?;
        absent(fs::remove_file(beside(path, "-shm")))?;
        sync_folder(path)?;
        fs::rename(new_file(path), path)?;
        sync_folder(path)
    };
    carry_out().map_err(|source| BufferError::File { what: "make", path: path.to_owned(), source })
}

/// Replaces the buffer by the complete new file and keeps the old one under `kept`.
pub(super) fn replace(path: &Path, kept: &Path) -> Result<(), BufferError> {
    let failed = |source| BufferError::File { what: "replace", path: path.to_owned(), source };
    sync(&new_file(path)).map_err(failed)?;
    let note = kept.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let half = beside(path, ".swap-half");
    fs::write(&half, note).and_then(|()| sync(&half)).map_err(failed)?;
    fs::rename(&half, beside(path, ".swap")).map_err(failed)?;
    finish(path)
}

/// Ends a replacement that is under way; does nothing where none is.
pub(super) fn finish(path: &Path) -> Result<(), BufferError> {
    let failed = |source| BufferError::File { what: "replace", path: path.to_owned(), source };
    let note = beside(path, ".swap");
    let kept = match fs::read_to_string(&note) {
        Ok(name) => path.with_file_name(name.trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BufferError::File { what: "read", path: note, source }),
    };
    carry_out(path, &kept).map_err(failed)?;
    fs::remove_file(&note).and_then(|()| sync_folder(path)).map_err(failed)
}

fn carry_out(path: &Path, kept: &Path) -> io::Result<()> {
    sync_folder(path)?;
    let new = new_file(path);
    if !new.try_exists()? {
        return Ok(());
    }
    for more in ["", "-wal"] {
        keep(&beside(path, more), &beside(kept, more))?;
    }
    sync_folder(path)?;
    // The new file must never meet the old one's log.
    for more in ["-wal", "-shm"] {
        absent(fs::remove_file(beside(path, more)))?;
    }
    sync_folder(path)?;
    fs::rename(new, path)?;
    sync_folder(path)
}

/// Gives a file a second name, where it has not got it yet.
fn keep(file: &Path, kept: &Path) -> io::Result<()> {
    match fs::hard_link(file, kept) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => absent(linked),
    }
}

/// What is not there need not be kept or removed.
fn absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes names durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state that an end can leave becomes the new file, and the old one is kept with its log.
    #[test]
    fn an_end_at_any_point_is_gone_on_with() {
        for done in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("buffer.db");
            let kept = folder.path().join("kept.db");
            fs::write(&path, "old").unwrap();
            fs::write(beside(&path, "-wal"), "log").unwrap();
            fs::write(new_file(&path), "new").unwrap();
            let steps: [&dyn Fn() -> io::Result<()>; 5] = [
                &|| fs::write(beside(&path, ".swap"), "kept.db"),
                &|| fs::hard_link(&path, &kept),
                &|| fs::hard_link(beside(&path, "-wal"), beside(&kept, "-wal")),
                &|| fs::remove_file(beside(&path, "-wal")),
                &|| fs::rename(new_file(&path), &path),
            ];
            steps.iter().take(done).for_each(|step| step().unwrap());
            finish(&path).unwrap();
            let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
            assert!(!beside(&path, ".swap").exists());
            if done == 0 {
                assert_eq!((read(&path).as_str(), read(&kept).as_str()), ("old", ""));
                replace(&path, &kept).unwrap();
            }
            let seen = [&path, &kept, &beside(&kept, "-wal")].map(|path| read(path));
            assert_eq!(seen, ["new", "old", "log"], "after {done} steps");
            assert!(!beside(&path, "-wal").exists() && !new_file(&path).exists());
        }
    }
}
