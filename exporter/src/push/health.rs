//! How the push is doing, as numbers for the metrics.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answer::Class;

/// What is shown; counters begin with the exporter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushHealth {
    /// Points that the server took.
    pub points: u64,
    /// Requests that did not succeed, and lines that were refused, by class.
    pub failures: BTreeMap<Class, u64>,
    /// Points that will never arrive: refused, too old, or lost to the cap or to damage.
    pub dropped: u64,
    /// When the server last took something.
    pub last_success: Option<Timestamp>,
    /// Bytes that wait.
    pub outbox_bytes: u64,
    /// Time of the oldest point that waits.
    pub oldest: Option<Timestamp>,
}

impl PushHealth {
    /// Counts failures.
    pub fn fail(&mut self, class: Class, count: u64) {
        *self.failures.entry(class).or_default() += count;
    }
}
