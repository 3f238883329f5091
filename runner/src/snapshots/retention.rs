//! Which snapshots of a schedule are no longer kept.
//!
//! Age is told by the transaction that made a snapshot, which no clock can change. `count` complete ones
//! are kept, the newest. An incomplete one is deleted only when a newer complete one is there, and then
//! when it is older than all complete ones that are kept, or when `count` newer ones of its kind are kept.

use backup_common::config::Schedule;
use jiff::Timestamp;

use super::inventory::{Entry, is_future};

/// The snapshots of one schedule that are to be deleted, oldest first, each with the reason.
///
/// A snapshot from the future is neither deleted nor counted. With a `count` of 0 all are kept.
pub fn surplus<'a>(schedule: &Schedule, entries: &'a [Entry], now: Timestamp) -> Vec<(&'a Entry, String)> {
    let Ok(count @ 1..) = usize::try_from(schedule.count) else {
        return Vec::new();
    };
    let mut ours: Vec<&Entry> =
        entries.iter().filter(|entry| entry.name.tag == schedule.tag && !is_future(entry, now)).collect();
    ours.sort_by_key(|entry| (entry.transaction, entry.id));
    let complete: Vec<&Entry> = ours.iter().copied().filter(|entry| entry.name.complete).collect();
    let Some(newest) = complete.last() else {
        return Vec::new();
    };
    let kept = &complete[complete.len().saturating_sub(count)..];
    let oldest_kept = kept.first().filter(|_| kept.len() == count).map(|entry| entry.transaction);
    let superseded: Vec<&Entry> = ours
        .iter()
        .copied()
        .filter(|entry| !entry.name.complete && entry.transaction < newest.transaction)
        .collect();
    let first_spared = superseded.len().saturating_sub(count);

    let mut surplus = Vec::new();
    for entry in ours {
        if entry.name.complete {
            if !kept.iter().any(|kept| kept.id == entry.id) {
                surplus.push((entry, newer(count, "complete")));
            }
        } else if let Some(place) = superseded.iter().position(|other| other.id == entry.id) {
            if oldest_kept.is_some_and(|oldest| entry.transaction < oldest) {
                surplus.push((
                    entry,
                    "it is incomplete, and older than all complete ones that are kept".to_owned(),
                ));
            } else if place < first_spared {
                surplus.push((entry, format!("it is incomplete, and {}", newer(count, "incomplete"))));
            }
        }
    }
    surplus
}

/// `a newer complete one is kept`, `7 newer complete ones are kept`
fn newer(count: usize, kind: &str) -> String {
    if count == 1 {
        format!("a newer {kind} one is kept")
    } else {
        format!("{count} newer {kind} ones are kept")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::inventory::tests::entry;
    use super::*;

    fn schedule(count: u64) -> Schedule {
        Schedule { tag: "daily".to_owned(), count, interval: Duration::from_secs(86_400) }
    }

    fn deleted(count: u64, kinds: &str) -> Vec<u64> {
        let entries: Vec<_> = (1..)
            .zip(kinds.chars())
            .map(|(id, kind)| entry("daily", i64::try_from(id).expect("small"), id, kind == 'c'))
            .collect();
        surplus(&schedule(count), &entries, Timestamp::MAX).iter().map(|(entry, _)| entry.id).collect()
    }

    #[test]
    fn the_newest_complete_ones_are_kept() {
        assert_eq!(deleted(2, "cccc"), [1, 2]);
        assert_eq!(deleted(4, "cccc"), [] as [u64; 0]);
        assert_eq!(deleted(0, "cccc"), [] as [u64; 0]);
        assert_eq!(deleted(1, "c"), [] as [u64; 0]);
    }

    #[test]
    fn incomplete_ones_wait_for_a_newer_complete_one() {
        assert_eq!(deleted(2, "iiiiii"), [] as [u64; 0]);
        assert_eq!(deleted(2, "ciiiii"), [] as [u64; 0]);
        // The schedule is not full yet: two of the kind are kept.
        assert_eq!(deleted(2, "iiiic"), [1, 2]);
        // It is full: what is older than all that is kept goes.
        assert_eq!(deleted(2, "icic"), [1]);
        assert_eq!(deleted(1, "icicii"), [1, 2, 3]);
    }

    #[test]
    fn a_snapshot_from_the_future_is_neither_deleted_nor_counted() {
        let entries =
            [entry("daily", 1, 1, true), entry("daily", 9_000_000, 2, true), entry("daily", 3, 3, true)];
        let now = Timestamp::from_second(1000).expect("in range");
        let found = surplus(&schedule(1), &entries, now);
        assert_eq!(found.iter().map(|(entry, _)| entry.id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_order_is_that_of_creation_whatever_the_clock_said() {
        // The second was made while the clock was years behind.
        let entries =
            [entry("daily", 500, 1, true), entry("daily", 2, 2, true), entry("daily", 600, 3, true)];
        let found = surplus(&schedule(2), &entries, Timestamp::MAX);
        assert_eq!(found.iter().map(|(entry, _)| entry.id).collect::<Vec<_>>(), [1]);
    }

    proptest! {
        #[test]
        fn the_last_complete_one_and_strangers_stay_and_the_count_converges(
            count in 0_u64..8,
            made in prop::collection::vec((any::<bool>(), 0_i64..10_000, prop::sample::select(vec!["daily", "hourly", "daily_x"])), 0..60),
            now in 0_i64..12_000,
        ) {
            let entries: Vec<_> = (1..).zip(&made).map(|(id, (whole, time, tag))| entry(tag, *time, id, *whole)).collect();
            let now = Timestamp::from_second(now).expect("in range");
            let gone: Vec<u64> = surplus(&schedule(count), &entries, now).iter().map(|(entry, _)| entry.id).collect();
            prop_assert!(gone.is_sorted(), "oldest first");
            let rest: Vec<Entry> = entries.iter().filter(|entry| !gone.contains(&entry.id)).cloned().collect();
            let ours = |entry: &&Entry| entry.name.tag == "daily" && !is_future(entry, now);
            let complete = |entries: &[Entry]| entries.iter().filter(ours).filter(|entry| entry.name.complete).map(|entry| entry.id).collect::<Vec<_>>();
            // Nothing else is touched.
            for entry in &entries {
                prop_assert!(ours(&entry) || !gone.contains(&entry.id));
            }
            let (before, after) = (complete(&entries), complete(&rest));
            prop_assert_eq!(before.last(), after.last());
            if count == 0 {
                prop_assert!(gone.is_empty());
            } else {
                let wanted = usize::try_from(count).expect("small");
                prop_assert_eq!(after.len(), before.len().min(wanted));
                prop_assert!(before.ends_with(&after), "the newest stay");
                let last = before.last().copied().unwrap_or(0);
                let incomplete = |entries: &[Entry]| entries.iter().filter(ours).filter(|entry| !entry.name.complete).map(|entry| entry.id).collect::<Vec<_>>();
                let left = incomplete(&rest);
                prop_assert!(left.iter().filter(|id| **id < last).count() <= wanted);
                // Without a newer complete one none goes.
                prop_assert_eq!(incomplete(&entries).iter().filter(|id| **id > last).count(), left.iter().filter(|id| **id > last).count());
            }
            // Cut off after any deletion, the next run goes on and ends at the same place.
            for cut in 0..gone.len() {
                let half: Vec<Entry> = entries.iter().filter(|entry| !gone[..cut].contains(&entry.id)).cloned().collect();
                let again: Vec<u64> = surplus(&schedule(count), &half, now).iter().map(|(entry, _)| entry.id).collect();
                prop_assert_eq!(&again, &gone[cut..]);
            }
        }
    }
}
