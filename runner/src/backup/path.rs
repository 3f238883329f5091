//! One path: the scripts before it, a look at the source, rsync in the destination, the scripts after it.

use std::os::fd::AsFd;
use std::time::Instant;

use backup_common::config::{Host, PathJob};
use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, PathStarted};
use backup_common::status::Status;
use jiff::Timestamp;

use super::transfer::{Transfer, transfer};
use super::{Outcome, Session, seconds};
use crate::hooks::{Bracket, Scene};
use crate::plan::PathPlan;

/// What is known about a path before it ends.
pub struct Attempt {
    host: String,
    path: String,
    dest: String,
    attempts: u64,
    started: Timestamp,
    begun: Instant,
}

/// Backs up a path and returns the record of its end; `status` is what a reason means for this host.
///
/// `tried` is how often it was tried before in this run.
pub fn back_up(
    host: &Host,
    planned: &PathPlan<'_>,
    session: Session<'_>,
    tried: u64,
    status: impl Fn(Reason) -> Status,
) -> Box<PathFinished> {
    let attempt = Attempt::planned(host, planned.job, session, tried + 1);
    session.tell(Body::PathStarted(PathStarted {
        host: attempt.host.clone(),
        path: attempt.path.clone(),
        dest: attempt.dest.clone(),
    }));
    let scene = Scene::of_path(host, planned.job, &attempt.dest);
    let (bracket, opened) =
        Bracket::open(session.hooks, scene, session.stop.as_fd(), &mut |text| session.warn(text));
    let mut transfer = match opened {
        Ok(()) => transfer(host, planned, session),
        Err(trouble) => Transfer::prevented(&trouble),
    };
    let reached = Outcome { status: status(transfer.reason), reason: transfer.reason };
    let mut end = reached;
    for trouble in bracket.close(reached.status, reached.reason, &mut |text| session.warn(text)) {
        transfer.messages.lead(&trouble.messages);
        end = end.and_trouble(trouble.reason);
    }
    Box::new(attempt.finished(end, transfer))
}

impl Attempt {
    /// A path that is only planned so far, and how many tries it will have had.
    pub fn planned(host: &Host, job: &PathJob, session: Session<'_>, attempts: u64) -> Self {
        Self {
            host: host.name.to_string(),
            path: job.path.to_string(),
            dest: session.base.path().join(&job.destination).display().to_string(),
            attempts,
            started: Timestamp::now(),
            begun: Instant::now(),
        }
    }

    /// The record of a path that was not begun.
    pub fn left_out(self, status: Status, reason: Reason, messages: Vec<String>) -> Box<PathFinished> {
        Box::new(self.end(status, reason, messages))
    }

    fn finished(self, end: Outcome, transfer: Transfer) -> PathFinished {
        let Transfer { ending, stats, messages, .. } = transfer;
        PathFinished {
            exit_code: ending.and_then(|ending| ending.code),
            signal: ending.and_then(|ending| ending.signal),
            stats,
            error_count: messages.error_count,
            warning_count: messages.warning_count,
            errors: messages.kinds,
            ..self.end(end.status, end.reason, messages.kept)
        }
    }

    fn end(self, status: Status, reason: Reason, messages: Vec<String>) -> PathFinished {
        PathFinished {
            host: self.host,
            path: self.path,
            dest: self.dest,
            status,
            reason,
            exit_code: None,
            signal: None,
            attempts: self.attempts,
            started: self.started,
            duration_seconds: seconds(self.begun.elapsed()),
            stats: None,
            error_count: 0,
            warning_count: 0,
            errors: ErrorCounts::new(),
            messages,
        }
    }
}
