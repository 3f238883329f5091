//! The snapshots of each configured schedule.

use std::collections::BTreeMap;

use backup_common::record::{self, SnapshotAction};

use crate::event::{SnapshotCount, SnapshotCounts};

/// Schedules whose failures are remembered though none of them is configured.
const UNLISTED: usize = 100;

/// All schedules.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    limits: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    /// What is in the directory; absent while it could not be read.
    seen: Option<SnapshotCounts>,
}

/// One schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSchedule {
    /// Complete ones that are kept; 0 keeps all.
    pub limit: u64,
    /// Times that one could not be taken or deleted.
    pub failures: u64,
    /// What is there; absent while the directory could not be read.
    pub count: Option<SnapshotCount>,
}

impl Snapshots {
    /// The configured schedules, by type.
    pub fn schedules(&self) -> impl Iterator<Item = (&str, SnapshotSchedule)> {
        self.limits.iter().map(|(tag, &limit)| {
            let failures = self.failures.get(tag).copied().unwrap_or(0);
            let count = self.seen.as_ref().map(|seen| seen.get(tag).copied().unwrap_or_default());
            (tag.as_str(), SnapshotSchedule { limit, failures, count })
        })
    }

    pub(super) fn configure(&mut self, limits: BTreeMap<String, u64>) {
        self.limits = limits;
    }

    pub(super) fn see(&mut self, seen: Option<SnapshotCounts>) {
        self.seen = seen;
    }

    pub(super) fn record(&mut self, record: &record::Snapshot) {
        let tag = &record.schedule;
        let known = self.failures.contains_key(tag) || self.limits.contains_key(tag);
        if record.action == SnapshotAction::Failed
            && (known || self.failures.len() < UNLISTED)
            && tag.len() <= 255
        {
            *self.failures.entry(tag.clone()).or_default() += 1;
        }
    }
}
