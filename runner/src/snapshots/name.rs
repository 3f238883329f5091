//! The names of snapshots: `TYPE_YYYY-MM-DD_HHMMSS` in local time, as `btrfs-snp` wrote them.
//!
//! Two things may follow: `_2`, `_3`, … when the name was taken, and `_incomplete`.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// What follows the time when a path is missing.
const INCOMPLETE: &str = "_incomplete";
/// Highest number that tells equal names apart.
const MOST_EQUAL: u16 = 999;

/// The name of a snapshot in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// Type of its schedule.
    pub tag: String,
    /// Local time, to the second.
    pub time: DateTime,
    /// 1 unless the name was taken.
    pub number: u16,
    /// Every path was whole.
    pub complete: bool,
}

impl SnapshotName {
    /// Reads a name; `None` for what this program would not have written itself.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, complete) = match text.strip_suffix(INCOMPLETE) {
            Some(rest) => (rest, false),
            None => (text, true),
        };
        // From the end, because a tag may hold underscores and digits.
        let (rest, number) = match rest.rsplit_once('_')? {
            (_, digits) if digits.len() == 6 => (rest, 1),
            (before, digits) => {
                (before, digits.parse().ok().filter(|number| (2..=MOST_EQUAL).contains(number))?)
            }
        };
        let (rest, clock) = rest.rsplit_once('_')?;
        let (tag, date) = rest.rsplit_once('_')?;
        let time = DateTime::strptime("%Y-%m-%d_%H%M%S", format!("{date}_{clock}")).ok()?;
        let name = Self { tag: tag.to_owned(), time, number, complete };
        (!tag.is_empty() && name.to_string() == text).then_some(name)
    }

    /// The first name for this moment that `taken` does not know.
    pub fn new(tag: &str, time: DateTime, complete: bool, taken: impl Fn(&str) -> bool) -> Self {
        let time = time.with().subsec_nanosecond(0).build().unwrap_or(time);
        let mut name = Self { tag: tag.to_owned(), time, number: 1, complete };
        while name.number < MOST_EQUAL && taken(&name.to_string()) {
            name.number += 1;
        }
        name
    }

    /// The moment that its local time means.
    ///
    /// When clocks go back an hour is told twice; then the one nearer to the kernel's own note of
    /// the creation, in seconds since 1970, is meant.
    pub fn timestamp(&self, zone: &TimeZone, created: u64) -> Option<Timestamp> {
        let ambiguous = zone.to_ambiguous_timestamp(self.time);
        let AmbiguousOffset::Fold { before, after } = ambiguous.offset() else {
            return ambiguous.compatible().ok();
        };
        let created = i64::try_from(created).unwrap_or(i64::MAX);
        let moments = [before.to_timestamp(self.time).ok()?, after.to_timestamp(self.time).ok()?];
        moments.into_iter().min_by_key(|moment| moment.as_second().abs_diff(created))
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}_{}", self.tag, self.time.strftime("%Y-%m-%d_%H%M%S"))?;
        if self.number > 1 {
            write!(out, "_{}", self.number)?;
        }
        if self.complete { Ok(()) } else { out.write_str(INCOMPLETE) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_older_script_are_read() {
        // date +%F_%H%M%S after the tag and an underscore.
        let name = SnapshotName::parse("hourly_2024-02-29_040001").expect("is a name");
        assert_eq!(
            (name.tag.as_str(), name.time, name.complete),
            ("hourly", date(2024, 2, 29).at(4, 0, 1, 0), true)
        );
        let name = SnapshotName::parse("my_tag_2_2024-02-29_040001_3_incomplete").expect("is a name");
        assert_eq!((name.tag.as_str(), name.number, name.complete), ("my_tag_2", 3, false));
    }

    #[test]
    fn what_this_program_would_not_write_is_no_name() {
        for text in [
            "",
            "daily",
            "_2024-01-01_000000",
            "daily_2024-01-01",
            "daily_2024-01-01_0000",
            "daily_2024-13-01_000000",
            "daily_2023-02-29_000000",
            "daily_2024-01-01_240000",
            "daily_2024-1-1_000000",
            "daily_2024-01-01_000000_1",
            "daily_2024-01-01_000000_02",
            "daily_2024-01-01_000000_1000",
            "daily_2024-01-01_000000_",
            "daily_2024-01-01_000000_old",
            "daily_2024-01-01_000000_incomplete_2",
            "daily_2024-01-01_000000_incomplete_incomplete",
            "daily_2024-01-01_000000.bak",
            "daily-2024-01-01_000000",
            "daily_+024-01-01_000000",
        ] {
            assert_eq!(SnapshotName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let time = date(2024, 1, 1).at(12, 0, 0, 5);
        let name =
            |taken: &[&str]| SnapshotName::new("d", time, false, |name| taken.contains(&name)).to_string();
        assert_eq!(name(&[]), "d_2024-01-01_120000_incomplete");
        assert_eq!(name(&["d_2024-01-01_120000"]), "d_2024-01-01_120000_incomplete");
        let taken = ["d_2024-01-01_120000_incomplete", "d_2024-01-01_120000_2_incomplete"];
        assert_eq!(name(&taken), "d_2024-01-01_120000_3_incomplete");
    }

    #[test]
    fn the_hour_that_is_told_twice_is_decided_by_the_kernel() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let name = SnapshotName::parse("h_2026-10-25_023000").expect("is a name");
        let at = |created: &str| {
            let created: Timestamp = created.parse().expect("a time");
            let seconds = u64::try_from(created.as_second()).expect("is positive");
            name.timestamp(&zone, seconds).expect("is a moment").to_string()
        };
        assert_eq!(at("2026-10-25T00:30:02Z"), "2026-10-25T00:30:00Z");
        assert_eq!(at("2026-10-25T01:30:02Z"), "2026-10-25T01:30:00Z");
        let skipped = SnapshotName::parse("h_2026-03-29_023000").expect("is a name");
        assert!(skipped.timestamp(&zone, 0).is_some());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            tag in "[A-Za-z0-9_-]{1,20}",
            seconds in 0_i64..4_000_000_000,
            number in 1_u16..=MOST_EQUAL,
            complete: bool,
        ) {
            let time = TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).expect("in range"));
            let name = SnapshotName { tag, time, number, complete };
            prop_assert_eq!(SnapshotName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC*") {
            if let Some(name) = SnapshotName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
