//! Pure: what systemd says about a timer over D-Bus, as `busctl --json=short` prints it.
//!
//! D-Bus gives every time as a number of microseconds and every list as a list. What `systemctl show`
//! prints is made for people: local times without their zone, spans such as `1h 2min`, lists in braces.
//! See org.freedesktop.systemd1(5), "Timer Unit Objects".

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::schedule::{Plan, Schedule, Source};

/// The bus name of systemd.
pub const SERVICE: &str = "org.freedesktop.systemd1";

/// Properties of the unit that are asked for, in the order in which they are printed.
pub const UNIT_PROPERTIES: [&str; 3] = ["LoadState", "ActiveState", "SubState"];

/// A timer as systemd has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// There is such a timer: neither missing, nor masked, nor with an error in it.
    pub loaded: bool,
    /// It was started and will elapse.
    pub active: bool,
    /// What it starts is running: it does not know yet when it elapses next.
    pub running: bool,
    /// Its calendar expressions.
    pub calendars: Vec<String>,
    /// What else it says; the calendars are not read yet.
    pub plan: Plan,
    next_realtime: Option<Timestamp>,
    /// By `CLOCK_MONOTONIC`.
    next_monotonic: Option<Duration>,
    last_trigger: Option<Timestamp>,
}

/// The time now, on the two clocks that timers count on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The time of day.
    pub now: Timestamp,
    /// `CLOCK_MONOTONIC`, which counts from the boot of the machine.
    pub monotonic: Duration,
}

/// Not what systemd answers.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the answer about the timer: {0} is missing or has another type")]
pub struct AnswerError(&'static str);

/// The object of a unit: everything but ASCII letters and digits is written as `_` and two hex digits,
/// and so is a digit at the beginning. See `sd_bus_path_encode(3)`.
pub fn object_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || byte.is_ascii_digit() && index > 0 {
            path.push(char::from(byte));
        } else {
            // Writing into a String has no way to fail.
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// Reads [`UNIT_PROPERTIES`], one a line, and all properties of the timer on the line behind them.
pub fn parse(printed: &str) -> Result<Seen, AnswerError> {
    let mut lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
    let mut unit = |name| {
        let value = lines.next().unwrap_or_default();
        value["data"].as_str().map(str::to_owned).ok_or(AnswerError(name))
    };
    let (load, active, sub) = (unit("LoadState")?, unit("ActiveState")?, unit("SubState")?);
    let all = lines.next().unwrap_or_default();
    let timer = &all["data"][0];
    let property = |name: &'static str| timer[name].get("data").ok_or(AnswerError(name));
    let microseconds = |name| property(name)?.as_u64().ok_or(AnswerError(name));
    let list = |name| property(name)?.as_array().ok_or(AnswerError(name));

    let text = |entry: &Value| entry[1].as_str().map(str::to_owned);
    let calendars =
        list("TimersCalendar")?.iter().map(|entry| text(entry).ok_or(AnswerError("TimersCalendar")));
    let repeats = list("TimersMonotonic")?.iter().filter(|entry| {
        // The others elapse once: after the boot, or after the start of systemd or the timer.
        entry[0].as_str().is_some_and(|base| matches!(base, "OnUnitActiveUSec" | "OnUnitInactiveUSec"))
    });
    let repeats = repeats.map(|entry| entry[1].as_u64().map(Duration::from_micros));
    let fixed_delay = timer["FixedRandomDelay"]["data"].as_bool().unwrap_or(false);
    let delay = if fixed_delay { 0 } else { microseconds("RandomizedDelayUSec")? };
    Ok(Seen {
        loaded: load == "loaded",
        active: active == "active",
        running: sub == "running",
        calendars: calendars.collect::<Result<_, _>>()?,
        plan: Plan {
            calendars: Vec::new(),
            repeats: repeats.collect::<Option<_>>().ok_or(AnswerError("TimersMonotonic"))?,
            randomized_delay: Duration::from_micros(delay),
            accuracy: Duration::from_micros(microseconds("AccuracyUSec")?),
        },
        next_realtime: known(microseconds("NextElapseUSecRealtime")?).and_then(timestamp),
        next_monotonic: known(microseconds("NextElapseUSecMonotonic")?).map(Duration::from_micros),
        last_trigger: known(microseconds("LastTriggerUSec")?).and_then(timestamp),
    })
}

/// 0 is never, and the largest number is infinity: while the service runs there is no next time.
fn known(microseconds: u64) -> Option<u64> {
    (microseconds != 0 && microseconds != u64::MAX).then_some(microseconds)
}

fn timestamp(microseconds: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
}

impl Seen {
    /// The timer with its calendars read and its interval computed.
    pub fn schedule(
        &self,
        plan: &Plan,
        interval: Option<Duration>,
        clock: Clock,
        local: &TimeZone,
    ) -> Schedule {
        let monotonic = self.next_monotonic.and_then(|next| clock.wall(next));
        let told = self.next_realtime.into_iter().chain(monotonic).min();
        // While the service runs only the calendar knows when it is due again.
        let next = told.or_else(|| plan.next_after(clock.now, local).filter(|_| self.running));
        Schedule {
            source: Source::Timer,
            interval,
            next_run: next.filter(|_| self.active),
            last_trigger: self.last_trigger,
        }
    }
}

impl Clock {
    /// The time of day of a monotonic time, to the second: taken from two clocks, it would be another
    /// one each time.
    fn wall(self, monotonic: Duration) -> Option<Timestamp> {
        let ahead =
            SignedDuration::try_from(monotonic).ok()? - SignedDuration::try_from(self.monotonic).ok()?;
        let time = self.now.checked_add(ahead).ok()?;
        Timestamp::from_second((time.as_millisecond() + 500).div_euclid(1000)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of systemd 252 in a booted Debian 12, as an ordinary user gets them.
    macro_rules! captured {
        ($name:literal) => {
            parse(include_str!(concat!("../../../tests/timers/", $name, ".jsonl"))).unwrap()
        };
    }

    fn time(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }

    /// When the answers were captured.
    fn clock() -> Clock {
        Clock { now: time("2026-11-23T12:46:38Z").unwrap(), monotonic: Duration::from_secs_f64(12_264.96) }
    }

    fn schedule(seen: &Seen) -> (Option<Duration>, Option<Timestamp>, Option<Timestamp>) {
        let read = |text: &String| crate::schedule::Times::Calendar(text_calendar(text));
        let plan = Plan { calendars: seen.calendars.iter().map(read).collect(), ..seen.plan.clone() };
        let interval = plan.interval(clock().now, &TimeZone::UTC);
        let schedule = seen.schedule(&plan, interval, clock(), &TimeZone::UTC);
        (schedule.interval, schedule.next_run, schedule.last_trigger)
    }

    fn text_calendar(text: &str) -> crate::schedule::calendar::Calendar {
        crate::schedule::calendar::Calendar::parse(text).unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_timer_that_never_elapsed() {
        let seen = captured!("never-triggered");
        assert!(seen.loaded && seen.active && !seen.running);
        assert_eq!(seen.calendars, ["Sun *-*-* 05:30:00", "*-*-* 00/2:00:00"]);
        let (interval, next, last) = schedule(&seen);
        // The random delay comes on top of the two hours.
        assert_eq!(interval, Some(HOUR * 2 + Duration::from_secs(600)));
        assert_eq!((next, last), (time("2026-11-23T14:01:27.850724Z"), None));
    }

    #[test]
    fn calendars_with_their_own_zone() {
        let (interval, next, _) = schedule(&captured!("daily-and-weekdays"));
        // Accuracy of five minutes.
        assert_eq!(interval, Some(HOUR * 24 + Duration::from_secs(300)));
        assert_eq!(next, time("2026-11-24T00:00:00Z"));
    }

    #[test]
    fn while_the_service_runs_the_calendar_tells_the_next_time() {
        let seen = captured!("service-runs");
        assert!(seen.running);
        let (interval, next, last) = schedule(&seen);
        assert_eq!(interval, Some(Duration::from_secs(10)));
        assert_eq!(next, time("2026-11-23T12:46:40Z"));
        assert_eq!(last, time("2026-11-23T12:46:06.377519Z"));
        let seen = captured!("monotonic-service-runs");
        assert!(seen.running);
        let (interval, next, last) = schedule(&seen);
        assert_eq!((interval, next), (Some(HOUR * 24), None), "it counts from an end that is not there yet");
        assert_eq!(last, time("2026-11-23T12:45:45.963107Z"));
    }

    #[test]
    fn monotonic_times_count_from_the_boot() {
        let (interval, next, last) = schedule(&captured!("monotonic"));
        assert_eq!(interval, Some(HOUR * 5 / 2));
        assert_eq!((next, last), (time("2026-11-23T15:15:46Z"), time("2026-11-23T12:45:45.957732Z")));
    }

    #[test]
    fn one_that_is_not_started_has_an_interval_and_no_next_time() {
        let seen = captured!("inactive");
        assert!(seen.loaded && !seen.active);
        assert_eq!(schedule(&seen), (Some(HOUR * 24), None, None));
    }

    #[test]
    fn missing_and_masked_ones() {
        assert!(!captured!("not-found").loaded);
        assert!(!captured!("masked").loaded);
    }

    #[test]
    fn other_answers_are_errors() {
        let good = include_str!("../../../tests/timers/monotonic.jsonl");
        for bad in
            ["", "nonsense", "{}\n{}\n{}\n{}", &good[..good.len() - 20], &good.replace("AccuracyUSec", "x")]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_paths() {
        assert_eq!(object_path("backup.timer"), "/org/freedesktop/systemd1/unit/backup_2etimer");
        assert_eq!(object_path("1a-b@c.timer"), "/org/freedesktop/systemd1/unit/_31a_2db_40c_2etimer");
    }
}
