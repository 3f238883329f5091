//! The floor of free space, watched while files are transferred.
//!
//! One thread asks the kernel each second. When less than `min_free` is left, every running transfer is stopped, and no
//! further one begins. btrfs counts as free what can really be written: when its metadata is full it
//! reports no available block at all (`btrfs_statfs` in `fs/btrfs/super.c`), so both kinds are watched at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use backup_common::config::Amount;
use backup_common::units;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstatvfs;
use rustix::pipe::{PipeFlags, pipe_with};

/// Time between two looks.
const PERIOD: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// The floor is not crossed.
const ENOUGH: u64 = u64::MAX;
const STACK_BYTES: usize = 64 * 1024;

/// Free and wanted bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free for use.
    pub free: u64,
    /// Bytes that must be free.
    pub wanted: u64,
}

impl Room {
    /// Asks the file system that `directory` is on.
    pub fn of(directory: impl AsFd, floor: Amount) -> io::Result<Self> {
        let found = fstatvfs(directory)?;
        let wanted = match floor {
            Amount::Count(bytes) => bytes,
            Amount::Percent(share) => found.f_blocks.saturating_mul(found.f_frsize) / 100 * u64::from(share),
        };
        Ok(Self { free: found.f_bavail.saturating_mul(found.f_frsize), wanted })
    }

    /// Whether there is less than there must be.
    pub fn is_short(self) -> bool {
        self.free < self.wanted
    }
}

/// Watches the floor, and becomes readable when it is crossed or when the run is to stop.
#[derive(Debug)]
pub struct Floor {
    either: OwnedFd,
    found: Arc<AtomicU64>,
    wanted: Option<Amount>,
    watcher: Option<(OwnedFd, JoinHandle<()>)>,
}

impl Floor {
    /// Begins to watch the file system that `directory` is on; without a floor only `stop` is passed on.
    pub fn watch(directory: impl AsFd, floor: Option<Amount>, stop: BorrowedFd<'_>) -> io::Result<Self> {
        let either = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&either, stop, EventData::new_u64(0), EventFlags::IN)?;
        let found = Arc::new(AtomicU64::new(ENOUGH));
        let mut watcher = None;
        if let Some(floor) = floor {
            let (crossed, tell) = pipe_with(PipeFlags::CLOEXEC)?;
            let (end, ending) = pipe_with(PipeFlags::CLOEXEC)?;
            epoll::add(&either, &crossed, EventData::new_u64(1), EventFlags::IN)?;
            let (directory, told) = (directory.as_fd().try_clone_to_owned()?, Arc::clone(&found));
            let work = move || {
                // Held open here: an epoll set forgets a descriptor that is closed.
                let _crossed = crossed;
                look(&directory, floor, &end, &tell, &told);
            };
            watcher = Some((ending, thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?));
        }
        Ok(Self { either, found, wanted: floor, watcher })
    }

    /// In words, once the floor has been crossed.
    pub fn crossed(&self) -> Option<String> {
        let free = Some(self.found.load(Ordering::Acquire)).filter(|free| *free != ENOUGH)?;
        let wanted = match self.wanted? {
            Amount::Count(bytes) => units::bytes(bytes),
            Amount::Percent(share) => format!("{share} %"),
        };
        Some(format!(
            "stopped, because only {} was free on the backup volume, and min_free asks for {wanted}",
            units::bytes(free)
        ))
    }
}

impl AsFd for Floor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        if let Some((ending, thread)) = self.watcher.take() {
            drop(ending);
            let _ = thread.join();
        }
    }
}

/// Looks each second until the floor is crossed, then waits until `end` is closed.
fn look(directory: &OwnedFd, floor: Amount, end: &OwnedFd, tell: &OwnedFd, found: &AtomicU64) {
    let mut timeout = Some(&PERIOD);
    loop {
        if timeout.is_some()
            && let Ok(room) = Room::of(directory, floor)
            && room.is_short()
        {
            found.store(room.free, Ordering::Release);
            let _ = rustix::io::write(tell, &[0]);
            timeout = None;
        }
        match poll(&mut [PollFd::new(end, PollFlags::IN)], timeout) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn is_ready(fd: &impl AsFd, seconds: i64) -> bool {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).expect("polls") == 1
    }

    #[test]
    fn a_floor_above_the_free_space_is_crossed() {
        let (stop, _other) = UnixStream::pair().expect("a pair");
        let floor =
            Floor::watch(File::open("/").expect("opens"), Some(Amount::Count(u64::MAX - 1)), stop.as_fd())
                .expect("watches");
        assert!(is_ready(&floor, 60) && is_ready(&floor, 60), "it stays so");
        assert!(floor.crossed().is_some_and(|words| words.contains("min_free asks for 16.0 EiB")));
    }

    #[test]
    fn a_stop_is_passed_on() {
        let (stop, other) = UnixStream::pair().expect("a pair");
        for wanted in [None, Some(Amount::Count(0))] {
            let floor = Floor::watch(File::open("/").expect("opens"), wanted, stop.as_fd()).expect("watches");
            assert!(!is_ready(&floor, 0));
            rustix::io::write(&other, b"x").expect("written");
            assert!(is_ready(&floor, 60));
            assert_eq!(floor.crossed(), None);
            rustix::io::read(&stop, &mut [0; 1]).expect("read");
        }
    }
}
