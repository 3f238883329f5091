//! Runs a child process to its end: reads both pipes, keeps the limits, obeys a stop.
//!
//! It understands nothing of what the child prints.

mod activity;
mod feed;
mod pipes;
mod spawn;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use self::pipes::Pipes;
use self::spawn::Child;
pub use feed::{Feed, run_fed};
pub use spawn::Inherit;

/// Time between asking a child to end and ending it.
const GRACE: Duration = Duration::from_secs(10);

/// How long a child may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In all.
    pub total: Option<Duration>,
    /// Without reading a byte or printing one.
    pub idle: Option<Duration>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why we ended it, if we did.
    pub cut: Option<Cut>,
}

/// Why a child was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The run is to stop.
    Stopped,
    /// Nothing moved for too long.
    Idle,
    /// It took too long.
    Overtime,
}

/// Which pipe something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Runs a command in a process group of its own and hands what it prints to `heard`.
///
/// `stop` becomes readable when the run is to stop.
///
/// # Errors
/// When the command can not be started, or the kernel refuses to wait for it.
pub fn run(
    command: &Command,
    inherit: Inherit<'_>,
    limits: Limits,
    stop: BorrowedFd<'_>,
    mut heard: impl FnMut(Stream, &[u8]),
) -> io::Result<Ending> {
    let child = spawn::spawn(command, inherit, nothing()?.as_fd(), None)?;
    finish(&child, limits, Some(stop), &mut heard)
}

/// An empty input.
fn nothing() -> io::Result<File> {
    File::open("/dev/null")
}

/// Watches a child until it has ended.
fn finish(
    child: &Child,
    limits: Limits,
    stop: Option<BorrowedFd<'_>>,
    heard: &mut impl FnMut(Stream, &[u8]),
) -> io::Result<Ending> {
    let outcome = supervise(child, limits, stop, heard);
    if outcome.is_err() {
        // Never leave one behind that nobody watches.
        child.kill();
    }
    let (code, signal) = child.wait()?;
    let cut = outcome?;
    Ok(Ending { code, signal, cut })
}

fn supervise(
    child: &Child,
    limits: Limits,
    stop: Option<BorrowedFd<'_>>,
    heard: &mut impl FnMut(Stream, &[u8]),
) -> io::Result<Option<Cut>> {
    let mut pipes = Pipes::of(child)?;
    let pid = child.pid;
    let mut clock = Clock::new(limits, pid);
    let mut cut = None;
    let mut kill_at = None;
    loop {
        let now = Instant::now();
        if cut.is_none() {
            cut = clock.limit(now);
        }
        match kill_at {
            None if cut.is_some() => {
                let _ = kill_process_group(pid, Signal::TERM);
                kill_at = Some(now + GRACE);
            }
            Some(time) if now >= time => {
                let _ = kill_process_group(pid, Signal::KILL);
                kill_at = Some(now + GRACE);
            }
            _ => {}
        }
        let wake = kill_at.or_else(|| clock.wake());
        let rest = pipes.rest(now);
        let wake = rest.into_iter().chain(wake).min();
        let mut watched = vec![PollFd::new(&child.ended, PollFlags::IN)];
        if let Some(stop) = stop.filter(|_| cut.is_none()) {
            watched.push(PollFd::from_borrowed_fd(stop, PollFlags::IN));
        }
        let first_pipe = watched.len();
        if rest.is_none() {
            watched.extend(pipes.watched());
        }
        wait(&mut watched, wake)?;
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(watched);
        if rest.is_none() && pipes.read(&ready[first_pipe..], heard)? {
            clock.moved();
        }
        if first_pipe == 2 && ready[1] {
            cut = Some(Cut::Stopped);
        }
        if ready[0] {
            pipes.drain(heard)?;
            if cut.is_some() {
                // Its own children may have paid no heed; it is not reaped yet, so the group is still its own.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            return Ok(cut);
        }
    }
}

/// When the limits are reached.
struct Clock {
    limits: Limits,
    pid: Pid,
    begun: Instant,
    moved: Instant,
    looked: Instant,
    bytes: u64,
}

impl Clock {
    fn new(limits: Limits, pid: Pid) -> Self {
        let now = Instant::now();
        Self { limits, pid, begun: now, moved: now, looked: now, bytes: 0 }
    }

    fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// How often the child's own counters are looked at: a quarter of the limit, 1 to 10 s.
    fn period(idle: Duration) -> Duration {
        (idle / 4).clamp(Duration::from_secs(1), Duration::from_secs(10)).min(idle)
    }

    fn limit(&mut self, now: Instant) -> Option<Cut> {
        if self.limits.total.is_some_and(|total| now >= self.begun + total) {
            return Some(Cut::Overtime);
        }
        let idle = self.limits.idle?;
        if now >= self.looked + Self::period(idle) {
            self.looked = now;
            let bytes = activity::bytes_read(self.pid);
            if bytes != self.bytes {
                self.bytes = bytes;
                self.moved = now;
            }
        }
        (now >= self.moved + idle).then_some(Cut::Idle)
    }

    /// When the limits have to be looked at again.
    fn wake(&self) -> Option<Instant> {
        let total = self.limits.total.map(|total| self.begun + total);
        let idle = self.limits.idle.map(|idle| (self.looked + Self::period(idle)).min(self.moved + idle));
        [total, idle].into_iter().flatten().min()
    }
}

/// Waits until something is ready or the time has come.
fn wait(watched: &mut [PollFd<'_>], wake: Option<Instant>) -> io::Result<()> {
    let timeout = wake.map(|time| time.saturating_duration_since(Instant::now()));
    let timeout = timeout.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    match poll(watched, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
