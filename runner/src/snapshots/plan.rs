//! What a run does about snapshots, and why: a pure function, for a run and for a dry run alike.

use std::fmt;

use backup_common::config::Schedule;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::due::{Due, due};
use super::inventory::{Entry, Inventory, is_future};
use super::name::SnapshotName;
use super::retention::surplus;

/// What decides besides the snapshots that are there.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The present.
    pub now: Timestamp,
    /// The zone of the names' local time.
    pub zone: &'a TimeZone,
    /// No path is missing.
    pub complete: bool,
    /// Why nothing may be deleted, if something speaks against it.
    pub hold: Option<&'a str>,
}

/// What is done about one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Type of the schedule.
    pub schedule: String,
    /// What is done.
    pub action: Action,
    /// Name of the snapshot that it is about.
    pub name: String,
    /// Whether that one is complete.
    pub complete: bool,
    /// Why, in words.
    pub why: String,
}

/// The things that can be done about a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take it.
    Create,
    /// Take none, because of this one.
    NotDue,
    /// Delete it.
    Delete,
    /// Leave it, though its time has come.
    Keep,
}

/// Everything that a run does about snapshots: first what is taken, then what is deleted, each in the order
/// of the schedules.
pub fn plan(schedules: &[Schedule], inventory: &Inventory, circumstances: Circumstances<'_>) -> Vec<Step> {
    let mut steps = creations(schedules, inventory, circumstances);
    let mut after = inventory.clone();
    let created = steps.iter().filter(|step| step.action == Action::Create);
    after.entries.extend(created.zip(1..).filter_map(|(step, number)| {
        let name = SnapshotName::parse(&step.name)?;
        Some(Entry { name, time: circumstances.now, id: u64::MAX - number, transaction: u64::MAX })
    }));
    steps.extend(deletions(schedules, &after, circumstances));
    steps
}

/// What is taken, and what is not due yet.
pub fn creations(
    schedules: &[Schedule],
    inventory: &Inventory,
    circumstances: Circumstances<'_>,
) -> Vec<Step> {
    let Circumstances { now, zone, complete, .. } = circumstances;
    let decide = |schedule: &Schedule| {
        let schedule_name = schedule.tag.clone();
        match due(schedule, &inventory.entries, now, complete) {
            Due::Yes(why) => {
                let taken = |name: &str| inventory.names.contains(name);
                let name = SnapshotName::new(&schedule.tag, zone.to_datetime(now), complete, taken);
                Step {
                    schedule: schedule_name,
                    action: Action::Create,
                    name: name.to_string(),
                    complete,
                    why,
                }
            }
            Due::No(last, why) => Step {
                schedule: schedule_name,
                action: Action::NotDue,
                name: last.name.to_string(),
                complete: last.name.complete,
                why,
            },
        }
    };
    schedules.iter().map(decide).collect()
}

/// What is deleted, oldest first, and what is kept though it is not wanted any more.
pub fn deletions(
    schedules: &[Schedule],
    inventory: &Inventory,
    circumstances: Circumstances<'_>,
) -> Vec<Step> {
    let step = |entry: &Entry, action, why| Step {
        schedule: entry.name.tag.clone(),
        action,
        name: entry.name.to_string(),
        complete: entry.name.complete,
        why,
    };
    let mut steps = Vec::new();
    for schedule in schedules {
        let future = |entry: &&Entry| entry.name.tag == schedule.tag && is_future(entry, circumstances.now);
        steps.extend(inventory.entries.iter().filter(future).map(|entry| {
            let why = "it is dated in the future, so it is neither counted nor deleted; \
                       check the clock, and delete it by hand if it is not wanted";
            step(entry, Action::Keep, why.to_owned())
        }));
        for (entry, why) in surplus(schedule, &inventory.entries, circumstances.now) {
            steps.push(match circumstances.hold {
                None => step(entry, Action::Delete, why),
                Some(hold) => step(entry, Action::Keep, format!("{hold}; otherwise it would go: {why}")),
            });
        }
    }
    steps
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, name, why, .. } = self;
        match self.action {
            Action::Create => write!(out, "create {name}: {why}"),
            Action::NotDue => write!(out, "take no {schedule} snapshot: {why}"),
            Action::Delete => write!(out, "delete {name}: {why}"),
            Action::Keep => write!(out, "keep {name}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::inventory::tests::entry;
    use super::*;

    const DAY: i64 = 86_400;

    fn inventory(entries: Vec<Entry>) -> Inventory {
        let names = entries.iter().map(|entry| entry.name.to_string()).collect();
        Inventory { entries, names, strangers: Vec::new() }
    }

    fn words(inventory: &Inventory, now: i64, complete: bool, hold: Option<&str>) -> Vec<String> {
        let schedules = [
            Schedule { tag: "hourly".to_owned(), count: 1, interval: Duration::from_secs(3600) },
            Schedule { tag: "daily".to_owned(), count: 1, interval: Duration::from_secs(86_400) },
        ];
        let now = Timestamp::from_second(now).expect("in range");
        let zone = TimeZone::UTC;
        let circumstances = Circumstances { now, zone: &zone, complete, hold };
        plan(&schedules, inventory, circumstances).iter().map(Step::to_string).collect()
    }

    #[test]
    fn a_plan_in_words() {
        let there = inventory(vec![entry("daily", 0, 1, true), entry("hourly", 0, 2, true)]);
        assert_eq!(
            words(&there, DAY / 2, true, None),
            [
                "create hourly_1970-01-01_120000: the last complete snapshot, hourly_1970-01-01_000000, is 12 h old, and the interval is 1 h",
                "take no daily snapshot: the last complete snapshot, daily_1970-01-01_000000, is 12 h old, and the interval is 1 d",
                "delete hourly_1970-01-01_000000: a newer complete one is kept",
            ]
        );
        assert_eq!(
            words(&there, DAY, true, Some("a path failed"))[2..],
            [
                "keep hourly_1970-01-01_000000: a path failed; otherwise it would go: a newer complete one is kept",
                "keep daily_1970-01-01_000000: a path failed; otherwise it would go: a newer complete one is kept",
            ]
        );
    }

    #[test]
    fn an_incomplete_snapshot_pushes_nothing_out() {
        let there = inventory(vec![entry("daily", 0, 1, true), entry("hourly", 0, 2, true)]);
        let words = words(&there, DAY, false, None);
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(words[1].starts_with("create daily_1970-01-02_000000_incomplete: "), "{words:?}");
    }

    #[test]
    fn a_taken_name_is_passed_over_whatever_has_it() {
        let mut there = inventory(Vec::new());
        there.names.insert("hourly_1970-01-01_000000".to_owned());
        assert!(words(&there, 0, true, None)[0].starts_with("create hourly_1970-01-01_000000_2: "));
    }

    #[test]
    fn a_snapshot_from_the_future_is_reported() {
        let there = inventory(vec![entry("daily", 400 * DAY, 1, true)]);
        let words = words(&there, DAY, true, None);
        assert!(words[2].starts_with("keep daily_1971-02-05_000000: it is dated in the future"), "{words:?}");
    }
}
