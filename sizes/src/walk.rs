//! The walk: getdents64(2) and statx(2) by several threads, on any file system.
//!
//! Directories are the only thing that is opened, each relative to the descriptor of the one above
//! and by one name, with openat2(2): the kernel itself refuses symlinks and mount points, whatever is
//! swapped in meanwhile, and no path is ever longer than a name. Depth costs neither stack nor
//! descriptors: work waits in a list, and a directory whose descriptor was given up is found again
//! through the ones above it.
//!
//! What vanishes during the walk is not counted; what can not be read is, in [`Walked::unreadable`].
//! Read-only btrfs snapshots are left out, other subvolumes are not.

mod directory;
mod queue;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::totals::Totals;
use worker::{Shared, Worker};

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads; more than there are cores pay when the disk has to be asked.
    pub threads: usize,
    /// Give way to everything else on the machine.
    pub idle: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 8, idle: false }
    }
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The sums of what could be read.
    pub totals: Totals,
    /// Directories and entries that were refused, by permission or by the disk.
    pub unreadable: u64,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The directory to begin with.
    #[error("cannot open the directory {0}")]
    Open(PathBuf, #[source] io::Error),
    /// The system has no more threads.
    #[error("cannot start a thread to measure {0}")]
    Thread(PathBuf, #[source] io::Error),
    /// It took longer than it may; a thread that the kernel does not let go may be left behind.
    #[error("cannot measure {0} within {1:?}")]
    TimedOut(PathBuf, Duration),
}

/// A walk that is under way; when it is dropped, its threads end as soon as the kernel lets them.
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    shared: Arc<Shared>,
    result: Receiver<io::Result<Walked>>,
}

impl Walk {
    /// Starts to walk `relative` below `base`. Links are followed in `base` alone.
    ///
    /// # Errors
    /// When no thread can be had. That a directory can not be opened is told by [`Self::wait`].
    pub fn start(base: &Path, relative: &Path, options: Options) -> Result<Self, WalkError> {
        let root = base.join(relative);
        let threads = options.threads.max(1);
        let shared = Arc::new(Shared::new(base, relative, threads));
        let (sender, result) = mpsc::channel();
        let walk = Self { root, shared, result };
        for _ in 0..threads {
            let worker = Worker::new(Arc::clone(&walk.shared), sender.clone());
            thread::Builder::new()
                .name("walk".to_owned())
                .spawn(move || worker.run(options.idle))
                .map_err(|error| WalkError::Thread(walk.root.clone(), error))?;
        }
        Ok(walk)
    }

    /// Waits for the end, but not longer than `limit`.
    ///
    /// # Errors
    /// All of [`WalkError`]. After a time-out it can be asked again.
    pub fn wait(&self, limit: Duration) -> Result<Walked, WalkError> {
        match self.result.recv_timeout(limit) {
            Ok(result) => result.map_err(|error| WalkError::Open(self.root.clone(), error)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(WalkError::TimedOut(self.root.clone(), limit))
            }
        }
    }

    /// Whether a thread of it is still there.
    pub fn is_alive(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Asks the threads to end.
    pub fn cancel(&self) {
        self.shared.cancel();
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Walks to the end.
///
/// # Errors
/// Those of [`Walk`], without a limit.
pub fn walk(base: &Path, relative: &Path, options: Options) -> Result<Walked, WalkError> {
    Walk::start(base, relative, options)?.wait(Duration::MAX)
}
