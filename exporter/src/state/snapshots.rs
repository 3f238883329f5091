//! The snapshots of each configured schedule.

use std::collections::BTreeMap;

use backup_common::record::{self, SnapshotAction};

use super::Messages;
use crate::event::{SnapshotCount, SnapshotCounts, SnapshotRule};

/// Schedules whose failures are remembered though none of them is configured.
const UNLISTED: usize = 100;

/// All schedules.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    rules: BTreeMap<String, SnapshotRule>,
    failures: BTreeMap<String, u64>,
    /// What went wrong since the last one was taken.
    trouble: BTreeMap<String, Messages>,
    /// What is in the directory; absent while it could not be read.
    seen: Option<SnapshotCounts>,
}

/// One schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSchedule {
    /// What is configured.
    pub rule: SnapshotRule,
    /// Times that one could not be taken or deleted.
    pub failures: u64,
    /// What went wrong since the last one was taken; none if nothing did.
    pub trouble: Option<Messages>,
    /// What is there; absent while the directory could not be read.
    pub count: Option<SnapshotCount>,
}

impl Snapshots {
    /// The configured schedules, by type.
    pub fn schedules(&self) -> impl Iterator<Item = (&str, SnapshotSchedule)> {
        self.rules.iter().map(|(tag, &rule)| {
            let failures = self.failures.get(tag).copied().unwrap_or(0);
            let count = self.seen.as_ref().map(|seen| seen.get(tag).copied().unwrap_or_default());
            (
                tag.as_str(),
                SnapshotSchedule { rule, failures, trouble: self.trouble.get(tag).cloned(), count },
            )
        })
    }

    pub(super) fn configure(&mut self, rules: BTreeMap<String, SnapshotRule>) {
        self.rules = rules;
    }

    pub(super) fn see(&mut self, seen: Option<SnapshotCounts>) {
        self.seen = seen;
    }

    pub(super) fn record(&mut self, record: &record::Snapshot) {
        let tag = &record.schedule;
        let known = self.failures.contains_key(tag) || self.rules.contains_key(tag);
        if record.action == SnapshotAction::Failed
            && (known || self.failures.len() < UNLISTED)
            && tag.len() <= 255
        {
            *self.failures.entry(tag.clone()).or_default() += 1;
            let message = record.message.clone().into_iter().collect::<Vec<_>>();
            self.trouble.insert(tag.clone(), Messages::first_of(&message));
        }
        if record.action == SnapshotAction::Created {
            self.trouble.remove(tag);
        }
    }
}
