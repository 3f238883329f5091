//! All hosts, several at a time; one that fails, fails alone.

mod host;
mod look;
mod path;
mod progress;
mod transfer;

use std::num::NonZeroUsize;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, RunFinished, StatusCounts};
use backup_common::status::Status;

use self::host::{HostOutcome, HostRun};
use crate::destination::Base;
use crate::free_space::Floor;
use crate::hooks::Hooks;
use crate::lock::Lock;
use crate::parallel;
use crate::plan::Plan;
use crate::programs::Programs;
use crate::rsync::output::Progress;
use crate::stop::Stop;

pub use self::host::{concerns_whole_host, status};
pub use self::look::look;
pub use self::transfer::Transfer;

/// What the threads of a run share.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The backup directory.
    pub base: &'a Base,
    /// The lock, for rsync to hold as well.
    pub lock: &'a Lock,
    /// Which programs are there.
    pub programs: &'a Programs,
    /// Asks for an orderly end.
    pub stop: &'a Stop,
    /// The scripts.
    pub hooks: &'a Hooks,
    /// The floor of free space; it is ready when a transfer has to end, also because of `stop`.
    pub floor: &'a Floor,
    /// Where everything is told.
    pub happened: &'a Sender<Happening>,
    /// Whether anybody wants to see how far each path is.
    pub shows_progress: bool,
    /// Whether anybody wants to see the commands.
    pub verbose: bool,
}

/// What a run has to tell.
#[derive(Debug)]
pub enum Happening {
    /// A fact for the log.
    Record(Body),
    /// Something that belongs to no record.
    Warning(String),
    /// Something for those who want to see more.
    Note(String),
    /// A path has failed and is tried again at the end of the run; its record comes then.
    Postponed(Box<PathFinished>),
    /// A path is under way; for the terminal only.
    Progress {
        /// Host as configured.
        host: String,
        /// Path as configured.
        path: String,
        /// How far it is.
        progress: Progress,
    },
}

/// How something ended, for the sums above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How.
    pub status: Status,
    /// Why.
    pub reason: Reason,
}

/// A host of which nothing came back.
const LOST: Outcome = Outcome { status: Status::Failed, reason: Reason::Other };

impl Outcome {
    /// The same after a script afterwards has failed.
    ///
    /// What was transferred is in the backup, so that a success becomes a warning and no failure; a failure
    /// keeps its own reason, which is the more important one.
    fn and_trouble(self, reason: Reason) -> Self {
        if self.status == Status::Failed { self } else { Self { status: Status::Warning, reason } }
    }

    /// Whether another try makes sense.
    fn can_pass(self) -> bool {
        self.status == Status::Failed && self.reason.passes()
    }
}

impl Session<'_> {
    fn warn(&self, text: &str) {
        let _ = self.happened.send(Happening::Warning(format!("warning: {text}")));
    }

    fn tell(&self, body: Body) {
        // The receiver outlives all threads; without it nobody is left to be told.
        let _ = self.happened.send(Happening::Record(body));
    }
}

/// Backs up every host of the plan, at most `parallel` at a time, and sums up.
///
/// Paths that failed for a reason that can pass are tried again after all others, `retry_wait` later and again
/// all hosts in parallel. Each path and each host has one record of its end in a run: that of its last try.
pub fn all(
    plan: &Plan<'_>,
    session: Session<'_>,
    parallel: NonZeroUsize,
    retry_wait: Duration,
) -> RunFinished {
    let begun = Instant::now();
    let mut runs: Vec<HostRun<'_>> = plan.hosts.iter().map(HostRun::new).collect();
    let mut outcomes: Vec<HostOutcome> = Vec::with_capacity(runs.len());
    while !runs.is_empty() {
        let passed = parallel::map(std::mem::take(&mut runs), parallel, |mut run: HostRun<'_>| {
            run.pass(session);
            if run.waits() { Err(run) } else { Ok(run.finish(session)) }
        });
        for end in passed {
            match end {
                Ok(outcome) => outcomes.push(outcome),
                Err(waiting) => runs.push(waiting),
            }
        }
        if !runs.is_empty() && session.stop.wait(retry_wait) {
            outcomes.extend(runs.drain(..).map(|run| run.finish(session)));
        }
    }

    let mut paths = StatusCounts::new();
    for outcome in outcomes.iter().flat_map(|host| &host.paths) {
        *paths.entry(outcome.status).or_insert(0) += 1;
    }
    let mut hosts: Vec<Outcome> = outcomes.iter().map(|host| host.outcome).collect();
    // A thread that broke off takes its hosts along; they must not be missing in silence.
    hosts.resize(plan.hosts.len(), LOST);
    let worst = worst(&hosts, session.stop.signal().is_some());
    RunFinished {
        status: worst.status,
        reason: worst.reason,
        duration_seconds: seconds(begun.elapsed()),
        hosts: count(&hosts),
        paths,
    }
}

/// The worst of several; the first one where several are equally bad.
fn worst(outcomes: &[Outcome], interrupted: bool) -> Outcome {
    if interrupted {
        return Outcome { status: Status::Failed, reason: Reason::Interrupted };
    }
    let good = Outcome { status: Status::Success, reason: Reason::Ok };
    // Where one was backed up and another skipped, the whole is a success.
    let any_success = outcomes.iter().any(|outcome| outcome.status == Status::Success);
    let counts = |outcome: &&Outcome| !(any_success && outcome.status == Status::Skipped);
    outcomes
        .iter()
        .filter(counts)
        .fold(None, |worst: Option<Outcome>, outcome| match worst {
            Some(worst) if worst.status >= outcome.status => Some(worst),
            _ => Some(*outcome),
        })
        .unwrap_or(good)
}

fn count(outcomes: &[Outcome]) -> StatusCounts {
    let mut counts = StatusCounts::new();
    for outcome in outcomes {
        *counts.entry(outcome.status).or_insert(0) += 1;
    }
    counts
}

/// Seconds to the microsecond, as records hold them.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome { status: Status::Success, reason: Reason::Ok };
    const AWAY: Outcome = Outcome { status: Status::Skipped, reason: Reason::Unreachable };
    const VANISHED: Outcome = Outcome { status: Status::Warning, reason: Reason::VanishedFiles };
    const REFUSED: Outcome = Outcome { status: Status::Failed, reason: Reason::ConnectionRefused };

    #[test]
    fn the_worst_counts() {
        assert_eq!(worst(&[OK, VANISHED, REFUSED, VANISHED], false), REFUSED);
        assert_eq!(worst(&[OK, VANISHED], false), VANISHED);
        assert_eq!(worst(&[OK, AWAY], false), OK);
        assert_eq!(worst(&[AWAY], false), AWAY);
        assert_eq!(worst(&[OK], true).reason, Reason::Interrupted);
    }

    #[test]
    fn a_failed_script_afterwards_is_a_warning_at_least() {
        let trouble = Reason::HookFailed;
        for outcome in [OK, AWAY, VANISHED] {
            assert_eq!(outcome.and_trouble(trouble), Outcome { status: Status::Warning, reason: trouble });
        }
        assert_eq!(REFUSED.and_trouble(trouble), REFUSED);
    }

    #[test]
    fn only_failures_that_can_pass_are_tried_again() {
        assert!(REFUSED.can_pass());
        assert!(!AWAY.can_pass(), "a host that may be away is not waited for");
        for reason in [Reason::AuthFailed, Reason::HostKeyChanged, Reason::HostKeyUnknown, Reason::MaxDelete]
        {
            assert!(!Outcome { status: Status::Failed, reason }.can_pass(), "{reason}");
        }
    }
}
