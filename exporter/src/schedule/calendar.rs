//! Calendar expressions of systemd timers (`OnCalendar=`), as systemd.time(7) describes them.
//!
//! Where the manual page leaves a question open, the answer is what `systemd-analyze calendar` does;
//! a property test compares the two.

mod chain;
mod parse;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use chain::Chain;
pub use parse::CalendarError;

/// The last year that systemd looks at.
const MAX_YEAR: i16 = 2199;

/// Microseconds of a second.
const SECOND: u32 = 1_000_000;

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    /// Monday first; all are false if none is named.
    weekdays: [bool; 7],
    years: Chain,
    months: Chain,
    days: Chain,
    /// `days` counts from the end of the month.
    from_end: bool,
    hours: Chain,
    minutes: Chain,
    /// In microseconds of the minute.
    seconds: Chain,
    /// The zone that it names; without one, local time is meant.
    zone: Option<TimeZone>,
}

impl Calendar {
    /// Reads an expression such as `Mon..Fri *-*-* 02:30`.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        parse::parse(text)
    }

    /// The time zone that it names.
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// The first time after `after` that the expression allows; none if there is no further one.
    ///
    /// A local time that a time zone leaves out is left out, and one that it has twice counts once.
    pub fn next_after(&self, after: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        let zone = self.zone.as_ref().unwrap_or(local);
        let after = Timestamp::from_microsecond(after.as_microsecond()).ok()?;
        let mut from = zone.to_datetime(after).checked_add(1.microsecond()).ok()?;
        loop {
            let found = self.next_civil(from)?;
            let ambiguous = zone.to_ambiguous_timestamp(found);
            match ambiguous.offset() {
                AmbiguousOffset::Unambiguous { .. } => return ambiguous.compatible().ok(),
                // The clock goes from before the gap to behind it; the search goes on there.
                AmbiguousOffset::Gap { .. } => {
                    from = end_of_gap(zone, found)?;
                }
                AmbiguousOffset::Fold { before, after: later } => {
                    let first = before.to_timestamp(found).ok()?;
                    return if first > after { Some(first) } else { later.to_timestamp(found).ok() };
                }
            }
        }
    }

    /// The first civil time from `from` on.
    fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, mut time) = (from.date(), from.time());
        loop {
            let day = self.next_day(date)?;
            if day != date {
                time = Time::midnight();
            }
            if let Some(time) = self.next_time(time) {
                return Some(day.to_datetime(time));
            }
            (date, time) = (day.tomorrow().ok()?, Time::midnight());
        }
    }

    /// The first day from `from` on.
    fn next_day(&self, from: Date) -> Option<Date> {
        let mut at = from;
        loop {
            let year = i16::try_from(self.years.next(number(at.year()), number(MAX_YEAR))?).ok()?;
            if year != at.year() {
                at = Date::new(year, 1, 1).ok()?;
            }
            let Some(month) = self.months.next(number(at.month().into()), 12) else {
                at = Date::new(year.checked_add(1)?, 1, 1).ok()?;
                continue;
            };
            if month != number(at.month().into()) {
                at = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
            }
            let last = number(at.days_in_month().into());
            let day = number(at.day().into());
            let found =
                if self.from_end { self.days.next_from_end(day, last) } else { self.days.next(day, last) };
            let Some(found) = found else {
                at = at.last_of_month().tomorrow().ok()?;
                continue;
            };
            at = Date::new(year, at.month(), i8::try_from(found).ok()?).ok()?;
            if self.allows(at.weekday()) {
                return Some(at);
            }
            at = at.tomorrow().ok()?;
        }
    }

    /// The first time of the same day from `from` on.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (mut hour, mut minute) = (number(from.hour().into()), number(from.minute().into()));
        let mut second = number(from.second().into()) * SECOND + number_of_nanoseconds(from);
        loop {
            let found_hour = self.hours.next(hour, 23)?;
            if found_hour != hour {
                (minute, second) = (0, 0);
            }
            let Some(found_minute) = self.minutes.next(minute, 59) else {
                (hour, minute, second) = (found_hour + 1, 0, 0);
                continue;
            };
            if found_minute != minute {
                second = 0;
            }
            let Some(found) = self.seconds.next(second, 60 * SECOND - 1) else {
                (hour, minute, second) = (found_hour, found_minute + 1, 0);
                continue;
            };
            let part = |value: u32| i8::try_from(value).ok();
            let nanosecond = i32::try_from(found % SECOND * 1000).ok()?;
            return Time::new(part(found_hour)?, part(found_minute)?, part(found / SECOND)?, nanosecond).ok();
        }
    }

    fn allows(&self, day: Weekday) -> bool {
        let index = usize::try_from(day.to_monday_zero_offset()).unwrap_or(0);
        self.weekdays.iter().all(|named| !named) || self.weekdays[index]
    }
}

/// The first civil time behind the gap that `within` lies in.
fn end_of_gap(zone: &TimeZone, within: DateTime) -> Option<DateTime> {
    // `earlier` and `later` lie on the two sides of the transition.
    let before = zone.to_ambiguous_timestamp(within).earlier().ok()?;
    let transition = zone.following(before).next()?;
    Some(zone.to_datetime(transition.timestamp()))
}

/// Parts of dates are never negative here: systemd looks at no year before 1970.
fn number(part: i16) -> u32 {
    u32::try_from(part).unwrap_or(0)
}

fn number_of_nanoseconds(time: Time) -> u32 {
    u32::try_from(time.subsec_nanosecond() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let next = Calendar::parse(expression).unwrap().next_after(after.parse().unwrap(), &zone)?;
        Some(next.to_string())
    }

    #[test]
    fn the_first_time_after() {
        for (expression, after, expected) in [
            ("*-*-* 00/2:00:00", "2026-11-23T01:59:59.999999Z", "2026-11-23T02:00:00Z"),
            ("*-*-* 00/2:00:00", "2026-11-23T02:00:00Z", "2026-11-23T04:00:00Z"),
            ("hourly", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"),
            ("daily", "2026-02-28T12:00:00Z", "2026-03-01T00:00:00Z"),
            // 2026-11-23 is a Monday.
            ("weekly", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("Mon..Fri 02:30", "2026-11-27T02:30:00Z", "2026-11-30T02:30:00Z"),
            ("monthly", "2026-11-23T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("quarterly", "2026-11-23T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("*-*~01 12:00", "2026-02-01T00:00:00Z", "2026-02-28T12:00:00Z"),
            ("Mon *-05~07/1", "2026-01-01T00:00:00Z", "2026-05-25T00:00:00Z"),
            ("Fri *-*-13", "2026-03-14T00:00:00Z", "2026-11-13T00:00:00Z"),
            ("*-02-29", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("*:*:0.5/20", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:20.5Z"),
            ("@1000", "1970-01-01T00:00:00Z", "1970-01-01T00:16:40Z"),
            ("08:05..40/10", "2026-01-01T08:25:00Z", "2026-01-01T08:35:00Z"),
        ] {
            assert_eq!(next(expression, after, "UTC").as_deref(), Some(expected), "{expression}");
        }
        for never in ["*-02-30", "2025-12-24 10:00", "1970..2000-*-*"] {
            assert_eq!(next(never, "2026-01-01T00:00:00Z", "UTC"), None, "{never}");
        }
    }

    #[test]
    fn days_with_a_change_of_the_clock() {
        for (expression, after, expected) in [
            // 2026-03-29 has no 02:30 in Berlin, 2026-10-25 has it twice.
            ("02:30", "2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"),
            ("02:30", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
            ("02:30", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("*:30", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"),
            ("12:00 America/New_York", "2026-01-01T00:00:00Z", "2026-01-01T17:00:00Z"),
        ] {
            let found = next(expression, after, "Europe/Berlin");
            assert_eq!(found.as_deref(), Some(expected), "{expression} {after}");
        }
    }
}
