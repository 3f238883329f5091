//! One path: open the destination, run rsync in it, say how it went.

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

use super::{Happening, Session, seconds};
use crate::destination::DestinationError;
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

/// What a transfer leaves behind.
struct Transfer {
    ending: Option<Ending>,
    stats: Option<TransferStats>,
    messages: Messages,
    reason: Reason,
}

/// Backs up a path and returns the reason of its end; `status` is what that means for this host.
pub fn back_up(
    host: &Host,
    planned: &PathPlan<'_>,
    session: Session<'_>,
    status: impl FnOnce(Reason) -> Status,
) -> Reason {
    let attempt = Attempt { attempts: 1, ..Attempt::not_made(host, planned.job, session) };
    session.tell(Body::PathStarted(PathStarted {
        host: attempt.host.clone(),
        path: attempt.path.clone(),
        dest: attempt.dest.clone(),
    }));
    let transfer = transfer(host, planned, session);
    let reason = transfer.reason;
    session.tell(attempt.finished(status(reason), transfer));
    reason
}

fn transfer(host: &Host, planned: &PathPlan<'_>, session: Session<'_>) -> Transfer {
    let job = planned.job;
    let directory = match session.base.destination(&job.destination) {
        Ok(directory) => directory,
        Err(error) => {
            return Transfer::not_begun(destination_reason(&error), &ErrorChain(&error).to_string());
        }
    };
    let request = Request { max_delete: planned.max_delete };
    let mut rsync = Command::new("rsync");
    rsync.args(command::arguments(host, job, request)).env_clear().envs(command::ENVIRONMENT);
    let inherit = Inherit { directory: Some(directory.as_fd()), lock: Some(session.lock.as_fd()) };
    let limits = Limits { total: job.path_timeout, idle: Some(job.io_timeout) };

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
        Err(error) if error.kind() == io::ErrorKind::NotFound => Transfer::not_begun(
            Reason::RsyncMissing,
            "cannot start rsync: it is not installed on this machine; install the package rsync",
        ),
        Err(error) => Transfer::not_begun(Reason::Other, &format!("cannot run rsync: {error}")),
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
    fn not_begun(reason: Reason, message: &str) -> Self {
        let mut messages = Messages::default();
        messages.add(ErrorKind::Other, message);
        Self { ending: None, stats: None, messages, reason }
    }
}

impl Attempt {
    /// A path that is only planned so far.
    pub fn not_made(host: &Host, job: &PathJob, session: Session<'_>) -> Self {
        Self {
            host: host.name.to_string(),
            path: job.path.clone(),
            dest: session.base.path().join(&job.destination).display().to_string(),
            attempts: 0,
            started: Timestamp::now(),
            begun: Instant::now(),
        }
    }

    /// The record of a path that was never begun.
    pub fn left_out(self, status: Status, reason: Reason, message: &str) -> Body {
        Body::PathFinished(Box::new(self.end(status, reason, vec![message.to_owned()])))
    }

    fn finished(self, status: Status, transfer: Transfer) -> Body {
        let Transfer { ending, stats, messages, reason } = transfer;
        Body::PathFinished(Box::new(PathFinished {
            exit_code: ending.and_then(|ending| ending.code),
            signal: ending.and_then(|ending| ending.signal),
            stats,
            error_count: messages.error_count,
            warning_count: messages.warning_count,
            errors: messages.kinds,
            ..self.end(status, reason, messages.kept)
        }))
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
