//! The name of a snapshot: `<type>_<YYYY-MM-DD_HHMMSS>`.
//!
//! Two things may follow: `_2`, `_3`, … when the name was taken, and `_incomplete` when a path is missing in it.
//! `btrfs-snp`, which the older system used, names its snapshots in the same way (`${TAG}_$(date +%F_%H%M%S)`),
//! so that they count too. The time is local time; the type may have underscores itself, so a name is
//! read from its end.

use std::fmt;

use jiff::civil::DateTime;

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

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(name in "[a-z_-]{0,3}_?[0-9]{4}-[01][0-9]-[0-3][0-9]_[0-9]{6}(_[0-9]{1,4})?(_incomplete)?|\\PC{0,40}") {
            if let Some(parsed) = SnapshotName::parse(&name) {
                prop_assert_eq!(parsed.to_string(), name);
            }
        }
    }
}
