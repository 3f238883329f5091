//! Whether a schedule's next snapshot is due.
//!
//! After a run in which all paths were whole, a *complete* snapshot is due when the last complete one
//! is older than the interval: an incomplete one of an hour ago does not stand in the way of a good one.
//! After any other run an incomplete one is due when the last of either kind is older than that, so that a
//! host that is away for a week does not bring a new incomplete snapshot with each run.

use std::time::Duration;

use backup_common::config::Schedule;
use backup_common::units;
use jiff::Timestamp;

use super::inventory::{Entry, is_future};

/// Most by which a snapshot may come early: a timer or a faster run must not skip one.
const MOST_EARLY: Duration = Duration::from_secs(600);

/// Whether it is due, and why.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Yes, for this reason.
    Yes(String),
    /// No, because of this one.
    No(&'a Entry, String),
}

/// By how much a snapshot may come early: a twentieth of the interval, ten minutes at most.
fn tolerance(interval: Duration) -> Duration {
    (interval / 20).min(MOST_EARLY)
}

/// Decides about one schedule; `entries` may hold those of others.
///
/// A snapshot from the future says nothing: the clock was wrong then or is wrong now.
pub fn due<'a>(schedule: &Schedule, entries: &'a [Entry], now: Timestamp, complete: bool) -> Due<'a> {
    let last = entries
        .iter()
        .filter(|entry| entry.name.tag == schedule.tag && (entry.name.complete || !complete))
        .filter(|entry| !is_future(entry, now))
        .max_by_key(|entry| (entry.time, entry.transaction));
    let kind = if complete { "complete snapshot" } else { "snapshot" };
    let Some(last) = last else {
        return Due::Yes(format!("there is no {kind} of this schedule yet"));
    };
    let age = Duration::try_from(now.duration_since(last.time)).unwrap_or_default();
    let words = format!(
        "the last {kind}, {}, is {} old, and the interval is {}",
        last.name,
        units::duration(age.as_secs_f64()),
        units::duration(schedule.interval.as_secs_f64())
    );
    if age >= schedule.interval.saturating_sub(tolerance(schedule.interval)) {
        Due::Yes(words)
    } else {
        Due::No(last, words)
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::tests::entry;
    use super::*;

    const HOUR: i64 = 3600;

    fn is_due(names: &[(i64, bool)], now: i64, complete: bool) -> bool {
        let schedule = Schedule { tag: "daily".to_owned(), count: 7, interval: Duration::from_secs(86_400) };
        let entries: Vec<_> =
            (1..).zip(names).map(|(id, (time, whole))| entry("daily", *time, id, *whole)).collect();
        let now = Timestamp::from_second(now).expect("in range");
        matches!(due(&schedule, &entries, now, complete), Due::Yes(_))
    }

    #[test]
    fn the_interval_counts_with_a_little_tolerance() {
        assert!(is_due(&[], 0, true) && is_due(&[], 0, false));
        assert!(!is_due(&[(0, true)], 22 * HOUR, true));
        assert!(!is_due(&[(0, true)], 24 * HOUR - 601, true));
        assert!(is_due(&[(0, true)], 24 * HOUR - 600, true));
        assert!(is_due(&[(0, true)], 25 * HOUR, false));
        assert_eq!(tolerance(Duration::from_secs(60)), Duration::from_secs(3));
        assert_eq!(tolerance(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn an_incomplete_one_does_not_stand_in_for_a_complete_one() {
        let last = [(0, true), (24 * HOUR, false)];
        assert!(is_due(&last, 26 * HOUR, true));
        assert!(!is_due(&last, 26 * HOUR, false));
        assert!(is_due(&last, 48 * HOUR, false));
        // And a complete one is as good as an incomplete one.
        assert!(!is_due(&[(0, false), (24 * HOUR, true)], 30 * HOUR, false));
    }

    #[test]
    fn a_snapshot_from_the_future_is_passed_over() {
        assert!(is_due(&[(0, true), (100 * HOUR, true)], 25 * HOUR, true));
        assert!(!is_due(&[(0, true), (100 * HOUR, true)], 5 * HOUR, true));
        assert!(!is_due(&[(24 * HOUR, true)], 24 * HOUR - 5, true), "a small step of the clock is no future");
    }

    #[test]
    fn other_schedules_do_not_count() {
        let schedule = Schedule { tag: "hourly".to_owned(), count: 7, interval: Duration::from_secs(3600) };
        let entries = [entry("daily", 0, 1, true)];
        assert!(matches!(due(&schedule, &entries, Timestamp::UNIX_EPOCH, true), Due::Yes(_)));
    }
}
