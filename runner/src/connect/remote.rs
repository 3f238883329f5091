//! What a host says once it lets us in: its rsync's version, and whether the paths can be read.
//!
//! The paths are listed by rsync itself, as the backup will read them: with the same `rsync_path`, through the same
//! ssh, also where the key is restricted to `rrsync`. So no path of the configuration meets a remote shell that a
//! backup would not show it to, and there is no script of ours to run on the host.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use backup_common::config::{Access, Host, PathJob, SshTarget};
use backup_common::reason::Reason;

use super::Obstacle;
use crate::capture::{Captured, capture};
use crate::rsync::command::{remote_shell, source, ssh_arguments};
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
    let rsync = host.paths.iter().find_map(|job| job.rsync_path.as_deref()).unwrap_or("rsync");
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
    let programs: BTreeSet<_> = host.paths.iter().map(|job| job.rsync_path.as_deref()).collect();
    let mut together = Vec::new();
    for program in programs {
        let sources = sources(host, |job| job.rsync_path.as_deref() == program);
        together.push(run(host, program, What::Directories, &sources, escapes_names, stop));
    }
    let whole_host =
        together.iter().find(|answer| answer.reason != Reason::Ok && !is_about_paths(answer.reason));
    if let Some(answer) = whole_host {
        return vec![answer.clone(); host.paths.len()];
    }
    let all_good = together.iter().all(|answer| answer.reason == Reason::Ok);
    let answers = host.paths.iter().map(|job| {
        let program = job.rsync_path.as_deref();
        let directory = if all_good {
            Obstacle { reason: Reason::Ok, messages: Vec::new() }
        } else {
            let sources = [source(&host.access, &job.path)];
            run(host, program, What::Directories, &sources, escapes_names, stop)
        };
        match &job.require {
            Some(file) if directory.reason == Reason::Ok => required(host, job, file, escapes_names, stop),
            _ => directory,
        }
    });
    answers.collect()
}

fn sources(host: &Host, chosen: impl Fn(&PathJob) -> bool) -> Vec<String> {
    host.paths.iter().filter(|job| chosen(job)).map(|job| source(&host.access, &job.path)).collect()
}

fn required(host: &Host, job: &PathJob, file: &str, escapes_names: bool, stop: BorrowedFd<'_>) -> Obstacle {
    let path = format!("{}/{file}", job.path.trim_end_matches('/'));
    // `source` ends in a slash, which would ask for a directory.
    let one = source(&host.access, &path).trim_end_matches('/').to_owned();
    let mut answer = run(host, job.rsync_path.as_deref(), What::File, &[one], escapes_names, stop);
    if answer.reason != Reason::Ok {
        answer.messages.insert(0, format!("the required file {path} cannot be found"));
    }
    answer
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

/// What is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Directories, opened and not shown.
    Directories,
    /// A file.
    File,
}

fn run(
    host: &Host,
    rsync_path: Option<&str>,
    what: What,
    sources: &[String],
    escapes_names: bool,
    stop: BorrowedFd<'_>,
) -> Obstacle {
    let arguments = arguments(host, rsync_path, what, sources, escapes_names);
    match capture("rsync", &arguments, host.connect_timeout + ANSWER_LIMIT, stop) {
        Ok(captured) => judge(&captured, host.paths.first().map_or("", |job| &job.path)),
        Err(error) => {
            Obstacle::new(Reason::RsyncMissing, format!("cannot start rsync on this machine: {error}"))
        }
    }
}

/// The arguments of a listing, all of which `rrsync` lets through.
fn arguments(
    host: &Host,
    rsync_path: Option<&str>,
    what: What,
    sources: &[String],
    escapes_names: bool,
) -> Vec<String> {
    let mut arguments = vec!["--list-only".to_owned(), "--dirs".to_owned()];
    if what == What::Directories {
        arguments.push("--exclude=*".to_owned());
    }
    arguments.extend(rsync_path.map(|program| format!("--rsync-path={program}")));
    arguments.push(format!("--timeout={}", ANSWER_LIMIT.as_secs()));
    if let Access::Ssh(target) = &host.access {
        if !escapes_names {
            arguments.push("--secluded-args".to_owned());
        }
        arguments.push(format!("--rsh={}", remote_shell(target, host.connect_timeout)));
    }
    arguments.extend(["--no-human-readable", "--info=NONE,STATS2", "--stats", "--"].map(str::to_owned));
    arguments.extend(sources.iter().cloned());
    // With several sources the last argument is the destination; nothing is written to it.
    arguments.push("./".to_owned());
    arguments
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

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    #[test]
    fn the_listing_of_several_paths_is_one_command() {
        let text = "hosts: {a: {ssh_user: u, hostname: h, rsync_path: sudo rsync, paths: [{path: /x}, {path: '/y z*'}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let host = &config.hosts[0];
        let words = arguments(host, Some("sudo rsync"), What::Directories, &sources(host, |_| true), true);
        let shown: Vec<_> = words.iter().filter(|word| !word.starts_with("--rsh=")).collect();
        assert_eq!(
            shown,
            [
                "--list-only",
                "--dirs",
                "--exclude=*",
                "--rsync-path=sudo rsync",
                "--timeout=60",
                "--no-human-readable",
                "--info=NONE,STATS2",
                "--stats",
                "--",
                "h:/x/",
                "h:/y z\\*/",
                "./"
            ]
        );
    }
}
