//! How much the buffer may take of the disk, and a reserve on it: a file of its own that is given back
//! when the disk is full, so that what is under way can still be noted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::posix_fallocate;
use tokio::time::Instant;

/// How long a reserve that was given back waits until it is taken again.
const RESTORE_PAUSE: Duration = Duration::from_secs(60);

/// What the buffer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of the database. Its log comes on top: some megabytes.
    pub bytes: u64,
    /// Bytes of these that are kept for closing minutes, for noting deliveries, and for sources that
    /// cannot be held back.
    pub reserve_bytes: u64,
}

impl Quota {
    /// No bound and no reserve.
    pub const UNBOUNDED: Self = Self { bytes: u64::MAX, reserve_bytes: 0 };

    /// Returns the bytes up to which sources are taken in that can be held back.
    pub(super) fn common_bytes(self) -> u64 {
        self.bytes - self.reserve_bytes.min(self.bytes)
    }

    /// Returns the bytes up to which any source is taken in: what is left closes minutes.
    pub(super) fn taken_bytes(self) -> u64 {
        self.bytes - (self.reserve_bytes / 2).min(self.bytes)
    }
}

/// The reserve on the disk.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    given_back: Option<Instant>,
}

impl Reserve {
    /// Returns the reserve of a database as it may have been left.
    pub(super) fn of(database: &Path) -> Self {
        let mut path = database.to_owned().into_os_string();
        path.push(".reserve");
        Self { path: path.into(), bytes: 0, given_back: None }
    }

    /// Takes the reserve of a database. A disk that has no room for it is told of in the log.
    pub(super) fn take(database: &Path, bytes: u64) -> Self {
        let mut reserve = Self { bytes, ..Self::of(database) };
        if let Err(error) = reserve.fill() {
            tracing::warn!(path = %reserve.path.display(), %error, "the disk has no room for a reserve");
            reserve.give_back();
        }
        reserve
    }

    /// Gives the reserve back to the disk; returns false where it was given back before.
    pub(super) fn give_back(&mut self) -> bool {
        self.given_back = Some(Instant::now());
        match std::fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the reserve cannot be given back");
                false
            }
        }
    }

    /// Takes the reserve again once the disk has room; returns true where it is there.
    pub(super) fn restore(&mut self, now: Instant) -> bool {
        let Some(given_back) = self.given_back else { return true };
        if now.saturating_duration_since(given_back) < RESTORE_PAUSE {
            return false;
        }
        if self.fill().is_err() {
            self.give_back();
            return false;
        }
        self.given_back = None;
        true
    }

    fn fill(&self) -> io::Result<()> {
        if self.bytes == 0 {
            let removed = std::fs::remove_file(&self.path);
            let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            return removed.or_else(|error| if absent(&error) { Ok(()) } else { Err(error) });
        }
        let file: File = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        file.set_len(self.bytes)?;
        Ok(posix_fallocate(&file, 0, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_on_the_disk_until_it_is_given_back_and_is_taken_again() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("buffer.db.reserve");
        let mut reserve = Reserve::take(&folder.path().join("buffer.db"), 1 << 20);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
        assert!(reserve.give_back() && !path.exists());
        assert!(!reserve.give_back() && !reserve.restore(Instant::now()));
        assert!(reserve.restore(Instant::now() + RESTORE_PAUSE) && path.exists());
    }

    #[test]
    fn the_reserve_is_part_of_the_quota() {
        let quota = Quota { bytes: 100, reserve_bytes: 20 };
        assert_eq!((quota.common_bytes(), quota.taken_bytes()), (80, 90));
        assert_eq!(Quota::UNBOUNDED.common_bytes(), u64::MAX);
    }
}
