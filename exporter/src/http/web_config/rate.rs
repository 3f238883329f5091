//! Pure: `rate_limit` of the web configuration.

use std::time::Duration;

use backup_common::problems::Problems;
use backup_common::yaml_table::Table;

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Time in which one request becomes possible.
    pub interval: Duration,
    /// Requests that may come at once.
    pub burst: u32,
}

impl RateLimit {
    pub(super) fn read(mut table: Table<'_>, problems: &mut Problems) -> Option<Self> {
        let interval = table.text("interval", problems);
        let burst = table.number("burst", problems);
        let (line, burst_key, interval_key) =
            (table.line(), table.key_path("burst"), table.key_path("interval"));
        table.finish(problems);
        let interval = interval.map_or(Some(Duration::ZERO), |text| {
            let parsed = go_duration(&text.value);
            if parsed.is_none() {
                problems.error(text.line, interval_key, "expected a duration such as 1s, 500ms or 1m30s");
            }
            parsed
        })?;
        if interval.is_zero() {
            return None;
        }
        // A bucket that holds nothing lets nobody in, which nobody means.
        let burst = burst.map_or(0, |burst| burst.value).try_into().unwrap_or(u32::MAX);
        if burst == 0 {
            problems.error(
                line,
                burst_key,
                "set burst to the number of requests that may come at once, at least 1",
            );
        }
        Some(Self { interval, burst })
    }
}

/// A duration as Go writes it, <https://pkg.go.dev/time#ParseDuration>: `300ms`, `1.5h`, `1m30s`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, expected) in [("1s", 1.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0), ("0", 0.0)] {
            assert_eq!(go_duration(text), Some(Duration::from_secs_f64(expected)), "{text}");
        }
        for text in ["", "1", "s", "1d", "-1s", "1 s", "1e400h", "1..2s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(duration in "[0-9.a-zµ -]{0,12}") {
            let _ = go_duration(&duration);
        }
    }
}
