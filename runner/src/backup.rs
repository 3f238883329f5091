//! All hosts, several at a time; one that fails, fails alone.

mod host;
mod path;

pub use host::{concerns_whole_host, status as status_of};

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use std::{io, thread};

use backup_common::reason::Reason;
use backup_common::record::{Body, RunFinished, StatusCounts};
use backup_common::status::Status;

use crate::destination::Base;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::rsync::output::Progress;
use crate::stop::Stop;

/// Enough for a thread that waits for a child and reads its output.
const STACK_BYTES: usize = 256 * 1024;

/// What the threads of a run share.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The backup directory.
    pub base: &'a Base,
    /// The lock, for rsync to hold as well.
    pub lock: &'a Lock,
    /// Asks for an orderly end.
    pub stop: &'a Stop,
    /// Where everything is told.
    pub happened: &'a Sender<Happening>,
}

/// What a run has to tell.
#[derive(Debug)]
pub enum Happening {
    /// A fact for the log.
    Record(Body),
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

impl Session<'_> {
    fn tell(&self, body: Body) {
        // The receiver outlives all threads; without it nobody is left to be told.
        let _ = self.happened.send(Happening::Record(body));
    }
}

/// Backs up every host of the plan, at most `parallel` at a time, and sums up.
pub fn all(plan: &Plan<'_>, session: Session<'_>, parallel: NonZeroUsize) -> io::Result<RunFinished> {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes = Vec::new();
        while let Some(planned) = plan.hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
            outcomes.push(host::back_up(planned, session));
        }
        outcomes
    };
    let outcomes: Vec<host::HostOutcome> = thread::scope(|scope| {
        let threads = (0..parallel.get().min(plan.hosts.len()))
            .map(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work))
            .collect::<io::Result<Vec<_>>>()?;
        Ok::<_, io::Error>(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect())
    })?;

    let mut paths = StatusCounts::new();
    for outcome in outcomes.iter().flat_map(|host| &host.paths) {
        *paths.entry(outcome.status).or_insert(0) += 1;
    }
    let mut hosts: Vec<Outcome> = outcomes.iter().map(|host| host.outcome).collect();
    // A thread that broke off takes its hosts along; they must not be missing in silence.
    hosts.resize(plan.hosts.len(), LOST);
    let worst = worst(&hosts, session.stop.signal().is_some());
    Ok(RunFinished {
        status: worst.status,
        reason: worst.reason,
        duration_seconds: seconds(begun.elapsed()),
        hosts: count(&hosts),
        paths,
    })
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
fn seconds(duration: Duration) -> f64 {
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
}
