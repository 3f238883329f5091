//! Scripts that have to run because their pre-script began: noted on the disk, so that a killed run is made good.
//!
//! The file holds one line for each, and is not there when nothing is owed. It is written anew beside itself
//! and renamed, so that it is always whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use super::Side;

/// Longest file that is read; a line for each script that was under way.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// A script that has to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owed {
    /// Where.
    pub side: Side,
    /// Host as configured.
    pub host: String,
    /// Path as configured; empty for a script of the host itself.
    pub path: String,
    /// Name of the script.
    pub script: String,
}

/// The list on the disk.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    owed: Mutex<BTreeSet<Owed>>,
}

/// The list can not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// Somebody else's, or no file at all.
    #[error("cannot use {0}: it is not a regular file of this user; look at it and remove it")]
    Foreign(PathBuf),
    /// It can not be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It can not be written.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Pending {
    /// A list that will be kept in this file; nothing is read or written yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, owed: Mutex::default() }
    }

    /// What an earlier run has left; to be called while the lock is held.
    pub fn left_over(&self) -> Result<BTreeSet<Owed>, PendingError> {
        let failed = |error: Errno| PendingError::Read(self.path.clone(), error.into());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match open(&self.path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(BTreeSet::new()),
            Err(Errno::LOOP) => return Err(PendingError::Foreign(self.path.clone())),
            Err(error) => return Err(failed(error)),
        };
        let found = fstat(&file).map_err(failed)?;
        let ours = found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw();
        if !FileType::from_raw_mode(found.st_mode).is_file() || !ours {
            return Err(PendingError::Foreign(self.path.clone()));
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(LIMIT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| PendingError::Read(self.path.clone(), error))?;
        let owed = parse(&String::from_utf8_lossy(&bytes));
        self.owed().clone_from(&owed);
        Ok(owed)
    }

    /// Notes a script before its pre-script begins.
    pub fn add(&self, owed: Owed) -> Result<(), PendingError> {
        let mut all = self.owed();
        all.insert(owed);
        self.write(&all)
    }

    /// Strikes out a script that has run.
    pub fn remove(&self, owed: &Owed) -> Result<(), PendingError> {
        let mut all = self.owed();
        if all.remove(owed) { self.write(&all) } else { Ok(()) }
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, BTreeSet<Owed>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, owed: &BTreeSet<Owed>) -> Result<(), PendingError> {
        write(&self.path, &render(owed)).map_err(|error| PendingError::Write(self.path.clone(), error))
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        // A note that comes back after a power cut only runs its script once more.
        return remove(path);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What a killed run left behind; a link or a pipe that stands there is removed, never used.
    remove(&beside)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_data()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One line each: side, host, path and script with tabs between; none of them can hold a control character.
fn render(owed: &BTreeSet<Owed>) -> String {
    let line = |owed: &Owed| format!("{}\t{}\t{}\t{}\n", owed.side.name(), owed.host, owed.path, owed.script);
    owed.iter().map(line).collect()
}

fn parse(text: &str) -> BTreeSet<Owed> {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let side = Side::from_name(parts.next()?)?;
        let mut text = || parts.next().map(str::to_owned);
        Some(Owed { side, host: text()?, path: text()?, script: text()? })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn owed(path: &str) -> Owed {
        Owed {
            side: Side::Source,
            host: "server2".to_owned(),
            path: path.to_owned(),
            script: "start_apache".to_owned(),
        }
    }

    #[test]
    fn what_was_not_struck_out_is_left_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pending");
        let pending = Pending::at(path.clone());
        assert!(pending.left_over().expect("nothing").is_empty());
        for entry in ["/a", "/b c", ""] {
            pending.add(owed(entry)).expect("written");
        }
        pending.remove(&owed("/a")).expect("written");
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o600);

        let next = Pending::at(path.clone());
        assert_eq!(next.left_over().expect("read"), [owed("/b c"), owed("")].into());
        next.remove(&owed("/b c")).expect("written");
        next.remove(&owed("")).expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_neither_read_nor_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("pending"), folder.path().join("victim"));
        fs::write(&victim, "source\th\t/p\ts\n").expect("written");
        symlink(&victim, &path).expect("linked");
        symlink(&victim, folder.path().join("pending.new")).expect("linked");
        let pending = Pending::at(path.clone());
        assert!(matches!(pending.left_over(), Err(PendingError::Foreign(_))));
        pending.add(owed("/a")).expect("replaces the link");
        assert_eq!(fs::read_to_string(&victim).expect("read"), "source\th\t/p\ts\n");
        assert!(!fs::symlink_metadata(&path).expect("is there").is_symlink());
    }

    #[test]
    fn a_damaged_line_costs_itself() {
        assert_eq!(parse("x\n\u{fffd}\t\n\nsource\tserver2\t/a\tstart_apache\nhere\th"), [owed("/a")].into());
    }
}
