//! Why a snapshot can not be taken or deleted.

use std::io;
use std::path::PathBuf;

use backup_common::reason::Reason;

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The volume can not be opened or asked.
    #[error("cannot open the volume {0}")]
    Volume(PathBuf, #[source] io::Error),
    /// It is on another file system.
    #[error(
        "cannot take snapshots of {0}: it is not on btrfs; mount the volume, or remove snapshots from the configuration"
    )]
    NotBtrfs(PathBuf),
    /// It is a directory inside of a subvolume.
    #[error(
        "cannot take snapshots of {0}: it is a plain directory; set snapshots.volume to the subvolume that it is in"
    )]
    NotASubvolume(PathBuf),
    /// The backups are not in it.
    #[error("snapshots of {volume} would not hold {base}: it is another subvolume or file system; set snapshots.volume to the one that it is in", volume = .volume.display(), base = .base.display())]
    Elsewhere {
        /// The volume.
        volume: PathBuf,
        /// The backup directory.
        base: PathBuf,
    },
    /// A symlink stands in the way to the snapshot directory.
    #[error(
        "cannot use the snapshot directory {0}: a part of it is a symlink; remove the link, or set snapshots.directory"
    )]
    Symlink(PathBuf),
    /// Something else has its name.
    #[error(
        "cannot use the snapshot directory {0}: it is not a directory; remove it, or set snapshots.directory"
    )]
    NotADirectory(PathBuf),
    /// A snapshot must be on the file system of its volume.
    #[error(
        "cannot use the snapshot directory {0}: it is on another file system than the volume; unmount it, or set snapshots.directory"
    )]
    OtherFileSystem(PathBuf),
    /// Somebody else could put something in the place of a snapshot.
    #[error("cannot use the snapshot directory {0}: others can write to it; chown it to root and chmod go-w")]
    WritableByOthers(PathBuf),
    /// The snapshot directory can not be made, opened or listed.
    #[error("cannot use the snapshot directory {0}")]
    Directory(PathBuf, #[source] io::Error),
    /// The kernel refuses to take it.
    #[error("cannot take the snapshot {0}")]
    Create(String, #[source] io::Error),
    /// The kernel refuses to delete it.
    #[error("cannot delete the snapshot {0}")]
    Delete(String, #[source] io::Error),
    /// It has changed between looking and deleting.
    #[error(
        "cannot delete the snapshot {0}: it is no longer the read-only snapshot of this volume that it was"
    )]
    Changed(String),
}

impl SnapshotError {
    /// The entry of the closed list that comes nearest, for the end of the run.
    pub fn reason(&self) -> Reason {
        let (Self::Volume(_, error)
        | Self::Directory(_, error)
        | Self::Create(_, error)
        | Self::Delete(_, error)) = self
        else {
            return Reason::Other;
        };
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Reason::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
            io::ErrorKind::PermissionDenied => Reason::PermissionDenied,
            _ => Reason::Other,
        }
    }

    /// The error with its causes and, where the list knows one, the remedy.
    pub fn words(&self) -> String {
        let words = backup_common::error_chain::ErrorChain(self).to_string();
        match self.reason() {
            reason @ (Reason::ReadOnly | Reason::NoSpace) => format!("{words}. {}", reason.remedy()),
            _ => words,
        }
    }
}
