//! Opens a path's destination below the backup directory, without ever following a symlink.
//!
//! A hostile host can leave links in its own directory. The kernel resolves every component under
//! openat2(2) with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, and rsync is started inside of the
//! directory that was opened, so that nothing can be swapped in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;

/// The backup directory, held open for the whole run.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    directory: OwnedFd,
}

/// Why a destination can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The backup directory itself.
    #[error("cannot open the backup directory {0}")]
    Base(PathBuf, #[source] io::Error),
    /// A symlink stands in the way.
    #[error(
        "cannot open the destination {0}: a part of it is a symlink, through which a host could write anywhere; remove the link"
    )]
    Symlink(PathBuf),
    /// Anything else.
    #[error("cannot open the destination {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl Base {
    /// Opens the backup directory; links in its own path are the administrator's and are followed.
    pub fn open(path: &Path) -> Result<Self, DestinationError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { path: path.to_owned(), directory }),
            Err(error) => Err(DestinationError::Base(path.to_owned(), error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below it and makes what is missing, for root's eyes only: a backup may hold
    /// setuid programs and world-writable directories of other machines.
    pub fn destination(&self, relative: &Path) -> Result<OwnedFd, DestinationError> {
        let whole = || self.path.join(relative);
        let mut current = self.directory.try_clone().map_err(|error| DestinationError::Io(whole(), error))?;
        for part in relative {
            current = match open_beneath(current.as_fd(), Path::new(part)) {
                Err(Errno::NOENT) => make_beneath(current.as_fd(), Path::new(part)),
                opened => opened,
            }
            .map_err(|error| match error {
                Errno::LOOP => DestinationError::Symlink(whole()),
                error => DestinationError::Io(whole(), error.into()),
            })?;
        }
        Ok(current)
    }

    /// Opens as much of the way to a directory below it as there is, and returns what is missing; makes nothing.
    pub fn nearest(&self, relative: &Path) -> Result<(OwnedFd, PathBuf), DestinationError> {
        let whole = || self.path.join(relative);
        let mut current = self.directory.try_clone().map_err(|error| DestinationError::Io(whole(), error))?;
        let mut parts = relative.iter();
        while let Some(part) = parts.next() {
            current = match open_beneath(current.as_fd(), Path::new(part)) {
                Ok(opened) => opened,
                Err(Errno::NOENT) => return Ok((current, Path::new(part).join(parts.as_path()))),
                Err(Errno::LOOP) => return Err(DestinationError::Symlink(whole())),
                Err(error) => return Err(DestinationError::Io(whole(), error.into())),
            };
        }
        Ok((current, PathBuf::new()))
    }
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn open_beneath(directory: BorrowedFd<'_>, part: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(directory, part, flags, Mode::empty(), resolve)
}

fn make_beneath(directory: BorrowedFd<'_>, part: &Path) -> Result<OwnedFd, Errno> {
    match mkdirat(directory, part, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_beneath(directory, part),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn missing_parts_are_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = Base::open(folder.path()).expect("opens");
        base.destination(Path::new("host/var/www")).expect("makes");
        base.destination(Path::new("host/var/www")).expect("opens again");
        assert!(folder.path().join("host/var/www").is_dir());
    }

    #[test]
    fn no_symlink_is_followed_wherever_it_stands() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("host")).expect("made");
        symlink(outside.path(), folder.path().join("host/etc")).expect("linked");
        let base = Base::open(folder.path()).expect("opens");
        for path in ["host/etc", "host/etc/ssh"] {
            assert!(matches!(base.destination(Path::new(path)), Err(DestinationError::Symlink(_))), "{path}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("listed").count(), 0);
    }

    #[test]
    fn the_nearest_directory_is_found_and_nothing_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("host")).expect("made");
        symlink("/", folder.path().join("link")).expect("linked");
        let base = Base::open(folder.path()).expect("opens");
        let missing = |path: &str| base.nearest(Path::new(path)).map(|(_, missing)| missing);
        for (path, rest) in [("host", ""), ("host/var/www", "var/www"), ("other/a", "other/a")] {
            assert_eq!(missing(path).expect("found"), Path::new(rest), "{path}");
        }
        assert!(matches!(missing("link/etc"), Err(DestinationError::Symlink(_))));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2);
        assert_eq!(fs::read_dir(folder.path().join("host")).expect("listed").count(), 0);
    }

    #[test]
    fn a_missing_base_is_named() {
        let error = Base::open(Path::new("/nonexistent/base")).expect_err("is not there");
        assert_eq!(error.to_string(), "cannot open the backup directory /nonexistent/base");
    }
}
