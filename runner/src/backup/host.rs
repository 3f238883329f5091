//! One host: its scripts, its paths one after the other, and no second wait for a host that does not answer.

use std::os::fd::AsFd;
use std::time::Instant;

use backup_common::config::Host;
use backup_common::reason::Reason;
use backup_common::record::{Body, HostFinished, PathFinished};
use backup_common::status::Status;

use super::path::{self, Attempt};
use super::{Happening, Outcome, Session, count, seconds, worst};
use crate::connect;
use crate::hooks::{Bracket, Scene, Trouble};
use crate::plan::{HostPlan, PathPlan};

/// A host on its way through the run: one pass over its paths, and more over those that are tried again.
#[derive(Debug)]
pub struct HostRun<'a> {
    planned: &'a HostPlan<'a>,
    begun: Option<Instant>,
    passes: u32,
    /// One for each path, from the first pass on.
    ends: Vec<End>,
    /// What its own scripts afterwards have added.
    trouble: Option<Reason>,
}

/// How far a path is.
#[derive(Debug)]
enum End {
    /// Not begun.
    Open,
    /// It failed for a reason that can pass, and its record is not told yet.
    Postponed(Box<PathFinished>),
    /// Its record is told.
    Told(Outcome),
}

/// How a host and its paths ended.
#[derive(Debug)]
pub struct HostOutcome {
    pub outcome: Outcome,
    pub paths: Vec<Outcome>,
}

/// A reason that holds for the whole host, so that its other paths need not be tried, and what to say about it.
type Known = Option<(Reason, Vec<String>)>;

impl<'a> HostRun<'a> {
    /// A host that is not begun.
    pub fn new(planned: &'a HostPlan<'a>) -> Self {
        Self { planned, begun: None, passes: 0, ends: Vec::new(), trouble: None }
    }

    /// Whether paths wait for another try.
    pub fn waits(&self) -> bool {
        self.ends.iter().any(|end| matches!(end, End::Postponed(_)))
    }

    /// Backs up the paths that have not ended, between the scripts of the host.
    pub fn pass(&mut self, session: Session<'_>) {
        let host = self.planned.host;
        self.begun.get_or_insert_with(Instant::now);
        self.ends.resize_with(self.planned.host.paths.len(), || End::Open);
        self.passes += 1;
        let mut known: Known = (!host.enabled)
            .then_some((Reason::Disabled, vec!["the host is switched off (enabled: false)".to_owned()]));
        if session.stop.signal().is_some() {
            known = Some(interrupted());
        }
        if known.is_none() && (self.passes > 1 || self.planned.needs_check()) {
            let obstacle = connect::obstacle(host, session.programs, session.stop.as_fd());
            known = obstacle.map(|obstacle| (obstacle.reason, obstacle.messages));
        }
        if known.is_some() {
            self.paths(known, session);
            return;
        }
        let destination = session.base.path().join(host.name.as_str()).display().to_string();
        let scene = Scene::of_host(host, &destination);
        let (bracket, opened) =
            Bracket::open(session.hooks, scene, session.stop.as_fd(), &mut |text| session.warn(text));
        self.paths(opened.err().map(|trouble: Trouble| (trouble.reason, trouble.messages)), session);
        let reached = worst(&self.outcomes(), session.stop.signal().is_some());
        for trouble in bracket.close(reached.status, reached.reason, &mut |text| session.warn(text)) {
            session.warn(&format!("{}: {}", host.name, trouble.messages.join("; ")));
            self.trouble = Some(trouble.reason);
        }
    }

    /// Tells what is not told yet, and the end of the host.
    pub fn finish(mut self, session: Session<'_>) -> HostOutcome {
        for end in &mut self.ends {
            if let End::Postponed(finished) = end {
                let outcome = Outcome { status: finished.status, reason: finished.reason };
                session.tell(Body::PathFinished(finished.clone()));
                *end = End::Told(outcome);
            }
        }
        let paths = self.outcomes();
        let mut outcome = worst(&paths, false);
        if let Some(reason) = self.trouble {
            outcome = outcome.and_trouble(reason);
        }
        session.tell(Body::HostFinished(HostFinished {
            host: self.planned.host.name.to_string(),
            status: outcome.status,
            reason: outcome.reason,
            duration_seconds: self.begun.map_or(0.0, |begun| seconds(begun.elapsed())),
            paths: count(&paths),
        }));
        HostOutcome { outcome, paths }
    }

    fn paths(&mut self, mut known: Known, session: Session<'_>) {
        let host = self.planned.host;
        let may_wait = self.passes <= host.retries;
        for (planned, end) in self.planned.paths().zip(&mut self.ends) {
            let tried = match end {
                End::Told(_) => continue,
                End::Postponed(finished) => finished.attempts,
                End::Open => 0,
            };
            if session.stop.signal().is_some() {
                known = Some(interrupted());
            } else if known.is_none()
                && let Some(message) = session.floor.crossed()
            {
                known = Some((Reason::NoSpace, vec![message]));
            }
            let finished = match &known {
                Some((reason, messages)) => left_out(host, &planned, *reason, messages, tried, session),
                None => path::back_up(host, &planned, session, tried, |reason| status(host, reason)),
            };
            let outcome = Outcome { status: finished.status, reason: finished.reason };
            if known.is_none() && concerns_whole_host(outcome.reason) {
                let cause = outcome.reason.cause();
                let message = format!("not tried, because another path of this host has shown: {cause}");
                known = Some((outcome.reason, vec![message]));
            }
            let stopped = session.stop.signal().is_some();
            *end = if may_wait && !stopped && outcome.can_pass() {
                let _ = session.happened.send(Happening::Postponed(finished.clone()));
                End::Postponed(finished)
            } else {
                session.tell(Body::PathFinished(finished));
                End::Told(outcome)
            };
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |end: &End| match end {
            End::Open => None,
            End::Postponed(finished) => Some(Outcome { status: finished.status, reason: finished.reason }),
            End::Told(outcome) => Some(*outcome),
        };
        self.ends.iter().filter_map(outcome).collect()
    }
}

fn interrupted() -> (Reason, Vec<String>) {
    (Reason::Interrupted, vec!["the run was stopped before this path began".to_owned()])
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

/// The record of a path that was not tried, or not again.
fn left_out(
    host: &Host,
    path: &PathPlan<'_>,
    reason: Reason,
    messages: &[String],
    tried: u64,
    session: Session<'_>,
) -> Box<PathFinished> {
    let attempt = Attempt::planned(host, path.job, session, tried);
    attempt.left_out(status(host, reason), reason, messages.to_vec())
}
