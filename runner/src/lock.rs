//! One run at a time: a kernel lock, which can not become stale.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::Errno;

/// The lock, held until it is dropped and every child that inherited it has ended.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("another run holds {0}")]
    Held(PathBuf),
    /// Something else stands in its place.
    #[error("cannot lock {0}: it is not a regular file of this user; remove it or set lock_file")]
    Foreign(PathBuf),
    /// The file can not be opened or locked.
    #[error("cannot lock {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl Lock {
    /// Takes the lock or says who has it; the file is made if needed, and never changed or removed.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |error: Errno| LockError::Io(path.to_owned(), error.into());
        // Non-blocking because of a pipe, no following because of a link that somebody else made.
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        let file = match open(path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(LockError::Foreign(path.to_owned())),
            Err(error) => return Err(failed(error)),
        };
        let found = fstat(&file).map_err(failed)?;
        let owner_is_trusted = found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw();
        if !FileType::from_raw_mode(found.st_mode).is_file() || !owner_is_trusted {
            return Err(LockError::Foreign(path.to_owned()));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held(path.to_owned())),
            Err(error) => Err(failed(error)),
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn held_once_and_free_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let lock = Lock::take(&path).expect("free");
        assert!(matches!(Lock::take(&path), Err(LockError::Held(_))));
        drop(lock);
        assert!(Lock::take(&path).is_ok());
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        fs::write(&target, "kept").expect("written");
        let link = folder.path().join("link");
        symlink(&target, &link).expect("linked");
        assert!(matches!(Lock::take(&link), Err(LockError::Foreign(_))));
        assert!(matches!(Lock::take(folder.path()), Err(LockError::Foreign(_))));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        assert!(matches!(Lock::take(&pipe), Err(LockError::Foreign(_))));
        assert_eq!(fs::read_to_string(&target).expect("still there"), "kept");
    }
}
