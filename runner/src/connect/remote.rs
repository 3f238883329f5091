//! What a host says once it lets us in: its rsync's version, and whether the paths can be read.
//!
//! The paths are listed by rsync itself, as the backup will read them: with the same `rsync_path`, through the same
//! ssh, also where the key is restricted to `rrsync`. There is no script of ours to run on the host.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use backup_common::config::{Host, PathJob, SshTarget};
use backup_common::reason::Reason;

use super::Obstacle;
use crate::capture::{Captured, capture};
use crate::rsync::command::ssh_arguments;
use crate::rsync::listing::{self, Listing};
use crate::rsync::messages::Messages;
use crate::rsync::output::OutputParser;
use crate::rsync::verdict::verdict;
use crate::rsync::version::Version;

/// Time that a host has for its answer once the connection stands.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The answer to `rsync --version`.
#[derive(Debug, PartialEq, Eq)]
pub enum VersionAnswer {
    /// A version.
    Is(Version),
    /// The host let us in and printed none: a restricted key, sudo rules, or no rsync.
    Unknown,
}

/// Asks the host for the version of its rsync: one ssh session.
pub fn version(host: &Host, target: &SshTarget, stop: BorrowedFd<'_>) -> Result<VersionAnswer, Obstacle> {
    let rsync = host.paths.iter().find_map(|job| job.settings.rsync_path.as_deref()).unwrap_or("rsync");
    let mut arguments: Vec<String> =
        ssh_arguments(target, host.connect_timeout).into_iter().skip(1).collect();
    // rsync_path is a command of the remote shell by its meaning, as it is for rsync.
    arguments.extend(["--".to_owned(), target.hostname.clone(), format!("{rsync} --version")]);
    let captured = capture("ssh", &arguments, host.connect_timeout + ANSWER_LIMIT, stop)
        .map_err(|error| Obstacle::new(Reason::Other, format!("cannot start ssh: {error}")))?;
    if captured.ending.code == Some(255) || captured.ending.cut.is_some() {
        return Err(judge(&captured, ""));
    }
    if !captured.succeeded() {
        return Ok(VersionAnswer::Unknown);
    }
    Ok(Version::find(&captured.text()).map_or(VersionAnswer::Unknown, VersionAnswer::Is))
}

/// Lists every path of the host without what is in it; the answers are in the order of the paths.
///
/// All paths of one `rsync_path` share a session; only when it fails are they asked one by one.
pub fn list(host: &Host, escapes_names: bool, stop: BorrowedFd<'_>) -> Vec<Obstacle> {
    let ask = |listing: Listing<'_>| run(host, listing, escapes_names, stop);
    let programs: BTreeSet<_> = host.paths.iter().map(|job| job.settings.rsync_path.as_deref()).collect();
    let mut together = Vec::new();
    for program in programs {
        let jobs: Vec<&PathJob> =
            host.paths.iter().filter(|job| job.settings.rsync_path.as_deref() == program).collect();
        together.push(ask(Listing::Directories(&jobs)));
    }
    let whole_host =
        together.iter().find(|answer| answer.reason != Reason::Ok && !is_about_paths(answer.reason));
    if let Some(answer) = whole_host {
        return vec![answer.clone(); host.paths.len()];
    }
    let all_good = together.iter().all(|answer| answer.reason == Reason::Ok);
    let answers = host.paths.iter().map(|job| {
        let directory = if all_good {
            Obstacle { reason: Reason::Ok, messages: Vec::new() }
        } else {
            ask(Listing::Directories(&[job]))
        };
        match &job.settings.require {
            Some(file) if directory.reason == Reason::Ok => {
                let mut answer = ask(Listing::File(job, file));
                if answer.reason != Reason::Ok {
                    let path = format!("{}/{file}", job.path.trim_end_matches('/'));
                    answer.messages.insert(0, format!("the required file {path} cannot be found"));
                }
                answer
            }
            _ => directory,
        }
    });
    answers.collect()
}

/// Reasons that a listing gives for a path; all others hold for the host.
fn is_about_paths(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PartialTransfer
            | Reason::SourceMissing
            | Reason::PermissionDenied
            | Reason::ReadOnly
            | Reason::NoSpace
            | Reason::VanishedFiles
            | Reason::Other
    )
}

fn run(host: &Host, listing: Listing<'_>, escapes_names: bool, stop: BorrowedFd<'_>) -> Obstacle {
    let arguments = listing::arguments(host, listing, ANSWER_LIMIT, escapes_names);
    match capture("rsync", &arguments, host.connect_timeout + ANSWER_LIMIT, stop) {
        Ok(captured) => judge(&captured, host.paths.first().map_or("", |job| &job.path)),
        Err(error) => {
            Obstacle::new(Reason::RsyncMissing, format!("cannot start rsync on this machine: {error}"))
        }
    }
}

/// The same judgement as a backup's.
fn judge(captured: &Captured, source: &str) -> Obstacle {
    let mut messages = Messages::default();
    messages.push(&captured.stderr, source);
    messages.finish(source);
    let mut output = OutputParser::default();
    let _ = output.push(&captured.stdout);
    let reason = verdict(&captured.ending, output.finish().as_ref(), &messages);
    Obstacle { reason, messages: messages.kept }
}
