//! Pure: what the end of a session means, from systemd's result, the exit code and the text.
//!
//! Results are those of `Result=` in systemd.service(5)'s manager, exit codes from 200 on those of
//! "Process Exit Codes" in systemd.exec(5).

use backup_common::reason::Reason;
use backup_common::status::Status;

use super::text::Text;
use crate::event::Verdict;

/// What PID 1 said about the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitEnd {
    /// `UNIT_RESULT`, or one of the words below.
    pub result: String,
    /// Exit code of the first process that ended badly.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// The kernel or systemd-oomd killed a process for want of memory.
    pub out_of_memory: bool,
}

/// A good end.
pub const SUCCESS: &str = "success";
/// No end was logged, and the machine has been started again or another session has begun.
pub const LOST: &str = "lost";
/// The start job ended without the service being started: a failed dependency, for example.
pub const NOT_STARTED: &str = "not-started";
/// A condition was not met.
pub const SKIPPED: &str = "exec-condition";

/// SIGHUP, SIGINT, SIGTERM: somebody wanted it to stop, see signal(7).
const STOPS: [i32; 3] = [1, 2, 15];

/// What the session means; `ours` says that our runner ran in it, whose exit codes are its own.
pub fn verdict(end: &UnitEnd, ours: bool, text: &Text) -> Verdict {
    let failed = |reason| Verdict::Ended(Status::Failed, reason);
    match end.result.as_str() {
        SUCCESS => good_end(text),
        LOST => failed(Reason::Died),
        SKIPPED => Verdict::Ended(Status::Warning, Reason::NotStarted),
        NOT_STARTED | "resources" | "protocol" | "start-limit-hit" => failed(Reason::NotStarted),
        "oom-kill" => failed(Reason::OutOfMemory),
        "timeout" | "watchdog" => failed(Reason::Timeout),
        "signal" | "core-dump" => failed(match end.signal {
            _ if end.out_of_memory => Reason::OutOfMemory,
            Some(signal) if STOPS.contains(&signal) => Reason::Interrupted,
            _ => Reason::Killed,
        }),
        _ => match end.exit_code {
            // systemd.exec(5): the process could not be set up or started.
            Some(200..=245) => failed(Reason::NotStarted),
            Some(code) if ours => runner_end(code),
            Some(code) => foreign_end(code, text),
            None => failed(Reason::Other),
        },
    }
}

/// The text can make a good end worse, never a bad one better: the other way round, a remote host
/// could forge it.
fn good_end(text: &Text) -> Verdict {
    match text.worst() {
        Some((status, reason)) => Verdict::Ended(status, reason),
        None => Verdict::Ended(Status::Success, Reason::Ok),
    }
}

/// The exit codes of `backup-runner`, where its records are missing.
fn runner_end(code: i32) -> Verdict {
    match code {
        2 => Verdict::Ended(Status::Failed, Reason::ConfigInvalid),
        3 => Verdict::Ended(Status::Warning, Reason::Other),
        11 => Verdict::Refused(Reason::Locked),
        12 => Verdict::Ended(Status::Failed, Reason::BaseMissing),
        75 => Verdict::Nothing,
        129 | 130 | 143 => Verdict::Ended(Status::Failed, Reason::Interrupted),
        _ => Verdict::Ended(Status::Failed, Reason::Other),
    }
}

/// Any program's exit code: rsync's own where there is something of rsync in the text.
fn foreign_end(code: i32, text: &Text) -> Verdict {
    let reason = match text.worst() {
        Some((Status::Failed, reason)) => reason,
        _ if text.is_rsync() => text.reason(code),
        _ => Reason::Other,
    };
    // systemd calls the end a failure, so it is none that a warning says enough about, but for
    // rsync's own 23 and 24.
    let soft = matches!(code, 23 | 24) && reason.status() == Status::Warning;
    Verdict::Ended(if soft { Status::Warning } else { Status::Failed }, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(result: &str, exit_code: Option<i32>, signal: Option<i32>, ours: bool, lines: &[&str]) -> Verdict {
        let mut text = Text::default();
        for line in lines {
            text.push(line.as_bytes());
        }
        let end = UnitEnd { result: result.to_owned(), exit_code, signal, out_of_memory: false };
        verdict(&end, ours, &text)
    }

    #[test]
    fn results_of_systemd() {
        use Reason::{Died, Interrupted, Killed, NotStarted, Other, OutOfMemory, Timeout};
        for (result, code, signal, reason) in [
            ("signal", None, Some(9), Killed),
            ("core-dump", None, Some(11), Killed),
            ("signal", None, Some(15), Interrupted),
            ("oom-kill", None, Some(9), OutOfMemory),
            ("timeout", None, Some(15), Timeout),
            ("watchdog", None, Some(6), Timeout),
            ("exit-code", Some(203), None, NotStarted),
            ("resources", None, None, NotStarted),
            ("start-limit-hit", None, None, NotStarted),
            (NOT_STARTED, None, None, NotStarted),
            (LOST, None, None, Died),
            ("exit-code", Some(1), None, Other),
            ("a later word", None, None, Other),
        ] {
            assert_eq!(
                of(result, code, signal, false, &[]),
                Verdict::Ended(Status::Failed, reason),
                "{result}"
            );
        }
        assert_eq!(of(SKIPPED, None, None, false, &[]), Verdict::Ended(Status::Warning, NotStarted));
        assert_eq!(of(SUCCESS, None, None, false, &[]), Verdict::Ended(Status::Success, Reason::Ok));
    }

    #[test]
    fn exit_codes_of_the_runner() {
        let code = |code| of("exit-code", Some(code), None, true, &[]);
        assert_eq!(code(2), Verdict::Ended(Status::Failed, Reason::ConfigInvalid));
        assert_eq!(code(11), Verdict::Refused(Reason::Locked));
        assert_eq!(code(75), Verdict::Nothing);
        assert_eq!(code(203), Verdict::Ended(Status::Failed, Reason::NotStarted));
        for bad in (1..=255).filter(|code| ![3, 11, 75].contains(code)) {
            assert!(matches!(code(bad), Verdict::Ended(Status::Failed, _)), "{bad}");
        }
    }

    #[test]
    fn exit_codes_of_rsync_in_any_unit() {
        let refused = "ssh: connect to host a port 22: Connection refused";
        let last = "rsync error: unexplained error (code 255) at io.c(232) [Receiver=3.2.7]";
        let verdict = of("exit-code", Some(255), None, false, &[refused, last]);
        assert_eq!(verdict, Verdict::Ended(Status::Failed, Reason::ConnectionRefused));
        let vanished = "rsync warning: some files vanished before they could be transferred (code 24) at main.c(1865) [generator=3.2.7]";
        let soft = Verdict::Ended(Status::Warning, Reason::VanishedFiles);
        assert_eq!(of("exit-code", Some(24), None, false, &[vanished]), soft);
        // A script that does not look at rsync's exit code.
        assert_eq!(of(SUCCESS, None, None, false, &[vanished]), soft);
        let hidden = of(SUCCESS, None, None, false, &[refused, last]);
        assert_eq!(hidden, Verdict::Ended(Status::Failed, Reason::ConnectionRefused));
    }

    #[test]
    fn no_text_turns_a_bad_end_into_a_good_one() {
        let forged = "rsync error: all is well (code 0) at main.c(1) [sender=3.2.7]";
        for code in 1..=255 {
            let verdict = of("exit-code", Some(code), None, false, &[forged]);
            assert!(!matches!(verdict, Verdict::Ended(Status::Success, _)), "{code}");
        }
    }
}
