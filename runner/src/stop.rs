//! SIGINT, SIGTERM and SIGHUP, turned into something that every thread can wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Becomes readable at the first signal and stays so: nobody ever reads from it.
#[derive(Debug)]
pub struct Stop {
    reader: UnixStream,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Begins to listen; from now on these signals end the run in order instead of at once.
    pub fn listen() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)?;
            signal_hook::low_level::pipe::register(number, writer.try_clone()?)?;
        }
        Ok(Self { reader, signal })
    }

    /// Waits so long, or until a signal asks for the end; says whether one has.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.signal().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            // An interrupted or refused poll only means to look again.
            let _ = poll(&mut [PollFd::new(&self.reader, PollFlags::IN)], Some(&timeout));
        }
        true
    }

    /// The signal that asked for the end, if one did.
    pub fn signal(&self) -> Option<i32> {
        i32::try_from(self.signal.load(Ordering::Relaxed)).ok().filter(|number| *number != 0)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
