//! The largest gap between two runs, and what follows from it.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::calendar::Calendar;

/// How far ahead gaps are looked for: every weekday, month and change of the clock lies within.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Runs that are looked at even beyond the horizon, for schedules such as `Fri *-*-13` or `yearly`.
const LEAST: usize = 50;
/// Runs that are looked at at most in one go: those of a year, one every five minutes.
const MOST: usize = 120_000;
/// Around each change of the clock gaps are looked for apart, for schedules with more runs than that.
const AROUND: SignedDuration = SignedDuration::from_hours(3);
/// systemd's default for `AccuracySec=`; up to this the time of a run counts as exact.
const ACCURACY: Duration = Duration::from_secs(60);
/// Shortest window in which a history is looked for.
const SHORTEST_WINDOW: Duration = Duration::from_secs(6 * 3600);

/// What a timer says about when it elapses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// `OnCalendar=`
    pub calendars: Vec<Times>,
    /// `OnUnitActiveSec=` and `OnUnitInactiveSec=`, which alone repeat; to the latter the time of a
    /// run itself comes, which no timer knows.
    pub repeats: Vec<Duration>,
    /// `RandomizedDelaySec=`, unless `FixedRandomDelay=` keeps it the same each time.
    pub randomized_delay: Duration,
    /// `AccuracySec=`
    pub accuracy: Duration,
}

/// Times that a calendar expression allows.
#[derive(Clone, Debug, PartialEq)]
pub enum Times {
    /// By rule.
    Calendar(Calendar),
    /// The next ones, in order, of an expression that only systemd itself can read.
    Listed(Vec<Timestamp>),
}

impl Times {
    /// The first one after a time.
    pub fn next_after(&self, after: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => calendar.next_after(after, local),
            Self::Listed(times) => times.iter().copied().find(|&time| time > after),
        }
    }
}

impl Plan {
    /// The largest gap between two runs that the timer allows; none if it elapses once or never.
    pub fn interval(&self, now: Timestamp, local: &TimeZone) -> Option<Duration> {
        let calendar = self.largest_gap(now, local).and_then(|gap| gap.try_into().ok());
        let gap = self.repeats.iter().copied().chain(calendar).min()?;
        let accuracy = if self.accuracy > ACCURACY { self.accuracy } else { Duration::ZERO };
        Some(gap.saturating_add(self.randomized_delay).saturating_add(accuracy))
    }

    /// When a calendar expression elapses next.
    pub fn next_after(&self, after: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        self.calendars.iter().filter_map(|times| times.next_after(after, local)).min()
    }

    fn largest_gap(&self, now: Timestamp, local: &TimeZone) -> Option<SignedDuration> {
        let horizon = now.checked_add(HORIZON).ok()?;
        let zones = self.calendars.iter().filter_map(|times| match times {
            Times::Calendar(calendar) => calendar.zone(),
            Times::Listed(_) => None,
        });
        let changes = zones.chain([local]).flat_map(|zone| zone.following(now));
        let changes = changes.map(|change| change.timestamp()).take_while(|&change| change < horizon);
        let around = changes.filter_map(|change| {
            let (from, until) = (change.checked_sub(AROUND).ok()?, change.checked_add(AROUND).ok()?);
            self.largest_gap_between(from, until, 0, local)
        });
        around.chain(self.largest_gap_between(now, horizon, LEAST, local)).max()
    }

    /// Between runs from `from` to `until`, or for `least` of them if that is longer.
    fn largest_gap_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        least: usize,
        local: &TimeZone,
    ) -> Option<SignedDuration> {
        let mut largest = None;
        let mut at = self.next_after(from, local)?;
        for count in 0..MOST {
            let Some(next) = self.next_after(at, local) else { break };
            if next > until && count >= least {
                break;
            }
            largest = largest.max(Some(next.duration_since(at)));
            at = next;
        }
        largest
    }
}

/// The usual time between runs that started at these times, in the order of the log.
///
/// The lower median: one run that was missed, or started by hand in between, does not change it.
pub fn observed_interval(starts: impl IntoIterator<Item = Timestamp>) -> Option<Duration> {
    let starts: Vec<_> = starts.into_iter().collect();
    let gaps = starts.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    // A clock that was set back between two runs tells nothing.
    let mut gaps: Vec<Duration> = gaps.filter_map(|gap| gap.try_into().ok()).collect();
    gaps.retain(|gap| !gap.is_zero());
    gaps.sort_unstable();
    if gaps.len() < 2 { None } else { gaps.get((gaps.len() - 1) / 2).copied() }
}

/// How far back to look for the last runs: 6 h for a two-hourly schedule, 48 h for a daily one, 14 d
/// for a weekly one.
pub fn search_window(interval: Duration) -> Duration {
    interval.saturating_mul(2).max(SHORTEST_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn interval(expressions: &[&str], zone: &str) -> Option<u64> {
        let calendar = |text: &&str| Times::Calendar(Calendar::parse(text).unwrap());
        let plan = Plan { calendars: expressions.iter().map(calendar).collect(), ..Plan::default() };
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        Some(plan.interval(now, &TimeZone::get(zone).unwrap())?.as_secs())
    }

    #[test]
    fn the_largest_gap_of_a_schedule() {
        for (expressions, zone, hours) in [
            (&["*-*-* 00/2:00:00"][..], "UTC", 2),
            (&["hourly"], "UTC", 1),
            (&["daily"], "UTC", 24),
            (&["weekly"], "UTC", 7 * 24),
            (&["monthly"], "UTC", 31 * 24),
            (&["quarterly"], "UTC", 92 * 24),
            (&["yearly"], "UTC", 366 * 24),
            (&["Mon..Fri *-*-* 02:00"], "UTC", 72),
            (&["Mon..Fri 02:00", "Sat,Sun 06:00"], "UTC", 28),
            (&["*-*-* 01,02,13:00"], "UTC", 12),
            (&["*-*-* 22:00", "*-*-* 06:00"], "UTC", 16),
            // The day on which the clock goes back has 25 hours.
            (&["daily"], "Europe/Berlin", 25),
            (&["Mon..Fri *-*-* 02:00"], "Europe/Berlin", 73),
            (&["daily UTC"], "Europe/Berlin", 24),
            // The day on which it goes forward has no 02:30.
            (&["02:30"], "Europe/Berlin", 47),
            (&["*:0/5"], "Europe/Berlin", 1),
        ] {
            let expected = hours * HOUR;
            let found = interval(expressions, zone);
            // An hour that comes twice is passed over as systemd does it, up to the next step.
            let near = found.is_some_and(|found| (expected..=expected + 300).contains(&found));
            assert!(near, "{expressions:?} in {zone}: {found:?}");
        }
        for once in [&["2027-01-01 10:00"][..], &["2020-01-01"], &["*-02-30"], &[]] {
            assert_eq!(interval(once, "UTC"), None, "{once:?}");
        }
    }

    #[test]
    fn monotonic_timers_and_delays() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let daily = Times::Calendar(Calendar::parse("daily").unwrap());
        let seconds = Duration::from_secs;
        for (calendars, repeats, delay, accuracy, expected) in [
            (vec![], vec![seconds(9000)], 0, 60, Some(9000)),
            (vec![daily.clone()], vec![seconds(9000)], 0, 60, Some(9000)),
            (vec![daily.clone()], vec![], 1800, 60, Some(24 * HOUR + 1800)),
            (vec![daily], vec![], 0, 600, Some(24 * HOUR + 600)),
            (vec![], vec![], 1800, 600, None),
        ] {
            let (randomized_delay, accuracy) = (seconds(delay), seconds(accuracy));
            let plan = Plan { calendars, repeats, randomized_delay, accuracy };
            assert_eq!(plan.interval(now, &TimeZone::UTC), expected.map(seconds));
        }
    }

    #[test]
    fn observed() {
        let interval = |hours: &[i64]| {
            let starts = hours.iter().map(|hour| Timestamp::from_second(hour * 3600).unwrap());
            observed_interval(starts).map(|interval| interval.as_secs() / HOUR)
        };
        assert_eq!(interval(&[]), None);
        assert_eq!(interval(&[0, 24]), None);
        assert_eq!(interval(&[0, 24, 48]), Some(24));
        assert_eq!(interval(&[0, 24, 72]), Some(24), "one was missed");
        assert_eq!(interval(&[0, 24, 72, 96]), Some(24));
        assert_eq!(interval(&[0, 24, 25, 48, 72, 96]), Some(24), "one by hand");
        assert_eq!(interval(&[0, 24, 0, 24, 48]), Some(24), "the clock was set back");
    }

    #[test]
    fn windows() {
        for (interval, window) in [(2, 6), (24, 48), (7 * 24, 14 * 24), (1, 6), (25, 50)] {
            assert_eq!(search_window(Duration::from_secs(interval * HOUR)).as_secs(), window * HOUR);
        }
        assert_eq!(search_window(Duration::MAX), Duration::MAX);
    }
}
