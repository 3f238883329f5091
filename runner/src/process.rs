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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::rsync::command::ENVIRONMENT;

    fn with(
        program: &str,
        arguments: &[&str],
        inherit: Inherit<'_>,
    ) -> io::Result<(Ending, Vec<u8>, Vec<u8>)> {
        let (stop, _held) = UnixStream::pair().expect("a pair");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(ENVIRONMENT);
        let (mut output, mut error) = (Vec::new(), Vec::new());
        let ending = run(&command, inherit, Limits::default(), stop.as_fd(), |stream, bytes| match stream {
            Stream::Output => output.extend_from_slice(bytes),
            Stream::Error => error.extend_from_slice(bytes),
        })?;
        Ok((ending, output, error))
    }

    fn shell(script: &str) -> (Ending, String, String) {
        let (ending, output, error) = with("sh", &["-c", script], Inherit::default()).expect("starts");
        let text = |bytes| String::from_utf8(bytes).expect("is text");
        (ending, text(output), text(error))
    }

    #[test]
    fn both_outputs_and_the_end_are_told() {
        let (ending, output, error) = shell("cat; echo out; echo err >&2; exit 3");
        assert_eq!(ending, Ending { code: Some(3), signal: None, cut: None });
        assert_eq!((output.as_str(), error.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn a_child_has_its_own_group_the_fixed_environment_and_signals_as_they_are_by_default() {
        let (_, output, _) = shell("echo $$ $(cut -d' ' -f5 /proc/$$/stat); env | sort");
        let (first, environment) = output.split_once('\n').expect("two lines");
        let (process, group) = first.split_once(' ').expect("two numbers");
        assert_eq!(process, group);
        let names: Vec<_> =
            environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|name| ["LC_ALL", "PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)),
            "{names:?}"
        );
        // Rust ignores SIGPIPE in its own programs.
        assert_eq!(shell("kill -PIPE $$; exit 3").0.signal, Some(13));
        let (_, blocked, _) = shell("exec grep SigBlk /proc/self/status");
        assert_eq!(blocked.split_whitespace().nth(1), Some("0000000000000000"));
    }

    #[test]
    fn it_starts_in_the_directory_and_holds_nothing_but_the_lock() {
        let (folder, lock) = (File::open("/usr").expect("opens"), tempfile::tempfile().expect("a file"));
        let held = |inherit| -> Vec<String> {
            // The shell is at home where it was started, and its own pipes differ each time.
            let script = "pwd; for fd in /proc/$$/fd/*; do readlink $fd; done";
            let (_, output, _) = with("sh", &["-c", script], inherit).expect("starts");
            let output = String::from_utf8(output).expect("is text");
            output.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect()
        };
        let directory = Some(folder.as_fd());
        let without = held(Inherit { directory, lock: None });
        let mut with_lock = held(Inherit { directory, lock: Some(lock.as_fd()) });
        assert_eq!(with_lock[0], "/usr");
        let is_lock = |line: &String| line.ends_with("(deleted)");
        assert_eq!(with_lock.iter().filter(|line| is_lock(line)).count(), 1, "{with_lock:?}");
        with_lock.retain(|line| !is_lock(line));
        assert_eq!(with_lock, without);
    }

    #[test]
    fn what_can_not_be_started_says_so_at_once() {
        let kind = |program| with(program, &[], Inherit::default()).err().map(|error| error.kind());
        assert_eq!(kind("no-such-program-4711"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind("/no-such-program-4711"), Some(io::ErrorKind::NotFound));
        assert_eq!(kind("/etc/passwd"), Some(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_flood_arrives_whole() {
        let script =
            "head -c 5000000 /dev/zero; i=0; while [ $i -lt 300 ]; do echo line >&2; i=$((i+1)); done";
        let (ending, output, error) = shell(script);
        assert_eq!((ending.code, output.len(), error.len()), (Some(0), 5_000_000, 1500));
    }

    #[test]
    fn children_can_be_started_from_many_threads_at_once() {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for number in 0..20 {
                        let code = (thread * 20 + number) % 256;
                        assert_eq!(shell(&format!("exit {code}")).0.code, Some(code));
                    }
                });
            }
        });
    }
}
