//! The transfer of a path: a look at the source where one is needed, rsync in the destination, deletions last.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Instant;

use backup_common::config::Host;
use backup_common::error_chain::ErrorChain;
use backup_common::error_kind::ErrorKind;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;

use super::look::look;
use super::progress::ProgressTeller;
use super::{Happening, Session};
use crate::command_line;
use crate::destination::DestinationError;
use crate::hooks::Trouble;
use crate::plan::PathPlan;
use crate::process::{self, Cut, Ending, Inherit, Limits, Stream};
use crate::rsync::command::{self, Request, Step};
use crate::rsync::deletion::{self, Next};
use crate::rsync::messages::Messages;
use crate::rsync::output::OutputParser;
use crate::rsync::verdict::{of_source, verdict};
use crate::volume;

/// What is said of a success without figures.
const NO_FIGURES: &str = "rsync has ended without an error and without its figures, so nothing proves that it has done its work; see whether the rsync of this machine is a wrapper that hides them";

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

/// Transfers a path, and deletes what is to be deleted.
pub fn transfer(host: &Host, planned: &PathPlan<'_>, session: Session<'_>) -> Transfer {
    let job = planned.job;
    let begun = Instant::now();
    if let Err(refused) = look(host, planned, session.programs.escapes_names(), session.stop.as_fd()) {
        return *refused;
    }
    let directory = match session.base.destination(&job.destination) {
        Ok(directory) => directory,
        Err(error) => {
            return Transfer::not_begun(destination_reason(&error), &ErrorChain(&error).to_string());
        }
    };
    let calls = Calls { host, planned, session, directory, begun };
    let request = planned.request(session.programs.escapes_names());
    let mut first = calls.run(request, planned.held_files);
    let Some(deletion) = request.deletion() else {
        if first.reason == Reason::EmptySource && first.deleted() == 0 {
            first.messages.lead(&[deletion::of_empty_source(&job.path, planned.held_files)]);
        }
        return first;
    };
    let code = first.ending.and_then(|ending| ending.code);
    match deletion::next(
        code,
        first.reason,
        first.stats.as_ref(),
        first.messages.left_out,
        request.max_delete,
    ) {
        Next::End => first,
        Next::Refuse(reason) => {
            let why = match (reason, request.max_delete) {
                (Reason::MaxDelete, Some(limit)) => {
                    deletion::of_shrunk_source(first.messages.left_out.unwrap_or(0), limit)
                }
                _ => deletion::of_empty_source(&job.path, planned.held_files),
            };
            first.messages.lead(&[why]);
            Transfer { reason, ..first }
        }
        Next::Delete => {
            // That it had to leave deletions out is how it was asked to end.
            if code == Some(deletion::LIMIT_REACHED) {
                first.reason = Reason::Ok;
            }
            calls.note(deletion);
            first.followed_by(calls.run(deletion, true))
        }
        Next::Again => {
            let whole = Request { step: Step::Whole, ..request };
            calls.note(whole);
            // It does everything, so that its end alone counts.
            first.reason = Reason::Ok;
            first.followed_by(calls.run(whole, true))
        }
    }
}

/// What the calls of rsync for a path share.
struct Calls<'a> {
    host: &'a Host,
    planned: &'a PathPlan<'a>,
    session: Session<'a>,
    directory: OwnedFd,
    begun: Instant,
}

impl Calls<'_> {
    /// Shows the command to those who want to see it.
    fn note(&self, request: Request) {
        if self.session.verbose {
            let job = self.planned.job;
            let line = command_line::of_path(self.session.base.path(), self.host, job, request);
            let text = format!("{} {}: {line}", self.host.name, job.path);
            let _ = self.session.happened.send(Happening::Note(text));
        }
    }

    /// One call of rsync, from its start to a reason.
    fn run(&self, request: Request, held_files: bool) -> Transfer {
        let Self { host, planned, session, directory, begun } = self;
        let job = planned.job;
        let mut rsync = Command::new("rsync");
        rsync.args(command::arguments(host, job, request)).env_clear().envs(command::ENVIRONMENT);
        let inherit = Inherit { directory: Some(directory.as_fd()), lock: Some(session.lock.as_fd()) };
        let left = job.settings.path_timeout.map(|limit| limit.saturating_sub(begun.elapsed()));
        let limits = Limits { total: left, idle: Some(job.settings.io_timeout) };

        let mut output = OutputParser::default();
        let mut messages = Messages::default();
        messages.leaves_out = request.step == Step::Transfer;
        let mut progress = ProgressTeller::new(host, job, *session);
        let ending =
            process::run(&rsync, inherit, limits, session.floor.as_fd(), |stream, bytes| match stream {
                Stream::Output => {
                    if let Some(found) = output.push(bytes) {
                        progress.tell(found);
                    }
                }
                Stream::Error => messages.push(bytes, &job.path),
            });
        messages.finish(&job.path);
        let ending = match ending {
            Ok(ending) => ending,
            Err(error) => return Transfer::not_started(&error),
        };
        let stats = output.finish();
        let mut reason = verdict(&ending, stats.as_ref(), &messages);
        reason = of_source(reason, stats.as_ref(), held_files);
        if reason == Reason::Protocol && ending.code == Some(0) {
            messages.add(ErrorKind::Protocol, NO_FIGURES);
        }
        // A service manager that stops the run may signal rsync as well, and before us.
        if reason == Reason::Killed && session.stop.signal().is_some() {
            reason = Reason::Interrupted;
        }
        // rsync names each file that it could not write, as if only those were concerned.
        if reason == Reason::PartialTransfer && volume::is_read_only(directory) {
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
    pub fn prevented(trouble: &Trouble) -> Self {
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

    fn deleted(&self) -> u64 {
        self.stats.as_ref().map_or(0, |stats| stats.files_deleted)
    }

    /// The same after a call that deletes: the worse end of the two counts, with what was said about it.
    fn followed_by(self, deletion: Self) -> Self {
        let stats = match (self.stats, deletion.stats) {
            (Some(first), Some(second)) => Some(deletion::together(first, second)),
            (first, second) => first.or(second),
        };
        let first_counts = self.reason.status() >= deletion.reason.status() && self.reason != Reason::Ok;
        let counts = if first_counts { self } else { deletion };
        Self { stats, ..counts }
    }
}
