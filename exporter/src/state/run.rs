//! The runs as a whole: the last one, and counts over all that the log tells of.

use backup_common::reason::Reason;
use backup_common::record::RunFinished;
use backup_common::status::Status;
use jiff::Timestamp;

use super::{History, Phase};

/// The last run and the totals.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Where the last run stands.
    pub phase: Phase,
    /// When the last one started.
    pub last_start: Option<Timestamp>,
    /// When one last came to its end, good or bad; one that died has no known end.
    pub last_end: Option<Timestamp>,
    /// When one last ended in `success`.
    pub last_success: Option<Timestamp>,
    /// How long the last ended one took; absent after one that died.
    pub duration_seconds: Option<f64>,
    /// Runs that started.
    pub started: u64,
    /// Runs that ended in `failed`, or died.
    pub failed: u64,
    /// Runs that ended before they began.
    pub refused: u64,
    /// The last outcomes, and what is unusual about the newest.
    pub history: History,
}

impl Run {
    pub(super) fn start(&mut self, time: Timestamp) {
        self.phase = Phase::Running;
        self.last_start = Some(time);
        self.started += 1;
    }

    pub(super) fn finish(&mut self, time: Timestamp, finished: &RunFinished) {
        // Nothing was saved by a run that skipped everything, and that must not look like a success.
        let status = if finished.status == Status::Skipped { Status::Warning } else { finished.status };
        self.phase = Phase::Ended(status);
        self.last_end = Some(time);
        self.history.finish_run(time, status, finished.duration_seconds);
        self.duration_seconds = Some(finished.duration_seconds);
        match status {
            Status::Success => self.last_success = Some(time),
            Status::Failed => self.failed += 1,
            Status::Warning | Status::Skipped => {}
        }
    }

    pub(super) fn refuse(&mut self, reason: Reason) {
        self.refused += 1;
        // A run that finds the lock taken says nothing about the last one, and the configuration is
        // checked before the lock: another run may well be under way.
        if reason != Reason::Locked && self.phase != Phase::Running {
            self.phase = Phase::Ended(Status::Failed);
        }
    }

    /// The run that is under way will never come to its end.
    pub(super) fn abandon(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Ended(Status::Failed);
            self.history.die(self.last_start);
            self.duration_seconds = None;
            self.failed += 1;
        }
    }
}
