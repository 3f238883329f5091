//! Time spans of unit files, such as `15min` or `1h 30min`; see systemd.time(7).

use std::time::Duration;

/// Units with their length in microseconds; a month is 30.44 days and a year 365.25.
const UNITS: [(&[&str], u64); 9] = [
    (&["usec", "us", "µs", "μs"], 1),
    (&["msec", "ms"], 1000),
    (&["seconds", "second", "sec", "s", ""], 1_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000),
    (&["days", "day", "d"], 86_400_000_000),
    (&["weeks", "week", "w"], 604_800_000_000),
    (&["months", "month", "M"], 2_629_800_000_000),
    (&["years", "year", "y"], 31_557_600_000_000),
];

/// Reads a time span; a number without a unit counts seconds. `None` if it is none, or `infinity`.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, length) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        sum = sum.checked_add(microseconds(number, *length)?)?;
        rest = tail.trim_start();
        if rest.is_empty() {
            return Some(Duration::from_micros(sum));
        }
    }
}

fn microseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && decimals.is_empty() || decimals.contains('.') {
        return None;
    }
    let mut sum = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(unit)? };
    let mut part = unit;
    for digit in decimals.bytes() {
        part /= 10;
        sum = sum.checked_add(part * u64::from(digit - b'0'))?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("90", 90.0),
            ("0", 0.0),
            ("15min", 900.0),
            ("1h 30min", 5400.0),
            ("1h30min", 5400.0),
            ("2 h", 7200.0),
            ("2hours 5 s 500ms", 7205.5),
            ("1.5h", 5400.0),
            ("0.25d", 21600.0),
            ("1week", 604_800.0),
            ("1M", 2_629_800.0),
            ("1m", 60.0),
            ("3us", 0.000_003),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "h", "1x", "-1", "infinity", "1h -5min", ".", "1.2.3s", "99999999999y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}|[0-9. hmind]{0,20}") {
            parse(&text);
        }
    }
}
