//! Times and names as people read them.

use backup_common::text;
use backup_common::units;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::state::Notice;

/// Longest name that is shown, in bytes.
const NAME_BYTES: usize = 1024;

/// A name from outside without what could change how the text around it is shown.
pub fn name(name: &str) -> String {
    text::clean(name, NAME_BYTES)
}

/// Seconds from a time to a later one; none before it, as clocks can be set.
pub fn age_seconds(time: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(time).as_secs_f64().max(0.0)
}

/// `5 min ago`, `in 2 h`, `just now`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs_f64();
    if seconds.abs() < 1.0 {
        "just now".to_owned()
    } else if seconds < 0.0 {
        format!("in {}", coarse(-seconds))
    } else {
        format!("{} ago", coarse(seconds))
    }
}

/// Without the seconds, from a minute on: nobody asks for them, and they would change with each look.
pub fn coarse(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{} s", seconds.floor())
    } else {
        units::duration((seconds / 60.0).floor() * 60.0)
    }
}

/// A whole number of minutes, hours or days that holds this time: `5 min`, `2 h`, `3 d`.
pub fn within(seconds: f64) -> String {
    let (size, unit) = match seconds {
        seconds if seconds <= 3600.0 => (60.0, "min"),
        seconds if seconds <= 2.0 * 86400.0 => (3600.0, "h"),
        _ => (86400.0, "d"),
    };
    format!("{} {unit}", (seconds / size).ceil().max(1.0))
}

/// A time as the clock on the wall shows it.
pub fn absolute(time: Timestamp, zone: &TimeZone) -> Markup {
    let local = time.to_zoned(zone.clone());
    html! { time datetime=(format!("{time:.0}")) { (local.strftime("%Y-%m-%d %H:%M %Z")) } }
}

/// Both.
pub fn when(time: Timestamp, now: Timestamp, zone: &TimeZone) -> Markup {
    html! { (relative(time, now)) " " span.quiet { (absolute(time, zone)) } }
}

/// Bytes that came or went.
pub fn change(bytes: i64) -> String {
    let sign = if bytes < 0 { "−" } else { "+" };
    format!("{sign}{}", units::bytes(bytes.unsigned_abs()))
}

/// What is unusual, in words.
pub const fn notice(notice: Notice) -> &'static str {
    match notice {
        Notice::SlowTransfer => "The transfer was far slower than usual.",
        Notice::LowSpeedup => "Far more of the data crossed the wire than usual.",
        Notice::LongRun => "It took far longer than usual.",
        Notice::SizeJump => "The source is far larger than in the run before.",
        Notice::SizeDrop => "The source is far smaller than in the run before.",
    }
}

/// Plural or not.
pub const fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_up() {
        for (seconds, words) in
            [(0.0, "1 min"), (61.0, "2 min"), (3601.0, "2 h"), (7200.0, "2 h"), (200_000.0, "3 d")]
        {
            assert_eq!(within(seconds), words);
        }
    }

    #[test]
    fn relative_times() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (second, words) in
            [(1_000_000, "just now"), (999_995, "5 s ago"), (1_000_090, "in 1 min"), (0, "11 d 13 h ago")]
        {
            assert_eq!(relative(Timestamp::from_second(second).unwrap(), now), words);
        }
    }
}
