//! Pure: what `systemd-analyze calendar --iterations=N` prints.
//!
//! ```text
//!     Next elapse: Tue 2026-11-24 02:00:00 CET
//!        (in UTC): Tue 2026-11-24 01:00:00 UTC
//!        From now: 12h left
//!        Iter. #2: Wed 2026-11-25 02:00:00 CET
//!        (in UTC): Wed 2026-11-25 01:00:00 UTC
//! ```
//! The lines with UTC are left out where that is the local time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The times, in their order and to the second; none if the expression never elapses again.
pub fn times(printed: &str) -> Vec<Timestamp> {
    printed.lines().filter_map(time).collect()
}

fn time(line: &str) -> Option<Timestamp> {
    let (label, value) = line.trim_start().split_once(": ")?;
    if !matches!(label, "Next elapse" | "(in UTC)") && !label.starts_with("Iter. #") {
        return None;
    }
    let (_, time) = value.strip_suffix(" UTC")?.split_once(' ')?;
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", time).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_times() {
        let local = "  Original form: daily\nNormalized form: *-*-* 00:00:00\n    Next elapse: Tue 2026-11-24 00:00:00 CET\n       (in UTC): Mon 2026-11-23 23:00:00 UTC\n       From now: 10h left\n       Iter. #2: Wed 2026-11-25 00:00:00 CET\n       (in UTC): Tue 2026-11-24 23:00:00 UTC\n";
        let utc =
            "    Next elapse: Mon 2026-11-23 23:00:00 UTC\n       Iter. #2: Tue 2026-11-24 23:00:00 UTC\n";
        let expected: Vec<Timestamp> =
            ["2026-11-23T23:00:00Z", "2026-11-24T23:00:00Z"].map(|time| time.parse().unwrap()).into();
        assert_eq!(times(local), expected);
        assert_eq!(times(utc), expected);
        assert_eq!(times("    Next elapse: never\n"), []);
    }
}
