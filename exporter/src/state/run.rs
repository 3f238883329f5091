//! The runs as a whole: the last one, and counts over all that log and journal tell of.

use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::{RunFinished, TransferStats};
use backup_common::status::Status;
use jiff::Timestamp;

use super::{History, Phase};
use crate::event::{SessionEnd, SessionId, Verdict};

/// The last run and the totals.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Where the last run stands.
    pub phase: Phase,
    /// Why the last one that ended did so as it did.
    pub reason: Option<Reason>,
    /// When the last one started.
    pub last_start: Option<Timestamp>,
    /// When one last came to its end, good or bad; the end of one that died may be unknown.
    pub last_end: Option<Timestamp>,
    /// When one last ended in `success`.
    pub last_success: Option<Timestamp>,
    /// How long the last ended one took; absent where it is unknown.
    pub duration_seconds: Option<f64>,
    /// rsync's figures in the journal's text, of a run without records.
    pub stats: Option<TransferStats>,
    /// Errors in the journal's text by kind, of a run without records.
    pub errors: Option<ErrorCounts>,
    /// Runs that started.
    pub started: u64,
    /// Runs that ended in `failed`, or died.
    pub failed: u64,
    /// Runs that ended before they began.
    pub refused: u64,
    /// The last outcomes, and what is unusual about the newest.
    pub history: History,
    /// Why the last of them did.
    pub refused_reason: Option<Reason>,
    /// When the last of them did.
    pub last_refused: Option<Timestamp>,
    /// The run of the last record.
    id: Option<SessionId>,
    /// Where it stands, whatever the journal tells of a session without records.
    settled: Phase,
    /// When the last run with records started.
    recorded_start: Option<Timestamp>,
    /// Records were seen: the runner speaks for itself.
    recorded: bool,
    /// The run in which it died, as long as the journal may still tell why.
    died_in: Option<SessionId>,
}

impl Run {
    /// The run that the last record is about.
    pub(super) fn id(&self) -> Option<&SessionId> {
        self.id.as_ref()
    }

    /// Whether the run of this id started and did not end.
    pub(super) fn is_running(&self, run_id: &str) -> bool {
        self.settled == Phase::Running && self.id.as_deref() == Some(run_id)
    }

    /// Whether one that started before this time has no end.
    pub(super) fn started_before(&self, time: Timestamp) -> bool {
        self.settled == Phase::Running && self.recorded_start.is_some_and(|start| start < time)
    }

    pub(super) fn start(&mut self, time: Timestamp, run_id: &str) {
        self.recorded = true;
        self.id = Some(run_id.into());
        self.settle(Phase::Running);
        self.last_start = Some(time);
        self.recorded_start = Some(time);
        self.started += 1;
    }

    pub(super) fn finish(&mut self, time: Timestamp, finished: &RunFinished) {
        self.recorded = true;
        self.died_in = None;
        // Nothing was saved by a run that skipped everything, and that must not look like a success.
        let status = if finished.status == Status::Skipped { Status::Warning } else { finished.status };
        self.end(status, finished.reason, Some(time), Some(finished.duration_seconds));
        self.history.finish_run(time, status, finished.duration_seconds);
        if status == Status::Failed {
            self.failed += 1;
        }
    }

    pub(super) fn refuse(&mut self, time: Timestamp, reason: Reason) {
        self.recorded = true;
        self.refused += 1;
        self.refused_reason = Some(reason);
        self.last_refused = Some(time);
        // A run that finds the lock taken says nothing about the last one, and the configuration is
        // checked before the lock: another run may well be under way.
        if reason != Reason::Locked && self.settled != Phase::Running {
            self.settle(Phase::Ended(Status::Failed));
            self.reason = Some(reason);
            self.died_in = None;
        } else {
            self.settle(self.settled);
        }
    }

    /// The run that is under way will never come to its end; the journal may tell why.
    pub(super) fn abandon(&mut self, end: Option<&SessionEnd>) {
        if self.settled != Phase::Running {
            return;
        }
        let (status, reason) = match end.map(|end| end.verdict) {
            // A good end whose record is missing: the log could not be written.
            Some(Verdict::Ended(Status::Success | Status::Warning, _)) => (Status::Warning, Reason::Other),
            _ => (Status::Failed, end.map_or(Reason::Died, death)),
        };
        self.died_in.clone_from(&self.id);
        self.history.die(self.last_start);
        self.end(status, reason, None, end.and_then(|end| end.duration_seconds));
        self.last_end = end.and_then(|end| end.ended).or(self.last_end);
        if status == Status::Failed {
            self.failed += 1;
        }
    }

    /// The journal tells how a run ended that was already known to have died.
    pub(super) fn refine(&mut self, end: &SessionEnd) {
        if self.died_in.as_deref() == Some(&*end.id) && self.reason == Some(Reason::Died) {
            self.reason = Some(death(end));
            self.duration_seconds = end.duration_seconds;
            self.last_end = end.ended.or(self.last_end);
        }
    }

    /// A session ended about which no record speaks.
    pub(super) fn end_unrecorded(&mut self, end: &SessionEnd, first: bool) {
        // Sessions come in their order; against records only the clock can tell.
        let newest = self.recorded_start.is_none_or(|start| end.started >= start);
        match end.verdict {
            Verdict::Nothing => {}
            Verdict::Refused(reason) => {
                self.refused += u64::from(first);
                if newest {
                    self.refused_reason = Some(reason);
                    self.last_refused = end.ended;
                }
            }
            Verdict::Ended(status, reason) => {
                self.started += u64::from(first);
                self.failed += u64::from(first && status == Status::Failed);
                if newest && self.settled != Phase::Running {
                    self.last_start = Some(end.started);
                    self.end(status, reason, end.ended, end.duration_seconds);
                    self.stats = end.stats;
                    self.errors = end.stats.map(|_| end.errors.clone());
                    if !end.errors.is_empty() {
                        self.errors = Some(end.errors.clone());
                    }
                }
            }
        }
    }

    /// A session without an end is a run under way, where no runner writes records of its own.
    pub(super) fn watch(&mut self, running_since: Option<Timestamp>) {
        self.phase = match running_since {
            Some(start) if !self.recorded => {
                self.last_start = Some(start);
                Phase::Running
            }
            _ => self.settled,
        };
    }

    fn end(&mut self, status: Status, reason: Reason, time: Option<Timestamp>, duration: Option<f64>) {
        self.settle(Phase::Ended(status));
        self.reason = Some(reason);
        self.last_end = time.or(self.last_end);
        self.duration_seconds = duration;
        (self.stats, self.errors) = (None, None);
        if status == Status::Success {
            self.last_success = time.or(self.last_success);
        }
    }

    fn settle(&mut self, phase: Phase) {
        self.settled = phase;
        self.phase = phase;
    }
}

/// Why a run has no end of its own, by the end of its session.
pub(super) fn death(end: &SessionEnd) -> Reason {
    match end.verdict {
        // An exit code tells nothing of the cause.
        Verdict::Ended(_, Reason::Ok | Reason::Other) | Verdict::Refused(_) | Verdict::Nothing => {
            Reason::Died
        }
        Verdict::Ended(_, reason) => reason,
    }
}
