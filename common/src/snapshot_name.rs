//! The name of a snapshot: `<type>_<YYYY-MM-DD_HHMMSS>`.
//!
//! Two things may follow: `_2`, `_3`, … when the name was taken, and `_incomplete` when a path is missing in it.
//! `btrfs-snp`, which the older system used, names its snapshots in the same way (`${TAG}_$(date +%F_%H%M%S)`),
//! so that they count too. The time is local time; the type may have underscores itself, so a name is
//! read from its end.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// What the name of an incomplete snapshot ends in.
const INCOMPLETE: &str = "_incomplete";

/// `YYYY-MM-DD_HHMMSS`, in characters.
const TIME_LENGTH: usize = 17;

/// Highest number that tells equal names apart.
pub const MOST_EQUAL: u16 = 999;

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// The type of its schedule.
    pub tag: String,
    /// When it was taken, in local time to the second.
    pub time: DateTime,
    /// 1 unless the name was taken.
    pub number: u16,
    /// Every path was successful in the run that it was taken in; always true for those of `btrfs-snp`.
    pub complete: bool,
}

impl SnapshotName {
    /// Takes a name apart; `None` if it is none of a snapshot.
    ///
    /// Only the one way of writing is taken, so that a name that was read is written as it was.
    pub fn parse(name: &str) -> Option<Self> {
        let (stem, complete) = match name.strip_suffix(INCOMPLETE) {
            Some(stem) => (stem, false),
            None => (name, true),
        };
        let (stem, number) = match stem.rsplit_once('_')? {
            // The time itself has six digits.
            (_, digits) if digits.len() == 6 => (stem, 1),
            (before, digits) => {
                (before, digits.parse().ok().filter(|number| (2..=MOST_EQUAL).contains(number))?)
            }
        };
        let at = stem.len().checked_sub(TIME_LENGTH)?;
        let (tag, time) = (stem.get(..at)?.strip_suffix('_')?, stem.get(at..)?);
        let time = DateTime::strptime("%Y-%m-%d_%H%M%S", time).ok()?;
        let parsed = Self { tag: tag.to_owned(), time, number, complete };
        (is_tag(tag) && parsed.to_string() == name).then_some(parsed)
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
        let Self { tag, time, number, complete } = self;
        write!(out, "{tag}_{}", time.strftime("%Y-%m-%d_%H%M%S"))?;
        if *number > 1 {
            write!(out, "_{number}")?;
        }
        out.write_str(if *complete { "" } else { INCOMPLETE })
    }
}

/// The same rule as for `snapshots.schedules[].type` in the configuration.
fn is_tag(tag: &str) -> bool {
    let plain = tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    plain && !tag.is_empty() && !tag.starts_with('-')
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let time = date(2026, 1, 2).at(3, 4, 5, 0);
        for (name, tag, number, complete) in [
            ("daily_2026-01-02_030405", "daily", 1, true),
            ("daily_2026-01-02_030405_incomplete", "daily", 1, false),
            ("daily_2026-01-02_030405_2", "daily", 2, true),
            ("daily_2026-01-02_030405_999_incomplete", "daily", 999, false),
            ("a_b-c_2026-01-02_030405", "a_b-c", 1, true),
            ("2025-01-01_000000_2026-01-02_030405", "2025-01-01_000000", 1, true),
        ] {
            let expected = SnapshotName { tag: tag.to_owned(), time, number, complete };
            assert_eq!(SnapshotName::parse(name), Some(expected.clone()), "{name}");
            assert_eq!(expected.to_string(), name);
        }
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "",
            "daily",
            "_2026-01-02_030405",
            "daily_2026-01-02",
            "daily_2026-01-02_0304",
            "daily_2026-13-02_030405",
            "daily_2026-02-30_030405",
            "daily_2026-01-02_250405",
            "daily_2026-01-02_030460",
            "daily_2026-01-02_030405_incomplete_incomplete",
            "daily_2026-01-02_030405_1",
            "daily_2026-01-02_030405_02",
            "daily_2026-01-02_030405_1000",
            "daily_2026-01-02_030405_incomplete_2",
            "daily_2026-01-02_030405_123456",
            "daily_2026-01-02_030405.tmp",
            "daily_2026-01-02T030405",
            "daily2026-01-02_030405",
            "-daily_2026-01-02_030405",
            "dai ly_2026-01-02_030405",
            "däily_2026-01-02_030405",
            "daily_2026-1-2_ 30405_x",
            "daily_+026-01-02_030405",
        ] {
            assert_eq!(SnapshotName::parse(name), None, "{name}");
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
            tag in "[A-Za-z0-9_][A-Za-z0-9_-]{0,20}",
            seconds in 0_i64..4_000_000_000,
            number in 1_u16..=MOST_EQUAL,
            complete: bool,
        ) {
            let time = TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).expect("in range"));
            let name = SnapshotName { tag, time, number, complete };
            prop_assert_eq!(SnapshotName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn what_is_read_is_written_as_it_was(name in "[a-z_-]{0,3}_?[0-9]{4}-[01][0-9]-[0-3][0-9]_[0-9]{6}(_[0-9]{1,4})?(_incomplete)?|\\PC{0,40}") {
            if let Some(parsed) = SnapshotName::parse(&name) {
                prop_assert_eq!(parsed.to_string(), name);
            }
        }
    }
}
