//! Runs one script, here or on the source, and says how it ended.

use std::io;
use std::process::Command;
use std::time::Duration;

use backup_common::config::{Access, Host, SshTarget};
use backup_common::reason::Reason;
use rustix::fd::BorrowedFd;

use super::Side;
use super::preface::{self, Variables};
use super::tail::Tail;
use crate::process::{self, Cut, Ending, Feed, Limits, Stream};
use crate::rsync::command;
use crate::rsync::messages::Messages;

/// Exit code of a pre-script for "not now" (sysexits.h, `EX_TEMPFAIL`).
const NOT_NOW: i32 = 75;
/// Printed by the other side before the first line of the script; what came without it did not come from it.
const BEGUN: &str = "backup-script-begins";
/// How much of an output is searched for it; a login shell may print something before.
const SEARCHED_BYTES: usize = 16 * 1024;

/// What is to run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The host that it is about.
    pub host: &'a Host,
    /// Where it runs.
    pub side: Side,
    /// Its key and name, such as `pre_script stop_apache`.
    pub title: &'a str,
    /// What is in it.
    pub content: &'a [u8],
    /// Longest time; zero is no limit.
    pub timeout: Duration,
    /// Exit code 75 means "not now".
    pub may_decline: bool,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `ok`, `hook_skip`, `hook_failed`, `hook_timeout`, `interrupted`, or why the host was not reached.
    pub reason: Reason,
    /// It may have done something.
    pub begun: bool,
    /// What happened, with the last lines of its output; empty when all is well.
    pub messages: Vec<String>,
}

/// Runs a script to its end; `stop`, where given, ends it early.
pub fn run(job: Job<'_>, variables: &Variables, stop: Option<BorrowedFd<'_>>) -> Ended {
    let remote = match &job.host.access {
        Access::Ssh(target) if job.side == Side::Source => Some(target),
        _ => None,
    };
    let (mut command, text) = match remote {
        Some(target) => {
            let assignments = preface::assignments(variables);
            let begin = format!("echo {BEGUN}; {assignments}").into_bytes();
            (remote_command(target, job.host.connect_timeout), [&begin, job.content].concat())
        }
        None => (Command::new("bash"), job.content.to_vec()),
    };
    command.env_clear().envs(command::ENVIRONMENT).current_dir("/");
    let feed = if remote.is_some() {
        Feed::Input(&text)
    } else {
        command.envs(variables);
        Feed::Argument(&text)
    };
    let mut heard = Heard::default();
    let limits = Limits { total: Some(job.timeout).filter(|limit| !limit.is_zero()), idle: None };
    match process::run_fed(&mut command, feed, limits, stop, |stream, bytes| heard.push(stream, bytes)) {
        Ok(ending) => heard.ended(job, ending, remote.is_some()),
        Err(error) => Ended {
            reason: Reason::HookFailed,
            begun: false,
            messages: vec![match error.kind() {
                io::ErrorKind::NotFound => {
                    let program = if remote.is_some() { "ssh" } else { "bash" };
                    format!("cannot run {}: {program} is not installed on this machine", job.title)
                }
                _ => format!("cannot run {}: {error}", job.title),
            }],
        },
    }
}

/// ssh with the runner's own options; the other side's shell gets two plain words and nothing of ours to interpret.
fn remote_command(target: &SshTarget, connect_timeout: Duration) -> Command {
    let words = command::ssh_arguments(target, connect_timeout);
    let (program, arguments) = words.split_first().map_or(("ssh", &words[..]), |(first, rest)| (first, rest));
    let mut command = Command::new(program);
    command.args(arguments).args(["--", &target.hostname, "bash", "-s"]);
    command
}

/// What came from a script.
#[derive(Debug, Default)]
struct Heard {
    tail: Tail,
    beginning: Vec<u8>,
    /// Only for why ssh did not get there.
    errors: Messages,
}

impl Heard {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.tail.push(bytes);
        match stream {
            Stream::Output => {
                let room = SEARCHED_BYTES - self.beginning.len();
                self.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Stream::Error => self.errors.push(bytes, ""),
        }
    }

    fn ended(mut self, job: Job<'_>, ending: Ending, remote: bool) -> Ended {
        self.errors.finish("");
        let begun =
            !remote || self.beginning.split(|byte| *byte == b'\n').any(|line| line == BEGUN.as_bytes());
        let reason = reason(&ending, begun, job.may_decline, &self.errors);
        if reason == Reason::Ok {
            return Ended { reason, begun, messages: Vec::new() };
        }
        // Without an exit code nobody knows how far it came.
        let may_have_begun = begun || ending.code.is_none();
        let mut messages = vec![describe(job, &ending, reason, begun)];
        messages.extend(self.tail.lines().into_iter().filter(|line| line != BEGUN));
        Ended { reason, begun: may_have_begun, messages }
    }
}

/// Why a script ended as it did; what it printed only says why ssh did not get there.
fn reason(ending: &Ending, begun: bool, may_decline: bool, errors: &Messages) -> Reason {
    const AWAY: [Reason; 6] = [
        Reason::HostKeyChanged,
        Reason::HostKeyUnknown,
        Reason::NameNotFound,
        Reason::AuthFailed,
        Reason::ConnectionRefused,
        Reason::Unreachable,
    ];
    match (ending.cut, ending.code) {
        (Some(Cut::Stopped), _) => Reason::Interrupted,
        (Some(Cut::Overtime | Cut::Idle), _) => Reason::HookTimeout,
        (None, Some(0)) if begun => Reason::Ok,
        (None, Some(NOT_NOW)) if begun && may_decline => Reason::HookSkip,
        // ssh's own exit code for all that it could not do (ssh(1), EXIT STATUS).
        (None, Some(255)) if !begun => AWAY
            .into_iter()
            .chain([Reason::ConnectionLost])
            .find(|reason| errors.hints.contains(reason))
            .unwrap_or(Reason::Unreachable),
        (None, Some(255)) if errors.hints.contains(&Reason::ConnectionLost) => Reason::ConnectionLost,
        _ => Reason::HookFailed,
    }
}

fn describe(job: Job<'_>, ending: &Ending, reason: Reason, begun: bool) -> String {
    let title = job.title;
    match (reason, ending.code, ending.signal) {
        (Reason::HookTimeout, ..) => {
            format!("{title} was ended after {} s (hook_timeout)", job.timeout.as_secs_f64())
        }
        (Reason::Interrupted, ..) => format!("{title} was ended, because the run was stopped"),
        (Reason::HookSkip, ..) => format!("{title} said: not now (exit code {NOT_NOW})"),
        (Reason::HookFailed, Some(code), _) if !begun => {
            format!(
                "{title} did not run: the host answered with exit code {code} and started no bash -s; is it installed, and may this key run it?"
            )
        }
        (Reason::HookFailed, Some(code), _) => format!("{title} failed with exit code {code}"),
        (_, _, Some(signal)) => format!("{title} was ended by signal {signal}"),
        (reason, ..) => format!("{title} could not be run: {}", reason.cause()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Ending {
        Ending { code: Some(code), signal: None, cut: None }
    }

    fn errors(text: &str) -> Messages {
        let mut messages = Messages::default();
        messages.push(text.as_bytes(), "");
        messages.finish("");
        messages
    }

    #[test]
    fn the_exit_code_decides() {
        let refused = errors("ssh: connect to host a port 22: Connection refused\n");
        for (code, begun, may_decline, expected) in [
            (0, true, true, Reason::Ok),
            (1, true, true, Reason::HookFailed),
            (75, true, true, Reason::HookSkip),
            (75, true, false, Reason::HookFailed),
            (255, true, true, Reason::HookFailed),
            (0, false, true, Reason::HookFailed),
            (75, false, true, Reason::HookFailed),
            (127, false, true, Reason::HookFailed),
        ] {
            let found = reason(&exited(code), begun, may_decline, &errors(""));
            assert_eq!(found, expected, "{code} {begun} {may_decline}");
        }
        assert_eq!(reason(&exited(255), false, true, &refused), Reason::ConnectionRefused);
        assert_eq!(reason(&exited(255), false, true, &errors("")), Reason::Unreachable);
        assert_eq!(reason(&exited(255), true, true, &refused), Reason::HookFailed, "the script's own ssh");
        assert_eq!(reason(&exited(0), true, true, &refused), Reason::Ok);
    }

    #[test]
    fn a_cut_tells_why() {
        let cut = |cut| Ending { code: None, signal: Some(15), cut: Some(cut) };
        let of = |ending| reason(&ending, true, true, &errors(""));
        assert_eq!(of(cut(Cut::Overtime)), Reason::HookTimeout);
        assert_eq!(of(cut(Cut::Stopped)), Reason::Interrupted);
        assert_eq!(of(Ending { code: None, signal: Some(9), cut: None }), Reason::HookFailed);
    }
}
