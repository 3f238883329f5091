//! One path: what is under way, how it last ended, and its totals.

use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::{PathFinished, TransferStats};
use backup_common::status::Status;
use jiff::Timestamp;

use super::{History, Phase, Stored};
use crate::event::SessionId;

/// A directory that is backed up.
#[derive(Clone, Debug, Default)]
pub struct Path {
    /// The configuration lists it.
    pub(super) listed: bool,
    running: Option<Running>,
    /// How it last ended.
    pub last: Option<Outcome>,
    /// When it was last begun.
    pub last_attempt: Option<Timestamp>,
    /// When it last ended in `success`.
    pub last_success: Option<Timestamp>,
    /// Tries, those that died among them.
    pub attempts: u64,
    /// Ends in `failed`, those that died among them.
    pub failures: u64,
    /// The last outcomes, and what is unusual about the newest.
    pub history: History,
    /// Time of the last line of the older system about it.
    pub(super) last_older: Option<Timestamp>,
    /// What its backup takes.
    pub stored: Stored,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    /// Share that is done, 0 to 1, once rsync has said it.
    progress_ratio: Option<f64>,
}

/// How a path ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How.
    pub status: Status,
    /// Why so.
    pub reason: Reason,
    /// rsync's exit code, if it ran and exited.
    pub exit_code: Option<i32>,
    /// How long it took; unknown when it died.
    pub duration_seconds: Option<f64>,
    /// rsync's figures, if it came so far.
    pub stats: Option<TransferStats>,
    /// Errors and warnings by kind; unknown when it died.
    pub errors: Option<ErrorCounts>,
    /// The figures are of the older system, which counted bytes and no files.
    pub without_counts: bool,
    /// The run in which it died, as long as the journal may still tell why.
    died_in: Option<SessionId>,
}

impl Path {
    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match (&self.running, &self.last) {
            (Some(_), _) => Phase::Running,
            (None, Some(outcome)) => Phase::Ended(outcome.status),
            (None, None) => Phase::Never,
        }
    }

    /// Whether it started and did not end.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Share that is done, 0 to 1, while it is under way.
    pub fn progress_ratio(&self) -> Option<f64> {
        self.running?.progress_ratio
    }

    pub(super) fn start(&mut self, time: Timestamp) {
        self.running = Some(Running::default());
        self.last_attempt = Some(time);
    }

    pub(super) fn progress(&mut self, percent: f64) {
        if let Some(running) = &mut self.running {
            running.progress_ratio = Some((percent / 100.0).clamp(0.0, 1.0));
        }
    }

    pub(super) fn finish(&mut self, time: Timestamp, finished: &PathFinished, older: bool) {
        let was_running = self.running.take().is_some();
        // A disabled host's path ends without a try.
        if finished.attempts > 0 && !was_running {
            self.last_attempt = Some(finished.started);
        }
        self.history.finish_path(time, finished);
        self.attempts = self.attempts.saturating_add(finished.attempts);
        match finished.status {
            Status::Success => self.last_success = Some(time),
            Status::Failed => self.failures += 1,
            Status::Skipped | Status::Warning => {}
        }
        self.last = Some(Outcome {
            status: finished.status,
            reason: finished.reason,
            exit_code: finished.exit_code,
            duration_seconds: (!older).then_some(finished.duration_seconds),
            stats: finished.stats,
            errors: Some(finished.errors.clone()),
            without_counts: older,
            died_in: None,
        });
        if older {
            self.last_older = self.last_older.max(Some(time));
        }
    }

    /// It will never come to its end, if it is under way; says whether it was.
    pub(super) fn abandon(&mut self, reason: Reason, run_id: Option<&SessionId>) -> bool {
        if self.running.take().is_none() {
            return false;
        }
        self.history.die(self.last_attempt);
        self.attempts += 1;
        self.failures += 1;
        self.last = Some(Outcome {
            status: Status::Failed,
            reason,
            exit_code: None,
            duration_seconds: None,
            stats: None,
            errors: None,
            without_counts: false,
            died_in: run_id.cloned(),
        });
        true
    }

    pub(super) fn died_in(&self, run_id: &str) -> bool {
        self.last.as_ref().and_then(|outcome| outcome.died_in.as_deref()) == Some(run_id)
    }

    pub(super) fn refine(&mut self, reason: Reason) {
        if let Some(outcome) = &mut self.last {
            outcome.reason = reason;
        }
    }
}
