//! Whether the backup directory is the file system that it should be, and has room.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use backup_common::config::Amount;
use backup_common::reason::Reason;
use backup_common::units;
use rustix::fs::{StatVfsMountFlags, fstat, fstatvfs, stat};

use crate::destination::Base;
use crate::free_space::Room;

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The volume is not mounted, and the root file system would be filled instead.
    #[error(
        "{0} is on the root file system: the backup volume is not mounted; mount it, or set require_mount: false"
    )]
    NotMounted(PathBuf),
    /// Less free space than `min_free`.
    #[error("{path} has {free} free, and min_free asks for {wanted}", path = .path.display(), free = units::bytes(*.free), wanted = units::bytes(*.wanted))]
    NoSpace {
        /// The backup directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        wanted: u64,
    },
    /// The kernel does not say.
    #[error("cannot look at {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl VolumeError {
    /// The reason of the refusal.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotMounted(_) | Self::Io(..) => Reason::BaseMissing,
            Self::NoSpace { .. } => Reason::NoSpace,
        }
    }
}

/// Checks the backup directory before anything is written.
pub fn check(base: &Base, require_mount: bool, min_free: Option<Amount>) -> Result<(), VolumeError> {
    let failed = |error: rustix::io::Errno| VolumeError::Io(base.path().to_owned(), error.into());
    if require_mount {
        // A subvolume has a device number of its own as well, so a btrfs root with subvolumes passes.
        let root = stat(Path::new("/")).map_err(failed)?;
        if fstat(base).map_err(failed)?.st_dev == root.st_dev {
            return Err(VolumeError::NotMounted(base.path().to_owned()));
        }
    }
    if let Some(floor) = min_free {
        let room = Room::of(base, floor).map_err(|error| VolumeError::Io(base.path().to_owned(), error))?;
        if room.is_short() {
            let Room { free, wanted } = room;
            return Err(VolumeError::NoSpace { path: base.path().to_owned(), free, wanted });
        }
    }
    Ok(())
}

/// Whether nothing can be written any more, as after an error that made the kernel remount it.
pub fn is_read_only(directory: impl AsFd) -> bool {
    fstatvfs(directory).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// What to say of a backup volume whose mount lets setuid programs and device files of other machines work here.
///
/// Nothing on the root file system, where such a mount can not be had.
pub fn mount_warning(base: &Base) -> Option<String> {
    let (root, found) = (stat(Path::new("/")).ok()?, fstat(base).ok()?);
    if root.st_dev == found.st_dev {
        return None;
    }
    let flags = fstatvfs(base).ok()?.f_flag;
    let options = [(StatVfsMountFlags::NOSUID, "nosuid"), (StatVfsMountFlags::NODEV, "nodev")];
    let lacking: Vec<_> =
        options.iter().filter(|(flag, _)| !flags.contains(*flag)).map(|(_, name)| *name).collect();
    let (path, names) = (base.path().display(), lacking.join(","));
    (!lacking.is_empty()).then(|| {
        format!(
            "warning: {path} is mounted without {names}: setuid programs and device files in the backups would work \
             on this machine; add {names} to its options in /etc/fstab, and for now: \
             mount -o remount,{names} \"$(findmnt -no TARGET -T {path})\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_compared() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = Base::open(folder.path()).expect("opens");
        assert!(check(&base, false, Some(Amount::Count(1))).is_ok());
        let error = check(&base, false, Some(Amount::Count(u64::MAX))).expect_err("too much");
        assert_eq!(error.reason(), Reason::NoSpace);
    }

    #[test]
    fn the_root_file_system_is_no_backup_volume() {
        let base = Base::open(Path::new("/")).expect("opens");
        assert_eq!(check(&base, true, None).expect_err("is the root").reason(), Reason::BaseMissing);
    }
}
