//! Asks rsync itself what it would do, hosts in parallel as in a run.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backup_common::config::{Host, PathJob};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::status::Status;

use crate::backup::{concerns_whole_host, status_of};
use crate::destination::Base;
use crate::plan::{HostPlan, Plan};
use crate::process::{self, Inherit, Limits, Stream};
use crate::rsync::command::{self, Request};
use crate::rsync::messages::Messages;
use crate::rsync::output::OutputParser;
use crate::rsync::verdict::verdict;
use crate::stop::Stop;

/// Enough for a thread that waits for a child and reads its output.
const STACK_BYTES: usize = 256 * 1024;

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

/// Asks for every path, at most `parallel` hosts at a time; in the order of the plan.
pub fn all<'a>(
    plan: &Plan<'a>,
    base: &Base,
    stop: &Stop,
    parallel: NonZeroUsize,
    escapes_names: bool,
) -> io::Result<Vec<Forecast<'a>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(planned) = plan.hosts.get(index) else { return done };
            done.push((index, host(planned, base, stop, escapes_names)));
        }
    };
    let mut done: Vec<(usize, Vec<Forecast<'a>>)> = thread::scope(|scope| {
        let threads = (0..parallel.get().min(plan.hosts.len()))
            .map(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work))
            .collect::<io::Result<Vec<_>>>()?;
        Ok::<_, io::Error>(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect())
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().flat_map(|(_, forecasts)| forecasts).collect())
}

fn host<'a>(planned: &HostPlan<'a>, base: &Base, stop: &Stop, escapes_names: bool) -> Vec<Forecast<'a>> {
    let host = planned.host;
    let mut known = (!host.enabled).then_some(Reason::Disabled);
    let mut forecasts = Vec::with_capacity(planned.paths.len());
    for path in &planned.paths {
        if stop.signal().is_some() {
            known = Some(Reason::Interrupted);
        }
        let request = Request { max_delete: path.max_delete, escapes_names };
        let answer = match known {
            Some(reason) => Answer::without_rsync(reason, Vec::new()),
            None => ask(host, path.job, request, base, stop),
        };
        if concerns_whole_host(answer.reason) {
            known = Some(answer.reason);
        }
        forecasts.push(Forecast {
            host,
            job: path.job,
            request,
            status: status_of(host, answer.reason),
            reason: answer.reason,
            stats: answer.stats,
            messages: answer.messages,
        });
    }
    forecasts
}

/// What rsync answered.
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

fn ask(host: &Host, job: &PathJob, request: Request, base: &Base, stop: &Stop) -> Answer {
    let (directory, missing): (OwnedFd, PathBuf) = match base.nearest(&job.destination) {
        Ok(found) => found,
        Err(error) => return Answer::without_rsync(Reason::Other, vec![ErrorChain(&error).to_string()]),
    };
    let mut rsync = Command::new("rsync");
    rsync.args(arguments(host, job, request, &missing)).env_clear().envs(command::ENVIRONMENT);
    let inherit = Inherit { directory: Some(directory.as_fd()), lock: None };
    let limits = Limits { total: job.path_timeout, idle: Some(job.io_timeout) };
    let mut output = OutputParser::default();
    let mut messages = Messages::default();
    let ending = process::run(&mut rsync, inherit, limits, stop.as_fd(), |stream, bytes| match stream {
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
            let reason = within_budget(reason, stats.as_ref(), request.max_delete);
            Answer { reason, stats, messages: messages.kept }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message =
                "cannot start rsync: it is not installed on this machine; install the package rsync";
            Answer::without_rsync(Reason::RsyncMissing, vec![message.to_owned()])
        }
        Err(error) => Answer::without_rsync(Reason::Other, vec![format!("cannot run rsync: {error}")]),
    }
}

/// The arguments of the backup, with `--dry-run`.
///
/// Without `--max-delete`, so that everything is counted that would go. A log or a batch file of the user's
/// would be written by a dry run too. What is missing of the destination stands in its last argument: rsync
/// makes nothing in a dry run, and knows an absent destination for an empty one.
fn arguments(host: &Host, job: &PathJob, request: Request, missing: &Path) -> Vec<OsString> {
    let mut arguments = command::arguments(host, job, Request { max_delete: None, ..request });
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
fn within_budget(reason: Reason, stats: Option<&TransferStats>, max_delete: Option<u64>) -> Reason {
    let (Some(stats), Some(limit)) = (stats, max_delete) else { return reason };
    match reason {
        Reason::Ok | Reason::VanishedFiles if stats.files_deleted > limit => {
            if stats.files <= 1 {
                Reason::EmptySource
            } else {
                Reason::MaxDelete
            }
        }
        reason => reason,
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
        let request = Request { max_delete: Some(7), ..Request::default() };
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
        let of = |stats, limit| within_budget(Reason::Ok, Some(&stats), limit);
        assert_eq!(of(stats(100, 50), Some(50)), Reason::Ok);
        assert_eq!(of(stats(100, 51), Some(50)), Reason::MaxDelete);
        assert_eq!(of(stats(1, 51), Some(50)), Reason::EmptySource);
        assert_eq!(of(stats(1, 51), None), Reason::Ok);
        assert_eq!(within_budget(Reason::Timeout, Some(&stats(1, 51)), Some(1)), Reason::Timeout);
    }
}
