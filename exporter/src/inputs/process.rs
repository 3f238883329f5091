//! Edge: what the exporter itself uses, from proc(5).

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::mpsc;

use crate::event::{Event, ProcessSample};

/// Time between two looks: no shorter than what a server scrapes in.
const INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait, so that the input can be stopped.
const WAIT: Duration = Duration::from_millis(500);

/// Sends a sample now and then, until nobody receives any more.
///
/// It blocks, so it wants a thread of its own.
pub fn run(events: &mpsc::Sender<Vec<Event>>) {
    while !events.is_closed() {
        if let Some(sample) = sample() {
            let _ = events.blocking_send(vec![Event::Process(sample)]);
        }
        let mut left = INTERVAL;
        while !left.is_zero() && !events.is_closed() {
            std::thread::sleep(WAIT.min(left));
            left = left.saturating_sub(WAIT);
        }
    }
}

fn sample() -> Option<ProcessSample> {
    let mut sample = parse_stat(
        &fs::read_to_string("/proc/self/stat").ok()?,
        rustix::param::clock_ticks_per_second() as f64,
        rustix::param::page_size() as u64,
        boot_time_seconds(&fs::read_to_string("/proc/stat").ok()?)?,
    )?;
    // The look itself holds one open.
    sample.open_fds = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
    sample.max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Some(sample)
}

/// `/proc/PID/stat`; the name in parentheses may hold spaces and parentheses.
fn parse_stat(text: &str, ticks: f64, page: u64, boot: f64) -> Option<ProcessSample> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Numbered from 1 in the man page, where the state is 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(ProcessSample {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
        start_time_seconds: boot + field(22)? as f64 / ticks,
        virtual_memory_bytes: field(23)?,
        resident_memory_bytes: field(24)? * page,
        ..ProcessSample::default()
    })
}

/// When the machine was started, in seconds since 1970: `btime` of `/proc/stat`.
pub(super) fn boot_time_seconds(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_matter() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 1000 4096000 10 18446744073709551615";
        let sample = parse_stat(stat, 100.0, 4096, 1000.0).unwrap();
        assert!((sample.cpu_seconds - 2.0).abs() < 1e-9 && (sample.start_time_seconds - 1010.0).abs() < 1e-9);
        assert_eq!((sample.virtual_memory_bytes, sample.resident_memory_bytes), (4_096_000, 40_960));
        assert!(parse_stat("1 (x) S 1", 100.0, 4096, 0.0).is_none());
    }

    #[test]
    fn this_process_has_a_sample() {
        let sample = sample().unwrap();
        assert!(sample.resident_memory_bytes > 0 && sample.open_fds > 2 && sample.max_fds > 2, "{sample:?}");
        assert!(sample.start_time_seconds > 1.6e9, "{sample:?}");
    }
}
