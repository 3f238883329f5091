//! Appends records to the stats log, each with one write.

mod backwards;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use backup_common::config::Host;
use backup_common::lines::{Line, LineBuffer};
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record};
use backup_common::status::Status;
use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, fdatasync, fstat, ftruncate, open, stat};
use signal_hook::consts::signal::SIGXFSZ;

use crate::plan::{AllLastSeen, Finder, LastSeen};

/// How much of the log's end is read for what was last seen: some ten thousand paths.
const LOOK_BACK_BYTES: u64 = 16 * 1024 * 1024;

/// The log, open for appending.
#[derive(Debug)]
pub struct StatsLog {
    path: PathBuf,
    file: OwnedFd,
    torn: bool,
    /// What was written and must last, but is not on the disk yet.
    waits: bool,
}

/// Why a record is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum StatsLogError {
    /// Not a regular file.
    #[error("cannot write to the stats log {0}: it is not a regular file")]
    NotAFile(PathBuf),
    /// Anything else.
    #[error("cannot write to the stats log {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl StatsLog {
    /// Opens the log and makes it if needed, readable by its group.
    pub fn open(path: &Path) -> Result<Self, StatsLogError> {
        let failed = |error: io::Error| StatsLogError::Io(path.to_owned(), error);
        survive_size_limit();
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file =
            open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP).map_err(|error| failed(error.into()))?;
        let found = fstat(&file).map_err(|error| failed(error.into()))?;
        if !FileType::from_raw_mode(found.st_mode).is_file() {
            return Err(StatsLogError::NotAFile(path.to_owned()));
        }
        // A writer that was killed may have left half a line; ours must not be glued to it.
        let torn = last_byte(&file).map_err(failed)?.is_some_and(|byte| byte != b'\n');
        Ok(Self { path: path.to_owned(), file, torn, waits: false })
    }

    /// Appends a record with one write. The ends of paths and runs are only sure after [`Self::sync`].
    pub fn append(&mut self, record: &Record) -> Result<(), StatsLogError> {
        if self.was_rotated() {
            self.sync()?;
            *self = Self::open(&self.path)?;
        }
        let failed = |path: &Path, error: io::Error| StatsLogError::Io(path.to_owned(), error);
        let mut line = record.encode();
        if self.torn {
            line.insert(0, '\n');
        }
        let before = fstat(&self.file).map_err(|error| failed(&self.path, error.into()))?.st_size;
        let written = rustix::io::write(&self.file, line.as_bytes())
            .map_err(|error| failed(&self.path, error.into()))?;
        if written < line.len() {
            // A full disk takes a part: cut it back, or begin the next line anew.
            self.torn = !self.cut_back(before, written);
            return Err(failed(&self.path, io::ErrorKind::StorageFull.into()));
        }
        self.torn = false;
        self.waits |= record.body.must_last();
        Ok(())
    }

    /// Waits until the ends of paths and runs that were appended are on the disk.
    pub fn sync(&mut self) -> Result<(), StatsLogError> {
        if std::mem::take(&mut self.waits) {
            fdatasync(&self.file).map_err(|error| StatsLogError::Io(self.path.clone(), error.into()))?;
        }
        Ok(())
    }

    /// Takes the part of a record away again, unless another run has written behind it.
    fn cut_back(&self, before: i64, written: usize) -> bool {
        let end = i64::try_from(written).ok().and_then(|written| before.checked_add(written));
        let is_last = fstat(&self.file).is_ok_and(|found| Some(found.st_size) == end);
        is_last && u64::try_from(before).is_ok_and(|size| ftruncate(&self.file, size).is_ok())
    }

    /// Whether logrotate has put another file in its place.
    fn was_rotated(&self) -> bool {
        match (fstat(&self.file), stat(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino),
            _ => true,
        }
    }
}

/// A limit on the size of files (`RLIMIT_FSIZE`, setrlimit(2)) must cost a record and not the run.
///
/// With a handler the write says so instead. rsync does not inherit it, as it would an ignored signal.
fn survive_size_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where it can not be caught, everything else still works.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    });
}

fn last_byte(file: &OwnedFd) -> io::Result<Option<u8>> {
    let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let mut byte = [0];
    let count = if size == 0 { 0 } else { rustix::io::pread(file, &mut byte, size - 1)? };
    Ok((count == 1).then_some(byte[0]))
}

/// What was last seen of the paths of these hosts, from the end of the log; an unreadable log knows nothing.
///
/// The newest records come first, and no more are read than tell of each path of a host that is switched on.
pub fn last_seen(path: &Path, hosts: &[Host]) -> AllLastSeen {
    let mut seen = AllLastSeen::nothing(hosts);
    // To open a pipe would wait for its writer.
    let Some(file) = path.is_file().then(|| File::open(path).ok()).flatten() else { return seen };
    let finder = Finder::new(hosts);
    // Whether nothing older matters, of each path that a record was found of.
    let mut settled = vec![None; finder.len()];
    let mut missing: usize = hosts.iter().filter(|host| host.enabled).map(|host| host.paths.len()).sum();
    // What was read before an error is known.
    let _ = backwards::lines(&file, LOOK_BACK_BYTES, |line| {
        if let Ok(Record { body: Body::PathFinished(finished), .. }) = Record::decode(line)
            && let Some((place, host)) = finder.find(&finished.host, &finished.path)
            && settled[place] != Some(true)
        {
            let is_newest = settled[place].is_none();
            let is_settled = take_older(seen.at(place), is_newest, &finished);
            settled[place] = Some(is_settled);
            missing -= usize::from(is_settled && host.enabled);
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    seen
}

/// What earlier runs have left in the log.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Time of the last record.
    pub last_record: Option<Timestamp>,
    /// The last end of each path that has not begun again since.
    pub ends: HashMap<(String, String), PathFinished>,
}

/// What earlier runs have left, from the end of the log; an unreadable log knows nothing.
pub fn earlier(path: &Path) -> Earlier {
    let mut earlier = Earlier::default();
    each_record(path, |record| {
        earlier.last_record = Some(record.time);
        match record.body {
            Body::PathStarted(started) => {
                earlier.ends.remove(&(started.host, started.path));
            }
            Body::PathFinished(finished) => {
                earlier.ends.insert((finished.host.clone(), finished.path.clone()), *finished);
            }
            _ => {}
        }
    });
    earlier
}

/// Reads the records at the end of the log.
fn each_record(path: &Path, mut found: impl FnMut(Record)) {
    // To open a pipe would wait for its writer.
    if !path.is_file() {
        return;
    }
    let Ok(mut file) = File::open(path) else { return };
    let size = file.metadata().map_or(0, |found| found.len());
    if file.seek(SeekFrom::Start(size.saturating_sub(LOOK_BACK_BYTES))).is_err() {
        return;
    }
    let mut lines = LineBuffer::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        lines.push(&buffer[..count], |line| {
            if let Line::Complete(line) = line
                && let Ok(record) = Record::decode(line)
            {
                found(record);
            }
        });
    }
}

/// Takes in a record that is older than those before; tells whether nothing older matters.
///
/// Only a source that is in the backup counts: what a failed try has listed may be a part of it.
fn take_older(seen: &mut LastSeen, is_newest: bool, older: &PathFinished) -> bool {
    // Its figures say that rsync ran; without them nothing was deleted.
    let figures = older.stats.as_ref();
    let deleted = figures.is_some_and(|figures| figures.files_deleted > 0);
    seen.reached |= is_newest && figures.is_some();
    match (older.status, figures) {
        (Status::Success | Status::Warning, Some(figures)) => {
            seen.files = figures.files;
            seen.deletes |= deleted;
            return true;
        }
        (_, Some(_)) if matches!(older.reason, Reason::MaxDelete | Reason::EmptySource) => {
            seen.stopped |= deleted;
            seen.shrunk |= older.reason == Reason::MaxDelete;
        }
        _ => seen.deletes |= older.reason == Reason::NoSpace,
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use backup_common::config::Config;
    use backup_common::error_kind::ErrorCounts;
    use backup_common::record::{RunRefused, TransferStats};

    use super::*;

    fn record() -> Record {
        Record {
            time: Timestamp::UNIX_EPOCH,
            run_id: "r".to_owned(),
            body: Body::RunRefused(RunRefused { reason: Reason::Locked, message: "m".to_owned() }),
        }
    }

    #[test]
    fn a_torn_tail_costs_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "{\"v\":1,\"ty").expect("written");
        let mut log = StatsLog::open(&path).expect("opens");
        log.append(&record()).expect("appends");
        log.append(&record()).expect("appends");
        let line = record().encode();
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("{{\"v\":1,\"ty\n{line}{line}"));
    }

    #[test]
    fn a_rotated_log_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut log = StatsLog::open(&path).expect("opens");
        log.append(&record()).expect("appends");
        fs::rename(&path, folder.path().join("log.1")).expect("renamed");
        log.append(&record()).expect("appends");
        assert_eq!(fs::read_to_string(&path).expect("read"), record().encode());
    }

    const TWO: &str =
        "hosts: {a: {paths: [{path: /x}, {path: /y}]}, b: {enabled: false, paths: [{path: /x}]}}";

    /// The end of a path as a line of the log.
    fn ended(host: &str, path: &str, status: Status, reason: Reason, files: Option<u64>) -> String {
        let figures = files.map(|files| TransferStats { files, ..TransferStats::default() });
        ended_with(host, path, status, reason, figures)
    }

    fn ended_with(
        host: &str,
        path: &str,
        status: Status,
        reason: Reason,
        figures: Option<TransferStats>,
    ) -> String {
        let finished = PathFinished {
            host: host.to_owned(),
            path: path.to_owned(),
            dest: String::new(),
            status,
            reason,
            exit_code: None,
            signal: None,
            attempts: 1,
            started: Timestamp::UNIX_EPOCH,
            duration_seconds: 0.0,
            stats: figures,
            error_count: 0,
            warning_count: 0,
            errors: ErrorCounts::new(),
            messages: Vec::new(),
        };
        Record { body: Body::PathFinished(Box::new(finished)), ..record() }.encode()
    }

    /// What was seen of a path of host a.
    fn seen_in(log: &str, path: &str) -> LastSeen {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), log).expect("written");
        let hosts = Config::parse(TWO).expect("is right").config.hosts;
        let (place, _) = Finder::new(&hosts).find("a", path).expect("is configured");
        *last_seen(file.path(), &hosts).at(place)
    }

    #[test]
    fn a_failed_try_does_not_change_what_was_seen_but_its_stop() {
        let mut log = String::new();
        let mut step = |status, reason, files: Option<u64>| {
            let deleted = if reason == Reason::MaxDelete { 60 } else { 0 };
            let stats = files.map(|files| TransferStats {
                files,
                files_deleted: deleted,
                ..TransferStats::default()
            });
            log.push_str(&ended_with("a", "/x", status, reason, stats));
            let seen = seen_in(&log, "/x");
            (seen.files, seen.stopped)
        };
        assert_eq!(step(Status::Success, Reason::Ok, Some(300)), (300, false));
        assert_eq!(step(Status::Failed, Reason::EmptySource, None), (300, false));
        assert_eq!(step(Status::Failed, Reason::MaxDelete, Some(100)), (300, true));
        assert_eq!(step(Status::Failed, Reason::Unreachable, None), (300, true));
        assert_eq!(step(Status::Failed, Reason::SourceMissing, Some(0)), (300, true));
        assert_eq!(step(Status::Warning, Reason::VanishedFiles, Some(99)), (99, false));
        assert_eq!(
            step(Status::Success, Reason::Ok, Some(1)),
            (1, false),
            "accepted, or emptied without delete"
        );
    }

    #[test]
    fn what_was_deleted_and_what_was_only_counted_are_told_apart() {
        let seen = |ends: &[(Status, Reason, Option<u64>)]| {
            let log = ends.iter().fold(String::new(), |log, (status, reason, deleted)| {
                let stats = deleted.map(|files_deleted| TransferStats {
                    files: 9,
                    files_deleted,
                    ..TransferStats::default()
                });
                log + &ended_with("a", "/x", *status, *reason, stats)
            });
            let seen = seen_in(&log, "/x");
            (seen.deletes, seen.shrunk, seen.stopped, seen.reached)
        };
        let good = |deleted| (Status::Success, Reason::Ok, Some(deleted));
        let bad = |reason, deleted| (Status::Failed, reason, deleted);
        assert_eq!(seen(&[good(0)]), (false, false, false, true));
        assert_eq!(seen(&[good(3)]), (true, false, false, true));
        assert_eq!(seen(&[good(3), good(0)]), (false, false, false, true));
        assert_eq!(seen(&[good(0), bad(Reason::MaxDelete, Some(0))]), (false, true, false, true));
        assert_eq!(seen(&[good(0), bad(Reason::MaxDelete, Some(50))]), (false, true, true, true));
        let twice = [good(0), bad(Reason::MaxDelete, Some(50)), bad(Reason::MaxDelete, Some(0))];
        assert_eq!(seen(&twice), (false, true, true, true));
        assert_eq!(seen(&[good(0), bad(Reason::EmptySource, Some(0))]), (false, false, false, true));
        assert_eq!(seen(&[good(0), bad(Reason::NoSpace, None)]), (true, false, false, false));
        assert_eq!(seen(&[good(0), bad(Reason::Unreachable, None)]), (false, false, false, false));
    }

    #[test]
    fn each_path_is_looked_for_as_far_back_as_it_takes() {
        let mut log = ended("a", "/y", Status::Success, Reason::Ok, Some(7));
        for files in 0..2000 {
            log.push_str(&ended("a", "/x", Status::Success, Reason::Ok, Some(files)));
        }
        assert_eq!((seen_in(&log, "/x").files, seen_in(&log, "/y").files), (1999, 7));
        log.push_str(&ended("a", "/y", Status::Success, Reason::Ok, Some(8)));
        log.push_str("torn");
        assert_eq!(seen_in(&log, "/y").files, 8);
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(StatsLog::open(folder.path()).is_err());
    }
}
