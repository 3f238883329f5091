//! Pure: which runs are asked for, and how far back the journal is read for them.

use std::time::Duration;

use jiff::Timestamp;

use super::runs::{Ending, Run};
use crate::schedule::search_window;

/// How far back the journal is read where nothing says how often runs come: enough for a weekly one.
const UNKNOWN_WINDOW: Duration = Duration::from_secs(14 * 86400);
/// What a window is made longer by when it holds too few runs.
const WIDER: u32 = 8;

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Runs after the first one to show: 0 begins with the last run, 2 with the third last.
    pub back: usize,
    /// How many, from there on into the past.
    pub count: usize,
    /// Only those that this host may have been part of.
    pub host: Option<String>,
    /// Only those that were under way since.
    pub since: Option<Timestamp>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection<'a> {
    /// The runs, the newest first.
    pub runs: Vec<&'a Run>,
    /// How many there are for this host and this time.
    pub found: usize,
}

/// Selects from runs that are in the order of their starts.
pub fn select<'a>(runs: &'a [Run], wanted: &Wanted) -> Selection<'a> {
    let is_wanted = |run: &&Run| {
        let of_host = wanted.host.as_ref().is_none_or(|host| may_have(run, host));
        of_host && wanted.since.is_none_or(|since| is_since(run, since))
    };
    let found: Vec<&Run> = runs.iter().rev().filter(is_wanted).collect();
    let runs = found.iter().copied().skip(wanted.back).take(wanted.count).collect();
    Selection { runs, found: found.len() }
}

/// A run of which no hosts are known may have been about each of them.
fn may_have(run: &Run, host: &str) -> bool {
    run.hosts.is_empty() || run.hosts.contains_key(host)
}

fn is_since(run: &Run, since: Timestamp) -> bool {
    run.ending == Ending::Running || run.ended.unwrap_or(run.started) >= since
}

/// How far back to read the journal, one after the other until enough runs were found; the last means
/// all of it.
pub fn windows(interval: Option<Duration>, wanted: &Wanted) -> [Option<Duration>; 3] {
    let runs = u32::try_from(wanted.back.saturating_add(wanted.count).saturating_add(1)).unwrap_or(u32::MAX);
    let first = interval
        .map_or(UNKNOWN_WINDOW, |interval| search_window(interval).max(interval.saturating_mul(runs)));
    [Some(first), Some(first.saturating_mul(WIDER)), None]
}

#[cfg(test)]
mod tests {
    use backup_common::status::Status;
    use proptest::prelude::*;

    use super::super::runs::RunHost;
    use super::*;

    fn run(number: i64, hosts: &[&str]) -> Run {
        Run {
            id: number.to_string(),
            started: Timestamp::from_second(number * 3600).unwrap(),
            ending: Ending::Ended(Status::Success),
            hosts: hosts.iter().map(|host| ((*host).to_owned(), RunHost::default())).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn the_windows_follow_the_frequency() {
        let hours = |interval: Option<u64>, back| {
            let wanted = Wanted { back, count: 1, ..Wanted::default() };
            let windows = windows(interval.map(|hours| Duration::from_secs(hours * 3600)), &wanted);
            assert_eq!(windows[2], None);
            windows[0].unwrap().as_secs() / 3600
        };
        assert_eq!((hours(Some(2), 0), hours(Some(24), 0), hours(Some(168), 0)), (6, 48, 336));
        assert_eq!(hours(Some(24), 9), 11 * 24, "the tenth last one is further back");
        assert_eq!(hours(None, 0), 336);
    }

    proptest! {
        /// Against the plainest way to say it: number the fitting runs from the newest.
        #[test]
        fn index_count_host_and_time(
            hosts in proptest::collection::vec(0u8..4, 0..30),
            back in 0usize..12,
            count in 1usize..12,
            host in proptest::option::of(Just("a".to_owned())),
            hours in proptest::option::of(0i64..40),
        ) {
            let sets: [&[&str]; 4] = [&[], &["a"], &["b"], &["a", "b"]];
            let runs: Vec<Run> =
                (0..).zip(&hosts).map(|(number, set)| run(number, sets[usize::from(*set)])).collect();
            let end = i64::try_from(runs.len()).unwrap();
            let since = hours.map(|hours| Timestamp::from_second((end - hours) * 3600).unwrap());
            let wanted = Wanted { back, count, host: host.clone(), since };
            let mut fitting = Vec::new();
            for number in (0..end).rev() {
                let set = hosts[usize::try_from(number).unwrap()];
                let late_enough = hours.is_none_or(|hours| number >= end - hours);
                if late_enough && (host.is_none() || set != 2) {
                    fitting.push(number.to_string());
                }
            }
            let expected: Vec<_> = (back..back + count).filter_map(|index| fitting.get(index)).collect();
            let selection = select(&runs, &wanted);
            prop_assert_eq!(selection.runs.iter().map(|run| &run.id).collect::<Vec<_>>(), expected);
            prop_assert_eq!(selection.found, fitting.len());
        }
    }
}
