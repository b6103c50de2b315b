//! The disk that a folder lies on: on a share the kernel tells nothing of what others write, and
//! times and inode numbers of a file that nobody touches may move.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::statfs;

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The kernel knows of every change.
    Local,
    /// Others write to it behind the kernel's back.
    Share(&'static str),
}

/// The numbers of file systems behind which others write: Linux, `statfs(2)` and `linux/magic.h`.
const SHARES: [(u32, &str); 8] = [
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0000_517B, "SMB"),
    (0x0000_6969, "NFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
];

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// What a folder is, without a look at its files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mount {
    pub(super) identity: Identity,
    pub(super) disk: Disk,
}

/// Returns on which disk a folder lies.
pub(super) fn mount(folder: &Path) -> std::io::Result<Mount> {
    let meta = std::fs::metadata(folder)?;
    if !meta.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    let number = statfs(folder)?.filesystem_type().0;
    Ok(Mount { identity: (meta.dev(), meta.ino()), disk: disk(u32::try_from(number).ok()) })
}

fn disk(number: Option<u32>) -> Disk {
    let share = SHARES.iter().find(|(share, _)| Some(*share) == number);
    share.map_or(Disk::Local, |(_, name)| Disk::Share(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_known_by_their_numbers() {
        for (number, disk_wanted) in [
            (Some(0xFF53_4D42), Disk::Share("CIFS")),
            (Some(0xFE53_4D42), Disk::Share("SMB2")),
            (Some(0x6969), Disk::Share("NFS")),
            (Some(0x6573_5546), Disk::Share("FUSE")),
            (Some(0xEF53), Disk::Local),
            (Some(0x0102_1994), Disk::Local),
            (None, Disk::Local),
        ] {
            assert_eq!(disk(number), disk_wanted, "{number:x?}");
        }
    }

    #[test]
    fn a_folder_that_is_none_has_no_disk() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(mount(file.path()).is_err());
        assert!(mount(Path::new("/nowhere/at/all")).is_err());
        assert_eq!(mount(file.path().parent().unwrap()).unwrap().disk, Disk::Local);
    }
}
