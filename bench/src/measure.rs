//! Runs a program to its end and tells what it took.

use std::fs;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

/// Clock ticks of `/proc/PID/stat` in a second; Linux has shown a hundred to programs on every architecture but alpha.
const TICKS: f64 = 100.0;

/// Time between two looks at the memory.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What a program took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds from before its start to its end.
    pub wall: f64,
    /// Seconds of processor time in itself, its children left out.
    pub own_cpu: f64,
    /// Seconds of processor time in itself and in the children that it waited for.
    pub cpu: f64,
    /// Its largest resident memory, its children left out, in MiB.
    pub peak_mib: f64,
}

/// Runs a command, which must succeed with one of these exit codes; its output is dropped.
pub fn run(command: &mut Command, codes: &[i32]) -> Usage {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("cannot start {}: {error}", command.get_program().display());
    });
    let mut usage = watch(&child);
    usage.wall = begun.elapsed().as_secs_f64();
    let status = child.wait().unwrap();
    assert!(status.code().is_some_and(|code| codes.contains(&code)), "{command:?} ended with {status}");
    usage
}

/// Looks at the memory until the process has ended, and at its times then, before it is gone.
fn watch(child: &Child) -> Usage {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut peak = 0.0_f64;
    loop {
        peak = peak.max(memory(child.id(), "VmHWM"));
        let mut watched = [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        if poll(&mut watched, Some(&LOOK)).is_ok_and(|ready| ready > 0) {
            break;
        }
    }
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let (own_cpu, children) = times(child.id());
    Usage { wall: 0.0, own_cpu, cpu: own_cpu + children, peak_mib: peak }
}

/// A line of `/proc/PID/status` in MiB; 0 when it is not there, as in a process that has ended.
pub fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Seconds in the process and in the children that it has waited for (proc(5), `/proc/PID/stat`).
pub fn times(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and can hold anything; field 14 is the twelfth behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    ((ticks(11) + ticks(12)) / TICKS, (ticks(13) + ticks(14)) / TICKS)
}

/// Seconds that something takes.
pub fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed().as_secs_f64(), done)
}

/// Load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Share of all processors that is in use during a second, by whatever runs.
///
/// The load average still remembers the row before; this does not.
pub fn busy() -> f64 {
    let before = idle_and_all();
    std::thread::sleep(Duration::from_secs(1));
    let after = idle_and_all();
    1.0 - (after.0 - before.0) / (after.1 - before.1).max(1.0)
}

/// Ticks without work, and all of them, of all processors together (proc(5), `/proc/stat`).
fn idle_and_all() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    // idle and iowait
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}

/// Waits until the machine is quiet, as long as `patience`; how much of it was in use in the end.
pub fn wait_for_quiet(most: f64, patience: Duration) -> f64 {
    let begun = Instant::now();
    loop {
        let share = busy();
        if share < most || begun.elapsed() > patience {
            return share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured() {
        let usage = run(
            Command::new("sh")
                .args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sh -c 'exit 0'; exit 3"]),
            &[3],
        );
        assert!(usage.wall > 0.0 && usage.own_cpu > 0.0 && usage.cpu >= usage.own_cpu, "{usage:?}");
        assert!(usage.peak_mib > 0.1, "{usage:?}");
    }
}
