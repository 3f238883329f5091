//! The directories that wait to be listed, shared by the threads of a walk.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::directory::{Descriptor, Directory};

/// A directory that waits to be listed.
#[derive(Debug)]
pub struct Job {
    /// The one above; none for the first.
    pub above: Option<Arc<Directory>>,
    /// Keeps the one above open, while there is room for that.
    pub held: Option<Arc<Descriptor>>,
    /// Name in the one above.
    pub name: CString,
}

/// What waits. Each thread has a list of its own and gives from it when another has nothing to do.
#[derive(Debug, Default)]
pub struct Queue {
    jobs: Mutex<Vec<Job>>,
    changed: Condvar,
    /// Jobs that wait or are under way; the walk is over when there are none.
    pending: AtomicUsize,
    hungry: AtomicUsize,
    cancelled: AtomicBool,
}

impl Queue {
    /// Announces jobs that a thread keeps for itself.
    pub fn announce(&self, jobs: usize) {
        self.pending.fetch_add(jobs, Ordering::Relaxed);
    }

    /// Hands over jobs that were announced.
    pub fn give(&self, jobs: impl Iterator<Item = Job>) {
        self.lock().extend(jobs);
        self.changed.notify_all();
    }

    /// Whether another thread has nothing to do.
    pub fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    /// A job is done.
    pub fn done(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Under the lock, so that nobody goes to sleep between looking and waiting.
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    /// Waits for a job; none when the walk is over.
    pub fn take(&self) -> Option<Job> {
        let mut jobs = self.lock();
        self.hungry.fetch_add(1, Ordering::Relaxed);
        let job = loop {
            if self.is_cancelled() {
                break None;
            }
            if let Some(job) = jobs.pop() {
                break Some(job);
            }
            if self.pending.load(Ordering::Acquire) == 0 {
                break None;
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        };
        self.hungry.fetch_sub(1, Ordering::Relaxed);
        job
    }

    /// Ends the walk before its time.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Whether the walk shall end before its time.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
