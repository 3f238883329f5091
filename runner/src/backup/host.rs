//! One host: its paths one after the other, and no second wait for a host that does not answer.

use std::time::Instant;

use backup_common::config::Host;
use backup_common::reason::Reason;
use backup_common::record::{Body, HostFinished};
use backup_common::status::Status;

use super::path::{self, Attempt};
use super::{Outcome, Session, count, seconds, worst};
use crate::plan::{HostPlan, PathPlan};

/// How a host and its paths ended.
#[derive(Debug)]
pub struct HostOutcome {
    pub outcome: Outcome,
    pub paths: Vec<Outcome>,
}

/// Backs up the paths of a host and tells how it went.
pub fn back_up(planned: &HostPlan<'_>, session: Session<'_>) -> HostOutcome {
    let begun = Instant::now();
    let host = planned.host;
    // A reason that holds for the whole host, so that its other paths need not be tried.
    let mut known =
        (!host.enabled).then_some((Reason::Disabled, "the host is switched off (enabled: false)".to_owned()));
    let mut paths = Vec::with_capacity(planned.paths.len());
    for path in &planned.paths {
        if session.stop.signal().is_some() {
            known = Some((Reason::Interrupted, "the run was stopped before this path began".to_owned()));
        }
        let reason = match &known {
            Some((reason, message)) => {
                leave_out(host, path, *reason, message, session);
                *reason
            }
            None => path::back_up(host, path, session, |reason| status(host, reason)),
        };
        if known.is_none() && concerns_whole_host(reason) {
            let message =
                format!("not tried, because another path of this host has shown: {}", reason.cause());
            known = Some((reason, message));
        }
        paths.push(Outcome { status: status(host, reason), reason });
    }
    let outcome = worst(&paths, false);
    session.tell(Body::HostFinished(HostFinished {
        host: host.name.to_string(),
        status: outcome.status,
        reason: outcome.reason,
        duration_seconds: seconds(begun.elapsed()),
        paths: count(&paths),
    }));
    HostOutcome { outcome, paths }
}

/// The status of a reason for this host: one that may be away is skipped, not failed.
pub fn status(host: &Host, reason: Reason) -> Status {
    let away = matches!(reason, Reason::Unreachable | Reason::NameNotFound | Reason::ConnectionRefused);
    if host.optional && away { Status::Skipped } else { reason.status() }
}

/// Reasons that another path of the same host would meet as well, after the same wait.
pub fn concerns_whole_host(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Unreachable
            | Reason::NameNotFound
            | Reason::ConnectionRefused
            | Reason::AuthFailed
            | Reason::HostKeyChanged
            | Reason::HostKeyUnknown
            | Reason::RsyncMissing
            | Reason::Interrupted
    )
}

/// Records a path that was not tried.
fn leave_out(host: &Host, path: &PathPlan<'_>, reason: Reason, message: &str, session: Session<'_>) {
    let attempt = Attempt::not_made(host, path.job, session);
    session.tell(attempt.left_out(status(host, reason), reason, message));
}
