//! Asks rsync itself what it would do, hosts in parallel as in a run.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::config::{Host, PathJob};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::status::Status;

use crate::backup::{self, Transfer, concerns_whole_host};
use crate::connect;
use crate::destination::Base;
use crate::parallel;
use crate::plan::{HostPlan, PathPlan, Plan};
use crate::process::{self, Inherit, Limits, Stream};
use crate::programs::Programs;
use crate::rsync::command::{self, Request, Step};
use crate::rsync::messages::Messages;
use crate::rsync::output::OutputParser;
use crate::rsync::verdict::{of_source, verdict};
use crate::stop::Stop;

/// What would become of a path.
#[derive(Debug)]
pub struct Forecast<'a> {
    /// Its host.
    pub host: &'a Host,
    /// The path.
    pub job: &'a PathJob,
    /// What a backup would ask of rsync.
    pub request: Request,
    /// How it would end.
    pub status: Status,
    /// Why it would end so.
    pub reason: Reason,
    /// What would be transferred and deleted, if rsync came so far.
    pub stats: Option<TransferStats>,
    /// What rsync and ssh said.
    pub messages: Vec<String>,
}

/// Asks for every path, at most `at_a_time` hosts at a time; in the order of the plan.
pub fn all<'a>(
    plan: &Plan<'a>,
    base: &Base,
    programs: &Programs,
    stop: &Stop,
    at_a_time: NonZeroUsize,
) -> Vec<Forecast<'a>> {
    let hosts = plan.hosts.iter().collect();
    let forecasts = parallel::map(hosts, at_a_time, |planned| host(planned, base, programs, stop));
    forecasts.into_iter().flatten().collect()
}

fn host<'a>(planned: &HostPlan<'a>, base: &Base, programs: &Programs, stop: &Stop) -> Vec<Forecast<'a>> {
    let host = planned.host;
    let mut known = if host.enabled {
        connect::obstacle(host, programs, stop.as_fd())
            .map(|obstacle| Answer::without_rsync(obstacle.reason, obstacle.messages))
    } else {
        Some(Answer::without_rsync(Reason::Disabled, Vec::new()))
    };
    let mut forecasts = Vec::with_capacity(host.paths.len());
    for path in planned.paths() {
        if stop.signal().is_some() {
            known = Some(Answer::without_rsync(Reason::Interrupted, Vec::new()));
        }
        let request = path.request(programs.escapes_names());
        let answer = match &known {
            Some(answer) => answer.clone(),
            None => ask(host, &path, request, base, stop),
        };
        // What was seen is said once.
        if known.is_some() || concerns_whole_host(answer.reason) {
            known = Some(Answer::without_rsync(answer.reason, Vec::new()));
        }
        forecasts.push(Forecast {
            host,
            job: path.job,
            request,
            status: backup::status(host, answer.reason),
            reason: answer.reason,
            stats: answer.stats,
            messages: answer.messages,
        });
    }
    forecasts
}

/// What was found out.
#[derive(Clone)]
struct Answer {
    reason: Reason,
    stats: Option<TransferStats>,
    messages: Vec<String>,
}

impl Answer {
    fn without_rsync(reason: Reason, messages: Vec<String>) -> Self {
        Self { reason, stats: None, messages }
    }
}

fn ask(host: &Host, planned: &PathPlan<'_>, request: Request, base: &Base, stop: &Stop) -> Answer {
    let job = planned.job;
    if let Err(refused) = backup::look(host, planned, request.escapes_names, stop.as_fd()) {
        return Answer::without_rsync(refused.reason, refused.messages.kept);
    }
    let (directory, missing): (OwnedFd, PathBuf) = match base.nearest(&job.destination) {
        Ok(found) => found,
        Err(error) => return Answer::without_rsync(Reason::Other, vec![ErrorChain(&error).to_string()]),
    };
    let mut rsync = Command::new("rsync");
    rsync.args(arguments(host, job, request, &missing)).env_clear().envs(command::ENVIRONMENT);
    let inherit = Inherit { directory: Some(directory.as_fd()), lock: None };
    let limits = Limits { total: job.settings.path_timeout, idle: Some(job.settings.io_timeout) };
    let mut output = OutputParser::default();
    let mut messages = Messages::default();
    let ending = process::run(&rsync, inherit, limits, stop.as_fd(), |stream, bytes| match stream {
        Stream::Output => {
            output.push(bytes);
        }
        Stream::Error => messages.push(bytes, &job.path),
    });
    messages.finish(&job.path);
    match ending {
        Ok(ending) => {
            let stats = output.finish();
            let reason = verdict(&ending, stats.as_ref(), &messages);
            let reason = of_source(reason, stats.as_ref(), planned.held_files);
            let reason = within_budget(reason, stats.as_ref(), request);
            Answer { reason, stats, messages: messages.kept }
        }
        Err(error) => {
            let transfer = Transfer::not_started(&error);
            Answer::without_rsync(transfer.reason, transfer.messages.kept)
        }
    }
}

/// The arguments of the backup, with `--dry-run`.
///
/// Without `--max-delete`, so that everything is counted that would go. A log or a batch file of the user's
/// would be written by a dry run too. What is missing of the destination stands in its last argument: rsync
/// makes nothing in a dry run, and knows an absent destination for an empty one.
fn arguments(host: &Host, job: &PathJob, request: Request, missing: &Path) -> Vec<OsString> {
    let mut arguments =
        command::arguments(host, job, Request { max_delete: None, step: Step::Whole, ..request });
    arguments.retain(|argument| {
        let argument = argument.to_string_lossy();
        !["--log-file", "--write-batch"].iter().any(|option| argument.starts_with(option))
    });
    arguments.insert(0, "--dry-run".into());
    if !missing.as_os_str().is_empty()
        && let Some(destination) = arguments.last_mut()
    {
        destination.push(missing);
        destination.push("/");
    }
    arguments
}

/// The end that the budget would bring about.
fn within_budget(reason: Reason, stats: Option<&TransferStats>, request: Request) -> Reason {
    let (Some(stats), Some(limit)) = (stats, request.max_delete) else { return reason };
    if !matches!(reason, Reason::Ok | Reason::VanishedFiles) {
        return reason;
    }
    let least = if request.step == Step::Transfer { 0 } else { limit };
    match (stats.files, stats.files_deleted) {
        (0 | 1, deleted) if deleted > least => Reason::EmptySource,
        (_, deleted) if deleted > limit => Reason::MaxDelete,
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_backup() {
        let text = "{config: {rsync_options: -a --log-file=/l --log-file-format=%n --write-batch=/b --delete}, hosts: {h: {paths: [{path: /x}]}}}";
        let config = Config::parse(text).expect("is right").config;
        let (host, job) = (&config.hosts[0], &config.hosts[0].paths[0]);
        let whole = command::arguments(host, job, Request { max_delete: None, ..Request::default() });
        let request = Request { max_delete: Some(7), step: Step::Transfer, ..Request::default() };
        let mut found = arguments(host, job, request, Path::new(""));
        assert_eq!(found.remove(0), "--dry-run");
        assert_eq!(
            whole.iter().filter(|word| !found.contains(word)).collect::<Vec<_>>(),
            ["--log-file=/l", "--log-file-format=%n", "--write-batch=/b"]
        );
        assert_eq!(arguments(host, job, request, Path::new("h/x")).last(), Some(&"./h/x/".into()));
    }

    #[test]
    fn more_than_the_budget_would_fail() {
        let stats = |files, files_deleted| TransferStats { files, files_deleted, ..TransferStats::default() };
        let request = |max_delete, step| Request { max_delete, step, ..Request::default() };
        let of = |stats, limit| within_budget(Reason::Ok, Some(&stats), request(limit, Step::Whole));
        assert_eq!(of(stats(100, 50), Some(50)), Reason::Ok);
        assert_eq!(of(stats(100, 51), Some(50)), Reason::MaxDelete);
        assert_eq!(of(stats(1, 51), Some(50)), Reason::EmptySource);
        assert_eq!(of(stats(1, 51), None), Reason::Ok);
        let careful = request(Some(50), Step::Transfer);
        assert_eq!(within_budget(Reason::Timeout, Some(&stats(1, 51)), careful), Reason::Timeout);
        assert_eq!(within_budget(Reason::Ok, Some(&stats(1, 3)), careful), Reason::EmptySource);
        assert_eq!(within_budget(Reason::Ok, Some(&stats(2, 3)), careful), Reason::Ok);
        assert_eq!(within_budget(Reason::Ok, Some(&stats(1, 0)), careful), Reason::Ok);
    }
}
