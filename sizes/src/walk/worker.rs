//! One thread of a walk.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, RawDir, Statx, StatxFlags, statx};
use rustix::io::Errno;

use super::Walked;
use super::directory::{Budget, Descriptor, Directory};
use super::queue::{Job, Queue};
use crate::sys;
use crate::totals::Totals;

/// Names that are read from a directory at a time.
const LISTING_BYTES: usize = 64 << 10;

/// Number of a subvolume's uppermost directory, `BTRFS_FIRST_FREE_OBJECTID`.
const SUBVOLUME_ROOT: u64 = 256;

/// What the threads have in common.
#[derive(Debug)]
pub struct Shared {
    base: PathBuf,
    relative: PathBuf,
    queue: Queue,
    budget: Arc<Budget>,
    /// Files with several names that were counted, by device and number.
    links: Mutex<HashSet<(u32, u32, u64)>>,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    totals: Totals,
    unreadable: u64,
    failed: Option<io::Error>,
    threads: usize,
    /// Keeps the uppermost directory open, from which all others can be found again.
    root: Option<Arc<Descriptor>>,
}

impl Shared {
    pub fn new(base: &Path, relative: &Path, threads: usize) -> Self {
        let queue = Queue::default();
        queue.announce(1);
        queue.give(std::iter::once(Job { above: None, held: None, name: c"".to_owned() }));
        Self {
            base: base.to_owned(),
            relative: relative.to_owned(),
            queue,
            budget: Budget::new(),
            links: Mutex::default(),
            outcome: Mutex::new(Outcome { threads, ..Outcome::default() }),
        }
    }

    pub fn cancel(&self) {
        self.queue.cancel();
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's part.
pub struct Worker {
    shared: Arc<Shared>,
    result: Sender<io::Result<Walked>>,
    mine: Vec<Job>,
    totals: Totals,
    unreadable: u64,
    /// The directory that was listed last: mostly it is the one above the next.
    last: Option<Arc<Descriptor>>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, result: Sender<io::Result<Walked>>) -> Self {
        Self { shared, result, mine: Vec::new(), totals: Totals::default(), unreadable: 0, last: None }
    }

    pub fn run(mut self, idle: bool) {
        if idle {
            sys::be_idle();
        }
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
        while let Some(job) = self.next() {
            self.directory(job, &mut buffer);
            if self.mine.len() > 1 && self.shared.queue.is_hungry() {
                // The oldest are the uppermost, with the most below them.
                let half = self.mine.len() / 2;
                self.shared.queue.give(self.mine.drain(..half));
            }
            self.shared.queue.done();
        }
        self.end();
    }

    fn next(&mut self) -> Option<Job> {
        if self.shared.queue.is_cancelled() {
            return None;
        }
        self.mine.pop().or_else(|| self.shared.queue.take())
    }

    /// Adds its sums; the last thread sends the result.
    fn end(self) {
        let mut outcome = self.shared.outcome();
        outcome.totals += self.totals;
        outcome.unreadable += self.unreadable;
        outcome.threads -= 1;
        if outcome.threads == 0 && !self.shared.queue.is_cancelled() {
            let walked = Walked { totals: outcome.totals, unreadable: outcome.unreadable };
            let result = outcome.failed.take().map_or(Ok(walked), Err);
            outcome.root = None;
            // Nobody may be waiting any more.
            let _ = self.result.send(result);
        }
    }

    fn directory(&mut self, job: Job, buffer: &mut [MaybeUninit<u8>]) {
        match self.open(&job) {
            Ok(Some((descriptor, own))) => {
                self.count_directory(&own);
                let here = Arc::new(Directory::new(job.above, job.name, &descriptor));
                self.list(&here, &descriptor, buffer);
                self.last = Some(descriptor);
            }
            Ok(None) => {}
            Err(error) => self.refused(error),
        }
    }

    /// Opens a directory; none when it is left out.
    fn open(&mut self, job: &Job) -> Result<Option<(Arc<Descriptor>, Statx)>, Errno> {
        let budget = &self.shared.budget;
        let descriptor = match (&job.held, &job.above) {
            (Some(held), _) => Descriptor::open(held.as_fd(), &job.name, budget)?,
            (None, Some(above)) => Descriptor::open(above.open(budget)?.as_fd(), &job.name, budget)?,
            (None, None) => {
                let root = match Descriptor::open_root(&self.shared.base, &self.shared.relative, budget) {
                    Ok(root) => root,
                    Err(error) => {
                        self.shared.outcome().failed = Some(error);
                        return Ok(None);
                    }
                };
                self.shared.outcome().root = Some(Arc::clone(&root));
                root
            }
        };
        let own = ask(descriptor.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        let is_root = job.above.is_none();
        // On other file systems the ioctl fails, and the number means nothing.
        let left_out = !is_root
            && own.stx_ino == SUBVOLUME_ROOT
            && sys::is_read_only_snapshot(descriptor.as_fd()).unwrap_or(false);
        Ok((!left_out).then_some((descriptor, own)))
    }

    fn list(&mut self, here: &Arc<Directory>, descriptor: &Arc<Descriptor>, buffer: &mut [MaybeUninit<u8>]) {
        let mut listing = RawDir::new(descriptor.as_fd(), buffer);
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.refused(error),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                self.later(here, descriptor, name);
                continue;
            }
            match ask(descriptor.as_fd(), name, AtFlags::empty()) {
                Ok(found) if FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory => {
                    self.later(here, descriptor, name);
                }
                Ok(found) => self.count_file(&found),
                Err(error) => self.refused(error),
            }
            if listing.is_buffer_empty() && self.shared.queue.is_cancelled() {
                return;
            }
        }
    }

    fn later(&mut self, here: &Arc<Directory>, descriptor: &Arc<Descriptor>, name: &CStr) {
        let held = self.shared.budget.has_room().then(|| Arc::clone(descriptor));
        self.shared.queue.announce(1);
        self.mine.push(Job { above: Some(Arc::clone(here)), held, name: name.to_owned() });
    }

    fn count_directory(&mut self, found: &Statx) {
        self.totals += Totals {
            disk_bytes: found.stx_blocks * 512,
            directory_bytes: found.stx_size,
            directories: 1,
            ..Totals::default()
        };
    }

    fn count_file(&mut self, found: &Statx) {
        self.totals.names += 1;
        if found.stx_nlink > 1 {
            let inode = (found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
            if !self.shared.links.lock().unwrap_or_else(PoisonError::into_inner).insert(inode) {
                return;
            }
        }
        self.totals.disk_bytes += found.stx_blocks * 512;
        self.totals.apparent_bytes += found.stx_size;
    }

    /// What vanished, became something else or has a file system mounted on it is no error.
    fn refused(&mut self, error: Errno) {
        if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) {
            self.unreadable += 1;
        }
    }
}

/// Asks for an entry itself, never for what a link points to, and mounts nothing.
fn ask(directory: std::os::fd::BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Statx, Errno> {
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let wanted =
        StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO | StatxFlags::SIZE | StatxFlags::BLOCKS;
    statx(directory, name, flags, wanted)
}
