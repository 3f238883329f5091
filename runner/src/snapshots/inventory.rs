//! What is in the snapshot directory, as values.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::name::SnapshotName;

/// Steps of a clock up to this size are usual (chrony and ntpd make them) and mean nothing.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The content of the snapshot directory.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The read-only snapshots of this volume whose name is known, of all schedules.
    pub entries: Vec<Entry>,
    /// Every name in the directory, whatever it is.
    pub names: BTreeSet<String>,
    /// Names that look like a snapshot's, of something that is no read-only snapshot of this volume.
    pub strangers: Vec<String>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: SnapshotName,
    /// The moment that its name tells.
    pub time: Timestamp,
    /// Id of its subvolume.
    pub id: u64,
    /// The transaction that made it, which orders snapshots without a clock.
    pub transaction: u64,
}

/// Whether a snapshot is dated later than now, by more than a clock is corrected every day.
pub fn is_future(entry: &Entry, now: Timestamp) -> bool {
    entry.time > now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    /// A snapshot that was made in the transaction `id`, and is dated `seconds` after 1970.
    pub fn entry(tag: &str, seconds: i64, id: u64, complete: bool) -> Entry {
        let time = Timestamp::from_second(seconds).expect("in range");
        let name =
            SnapshotName { tag: tag.to_owned(), time: TimeZone::UTC.to_datetime(time), number: 1, complete };
        Entry { name, time, id, transaction: id }
    }

    #[test]
    fn a_minute_is_no_future() {
        let entry = entry("daily", 1060, 1, true);
        let at = |seconds| Timestamp::from_second(seconds).expect("in range");
        assert!(!is_future(&entry, at(1000)));
        assert!(is_future(&entry, at(999)));
        assert!(!is_future(&entry, Timestamp::MAX));
    }
}
