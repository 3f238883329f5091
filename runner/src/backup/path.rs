//! One path: the scripts before it, a look at the source, rsync in the destination, the scripts after it.

use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use backup_common::config::{Host, PathJob};
use backup_common::error_chain::ErrorChain;
use backup_common::error_kind::{ErrorCounts, ErrorKind};
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, PathProgress, PathStarted, TransferStats};
use backup_common::status::Status;
use jiff::Timestamp;

use super::look::look;
use super::{Happening, Outcome, Session, seconds};
use crate::destination::DestinationError;
use crate::hooks::{Bracket, Scene, Trouble};
use crate::plan::PathPlan;
use crate::process::{self, Cut, Ending, Inherit, Limits, Stream};
use crate::rsync::command::{self, Request};
use crate::rsync::messages::Messages;
use crate::rsync::output::{OutputParser, Progress};
use crate::rsync::verdict::verdict;
use crate::volume;

/// Least time between two progress records of a path.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// What is known about a path before it ends.
pub struct Attempt {
    host: String,
    path: String,
    dest: String,
    attempts: u64,
    started: Timestamp,
    begun: Instant,
}

/// What a transfer leaves behind, also one that did not begin.
pub struct Transfer {
    /// How rsync ended, if it was started.
    pub ending: Option<Ending>,
    /// Its figures, if it came so far.
    pub stats: Option<TransferStats>,
    /// What it and the runner had to say.
    pub messages: Messages,
    /// Why it ended so.
    pub reason: Reason,
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

fn transfer(host: &Host, planned: &PathPlan<'_>, session: Session<'_>) -> Transfer {
    let job = planned.job;
    let begun = Instant::now();
    if let Err(refused) = look(host, planned, session) {
        return *refused;
    }
    let directory = match session.base.destination(&job.destination) {
        Ok(directory) => directory,
        Err(error) => {
            return Transfer::not_begun(destination_reason(&error), &ErrorChain(&error).to_string());
        }
    };
    let request = Request { max_delete: planned.max_delete, escapes_names: session.programs.escapes_names() };
    let mut rsync = Command::new("rsync");
    rsync.args(command::arguments(host, job, request)).env_clear().envs(command::ENVIRONMENT);
    let inherit = Inherit { directory: Some(directory.as_fd()), lock: Some(session.lock.as_fd()) };
    let left = job.path_timeout.map(|limit| limit.saturating_sub(begun.elapsed()));
    let limits = Limits { total: left, idle: Some(job.io_timeout) };

    let mut output = OutputParser::default();
    let mut messages = Messages::default();
    let mut progress = ProgressTeller { host, job, session, recorded: Instant::now() };
    let ending =
        process::run(&mut rsync, inherit, limits, session.floor.as_fd(), |stream, bytes| match stream {
            Stream::Output => {
                if let Some(found) = output.push(bytes) {
                    progress.tell(found);
                }
            }
            Stream::Error => messages.push(bytes, &job.path),
        });
    messages.finish(&job.path);
    match ending {
        Ok(ending) => {
            let stats = output.finish();
            let mut reason = verdict(&ending, stats.as_ref(), &messages);
            if reason == Reason::Ok
                && planned.held_files
                && stats.as_ref().is_some_and(|stats| stats.files <= 1)
            {
                reason = Reason::EmptySource;
            }
            // A service manager that stops the run may signal rsync as well, and before us.
            if reason == Reason::Killed && session.stop.signal().is_some() {
                reason = Reason::Interrupted;
            }
            // rsync names each file that it could not write, as if only those were concerned.
            if reason == Reason::PartialTransfer && volume::is_read_only(&directory) {
                reason = Reason::ReadOnly;
            }
            if let Some(message) = session.floor.crossed()
                && ending.cut == Some(Cut::Stopped)
                && session.stop.signal().is_none()
            {
                messages.add(ErrorKind::Space, &message);
                reason = Reason::NoSpace;
            }
            Transfer { ending: Some(ending), stats, messages, reason }
        }
        Err(error) => Transfer::not_started(&error),
    }
}

fn destination_reason(error: &DestinationError) -> Reason {
    let (DestinationError::Io(_, error) | DestinationError::Base(_, error)) = error else {
        return Reason::Other;
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem => Reason::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
        _ => Reason::Other,
    }
}

impl Transfer {
    /// A script before it has kept it from beginning.
    fn prevented(trouble: &Trouble) -> Self {
        let mut messages = Messages::default();
        if trouble.reason == Reason::HookSkip {
            // "Not now" is no error.
            messages.kept.clone_from(&trouble.messages);
        } else {
            messages.lead(&trouble.messages);
        }
        Self { ending: None, stats: None, messages, reason: trouble.reason }
    }

    /// rsync could not be started.
    pub fn not_started(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::not_begun(
                Reason::RsyncMissing,
                "cannot start rsync: it is not installed on this machine; install the package rsync",
            );
        }
        Self::not_begun(Reason::Other, &format!("cannot run rsync: {error}"))
    }

    fn not_begun(reason: Reason, message: &str) -> Self {
        let mut messages = Messages::default();
        messages.add(ErrorKind::Other, message);
        Self { ending: None, stats: None, messages, reason }
    }
}

impl Attempt {
    /// A path that is only planned so far, and how many tries it will have had.
    pub fn planned(host: &Host, job: &PathJob, session: Session<'_>, attempts: u64) -> Self {
        Self {
            host: host.name.to_string(),
            path: job.path.clone(),
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

/// Tells the terminal of every progress, and the log now and then.
struct ProgressTeller<'a> {
    host: &'a Host,
    job: &'a PathJob,
    session: Session<'a>,
    recorded: Instant,
}

impl ProgressTeller<'_> {
    fn tell(&mut self, progress: Progress) {
        let (host, path) = (self.host.name.to_string(), self.job.path.clone());
        if self.recorded.elapsed() >= PROGRESS_PERIOD {
            self.recorded = Instant::now();
            self.session.tell(Body::PathProgress(PathProgress {
                host: host.clone(),
                path: path.clone(),
                bytes: progress.bytes,
                percent: f64::from(progress.percent),
                files: progress.files,
            }));
        }
        let _ = self.session.happened.send(Happening::Progress { host, path, progress });
    }
}
