//! Files that decide what runs as root: read only where nobody else could have changed them.
//!
//! The rule is that of sshd's `StrictModes` (`sshd_config(5)`): the file and every directory above it belong to
//! root or to the caller, and neither their group nor others can write to them. A directory with the sticky bit
//! is accepted, because nobody can replace another's file in it. Every component is opened by `openat2(2)` from
//! the one before, without links, so that what was checked is what is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use rustix::io::Errno;

/// Longest file that is read.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can not be opened or read.
    #[error("cannot read {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A link where none may be.
    #[error("cannot use {0}: it is a symlink; put the file itself there")]
    Link(PathBuf),
    /// A directory, a pipe or a device.
    #[error("cannot use {0}: it is not a regular file")]
    NotAFile(PathBuf),
    /// Longer than any such file.
    #[error("cannot use {0}: it is longer than 4 MiB")]
    TooLong(PathBuf),
    /// Belongs to somebody else.
    #[error("cannot trust {path}: {what} belongs to user id {owner}, and only root or the user who runs this may own it", path = .path.display(), what = part(.path, .what))]
    Owner {
        /// The file that was asked for.
        path: PathBuf,
        /// The file itself or a directory above it.
        what: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Somebody else can write to it.
    #[error("cannot trust {path}: {what} can be written by its group or by others (mode {mode:04o}); chmod go-w", path = .path.display(), what = part(.path, .what))]
    Writable {
        /// The file that was asked for.
        path: PathBuf,
        /// The file itself or a directory above it.
        what: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

fn part(path: &Path, what: &Path) -> String {
    if path == what { "it".to_owned() } else { format!("the directory {}", what.display()) }
}

/// Reads a file that the administrator named; links on the way are followed once and the real place is checked.
pub fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let real = std::fs::canonicalize(path).map_err(|error| TrustError::Io(path.to_owned(), error))?;
    read_real(&real)
}

/// Reads `name` in a directory; the name may not be a link.
pub fn read_in(directory: &Path, name: &str) -> Result<Vec<u8>, TrustError> {
    let real =
        std::fs::canonicalize(directory).map_err(|error| TrustError::Io(directory.to_owned(), error))?;
    read_real(&real.join(name))
}

/// Checks a file that another program will read by its name.
pub fn check(path: &Path) -> Result<(), TrustError> {
    let real = std::fs::canonicalize(path).map_err(|error| TrustError::Io(path.to_owned(), error))?;
    open_real(&real).map(|_| ())
}

fn read_real(path: &Path) -> Result<Vec<u8>, TrustError> {
    let file = open_real(path)?;
    let mut content = Vec::new();
    File::from(file)
        .take(LIMIT_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|error| TrustError::Io(path.to_owned(), error))?;
    if content.len() as u64 > LIMIT_BYTES {
        return Err(TrustError::TooLong(path.to_owned()));
    }
    Ok(content)
}

/// Opens a regular file by its absolute path, checking each part of it.
fn open_real(path: &Path) -> Result<OwnedFd, TrustError> {
    let failed = |error: Errno| match error {
        Errno::LOOP => TrustError::Link(path.to_owned()),
        error => TrustError::Io(path.to_owned(), error.into()),
    };
    let mut reached = PathBuf::from("/");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut current = open("/", flags, Mode::empty()).map_err(failed)?;
    let mut parts = path.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = parts.next() {
        let found = fstat(&current).map_err(failed)?;
        check_owner(path, &reached, &found)?;
        if found.st_mode & 0o022 != 0 && found.st_mode & 0o1000 == 0 {
            return Err(writable(path, &reached, &found));
        }
        reached.push(part);
        let flags = match parts.peek() {
            Some(_) => flags,
            // Non-blocking because of a pipe.
            None => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        current =
            openat2(current.as_fd(), Path::new(&part), flags, Mode::empty(), resolve).map_err(failed)?;
    }
    let found = fstat(&current).map_err(failed)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(TrustError::NotAFile(path.to_owned()));
    }
    check_owner(path, &reached, &found)?;
    if found.st_mode & 0o022 != 0 {
        return Err(writable(path, &reached, &found));
    }
    Ok(current)
}

fn check_owner(path: &Path, what: &Path, found: &Stat) -> Result<(), TrustError> {
    if found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(TrustError::Owner { path: path.to_owned(), what: what.to_owned(), owner: found.st_uid })
}

fn writable(path: &Path, what: &Path, found: &Stat) -> TrustError {
    TrustError::Writable { path: path.to_owned(), what: what.to_owned(), mode: found.st_mode & 0o7777 }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    }

    fn folder_with_file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("d")).expect("made");
        chmod(&folder.path().join("d"), 0o755);
        let file = folder.path().join("d/f");
        fs::write(&file, "content").expect("written");
        chmod(&file, 0o644);
        (folder, file)
    }

    #[test]
    fn what_only_the_owner_can_write_is_read() {
        let (folder, file) = folder_with_file();
        assert_eq!(read(&file).expect("trusted"), b"content");
        assert_eq!(read_in(&folder.path().join("d"), "f").expect("trusted"), b"content");
        assert!(matches!(read(&folder.path().join("x")), Err(TrustError::Io(..))));
        assert!(matches!(read(folder.path()), Err(TrustError::NotAFile(_))));
    }

    #[test]
    fn what_others_can_write_is_refused_wherever_it_stands() {
        let (_folder, file) = folder_with_file();
        for mode in [0o664, 0o646, 0o666] {
            chmod(&file, mode);
            let error = read(&file).expect_err("writable");
            assert!(matches!(&error, TrustError::Writable { what, .. } if *what == file), "{error}");
            assert!(check(&file).is_err());
        }
        chmod(&file, 0o600);
        let directory = file.parent().expect("has one");
        chmod(directory, 0o775);
        let error = read(&file).expect_err("the directory is writable");
        assert!(error.to_string().contains(&format!("the directory {} can", directory.display())), "{error}");
        chmod(directory, 0o1777);
        assert!(read(&file).is_ok(), "in a sticky directory nobody can replace it");
    }

    #[test]
    fn links_are_followed_only_where_the_administrator_named_the_whole_path() {
        let (folder, file) = folder_with_file();
        let link = folder.path().join("d/link");
        symlink(&file, &link).expect("linked");
        assert!(read(&link).is_ok());
        assert!(matches!(read_in(&folder.path().join("d"), "link"), Err(TrustError::Link(_))));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let (folder, _) = folder_with_file();
        let pipe = folder.path().join("d/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        assert!(matches!(read(&pipe), Err(TrustError::NotAFile(_))));
    }
}
