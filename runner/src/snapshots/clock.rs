//! Whether the clock can be believed. Retention goes by transactions and not by the clock, but a clock that
//! jumped means that something is wrong with this machine, and then nothing is deleted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use super::inventory::{CLOCK_TOLERANCE, Entry, is_future};

/// The time by two clocks: one that can be set, and one that only ever counts, also during a suspend.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    ticks: Duration,
}

impl Clock {
    /// Looks at both.
    pub fn now() -> Self {
        let ticks = clock_gettime(ClockId::Boottime);
        let ticks = Duration::new(
            u64::try_from(ticks.tv_sec).unwrap_or_default(),
            u32::try_from(ticks.tv_nsec).unwrap_or_default(),
        );
        Self { wall: Timestamp::now(), ticks }
    }

    /// The wall clock's time.
    pub fn wall(self) -> Timestamp {
        self.wall
    }
}

/// Why the clock is not believed, if it is not: it was set while the run went on, or what was made before
/// is dated in the future.
pub fn suspicion(
    begun: Clock,
    now: Clock,
    entries: &[Entry],
    last_record: Option<Timestamp>,
) -> Option<String> {
    let ticks =
        SignedDuration::try_from(now.ticks.saturating_sub(begun.ticks)).unwrap_or(SignedDuration::MAX);
    let set = now.wall.duration_since(begun.wall).saturating_sub(ticks);
    if set.unsigned_abs() > CLOCK_TOLERANCE {
        let (seconds, way) =
            (set.unsigned_abs().as_secs_f64(), if set.is_negative() { "back" } else { "forward" });
        return Some(format!(
            "the clock was set {way} by {} during this run",
            backup_common::units::duration(seconds)
        ));
    }
    if let Some(newest) =
        entries.iter().max_by_key(|entry| entry.transaction).filter(|entry| is_future(entry, now.wall))
    {
        return Some(format!(
            "the clock was set back: the newest snapshot, {}, is dated in the future",
            newest.name
        ));
    }
    last_record
        .filter(|time| {
            time.duration_since(begun.wall) > SignedDuration::try_from(CLOCK_TOLERANCE).unwrap_or_default()
        })
        .map(|time| {
            format!(
                "the clock was set back: the last record before this run is of {time}, which is in the future"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::super::inventory::tests::entry;
    use super::*;

    fn clock(wall: i64, ticks: u64) -> Clock {
        Clock { wall: Timestamp::from_second(wall).expect("in range"), ticks: Duration::from_secs(ticks) }
    }

    #[test]
    fn a_clock_that_is_set_during_the_run_is_noticed() {
        let said = |wall, ticks| suspicion(clock(10_000, 50), clock(wall, ticks), &[], None);
        assert_eq!(said(10_100, 150), None);
        assert_eq!(said(10_000 + 7200, 50 + 7200), None, "a long run");
        assert_eq!(said(10_050, 160), None, "less than a minute");
        assert_eq!(said(6_500, 150).as_deref(), Some("the clock was set back by 1 h during this run"));
        assert_eq!(
            said(13_800, 150).as_deref(),
            Some("the clock was set forward by 1 h 1 min during this run")
        );
    }

    #[test]
    fn what_is_dated_in_the_future_tells_of_a_step_before_the_run() {
        let at = clock(10_000, 50);
        // Only the newest by transaction counts: the clock was right again after the one from the future.
        let healed = [entry("d", 90_000, 1, true), entry("d", 9_000, 2, true)];
        assert_eq!(suspicion(at, at, &healed, None), None);
        let back = [entry("d", 9_000, 1, true), entry("d", 90_000, 2, true)];
        assert!(suspicion(at, at, &back, None).is_some_and(|words| words.contains("d_1970-01-02_010000")));
        let second = |second| Timestamp::from_second(second).ok();
        assert_eq!(suspicion(at, at, &[], second(10_030)), None);
        assert!(suspicion(at, at, &[], second(14_000)).is_some());
    }
}
