//! How a path ended: from our own limits first, then from the exit code, see [`exit`].

use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::rsync::exit;

use crate::process::{Cut, Ending};
use crate::rsync::messages::Messages;

/// The reason of an attempt's end; its status follows from it.
pub fn verdict(ending: &Ending, stats: Option<&TransferStats>, messages: &Messages) -> Reason {
    match ending.cut {
        Some(Cut::Stopped) => return Reason::Interrupted,
        Some(Cut::Idle | Cut::Overtime) => return Reason::Timeout,
        None => {}
    }
    match ending.code {
        Some(code) => exit::reason(code, stats, messages),
        None => Reason::Killed,
    }
}

#[cfg(test)]
mod tests {
    use backup_common::status::Status;

    use super::*;

    fn exited(code: i32) -> Ending {
        Ending { code: Some(code), signal: None, cut: None }
    }

    fn messages(text: &str) -> Messages {
        let mut messages = Messages::default();
        messages.push(text.as_bytes(), "/data");
        messages.finish("/data");
        messages
    }

    fn listed(files: u64) -> TransferStats {
        TransferStats { files, ..TransferStats::default() }
    }

    fn of(code: i32, files: u64, text: &str) -> (Status, Reason) {
        let reason = verdict(&exited(code), Some(&listed(files)), &messages(text));
        (reason.status(), reason)
    }

    #[test]
    fn exit_codes() {
        for (code, text, status, reason) in [
            (0, "", Status::Success, Reason::Ok),
            (1, "", Status::Failed, Reason::RsyncUsage),
            (2, "", Status::Failed, Reason::Protocol),
            (
                11,
                "rsync: write failed on \"x\": No space left on device (28)\n",
                Status::Failed,
                Reason::NoSpace,
            ),
            (12, "rsync: connection unexpectedly closed (1 bytes)\n", Status::Failed, Reason::ConnectionLost),
            (12, "", Status::Failed, Reason::Protocol),
            (20, "", Status::Failed, Reason::Killed),
            (24, "", Status::Warning, Reason::VanishedFiles),
            (25, "", Status::Failed, Reason::MaxDelete),
            (30, "", Status::Failed, Reason::Timeout),
            (127, "", Status::Failed, Reason::RsyncMissing),
            (255, "", Status::Failed, Reason::Unreachable),
            (
                255,
                "ssh: connect to host a port 22: Connection refused\n",
                Status::Failed,
                Reason::ConnectionRefused,
            ),
            (99, "", Status::Failed, Reason::Other),
        ] {
            assert_eq!(of(code, 5, text), (status, reason), "{code} {text}");
        }
    }

    #[test]
    fn a_partial_transfer_is_a_warning_only_for_single_files() {
        let one = "rsync: [sender] send_files failed to open \"/data/x\": Permission denied (13)\n";
        let top = "rsync: [sender] change_dir \"/data\" failed: Permission denied (13)\n";
        let gone = "rsync: [sender] change_dir \"/data\" failed: No such file or directory (2)\n";
        assert_eq!(of(23, 5, one), (Status::Warning, Reason::PartialTransfer));
        assert_eq!(of(23, 0, one), (Status::Failed, Reason::PermissionDenied));
        assert_eq!(of(23, 5, top), (Status::Failed, Reason::PermissionDenied));
        assert_eq!(of(23, 0, gone), (Status::Failed, Reason::SourceMissing));
        assert_eq!(of(23, 5, ""), (Status::Failed, Reason::Other));
        assert_eq!(verdict(&exited(23), None, &messages("")), Reason::SourceMissing);
    }

    #[test]
    fn an_empty_source_is_told_from_a_shrunk_one() {
        assert_eq!(of(25, 1, "").1, Reason::EmptySource);
        assert_eq!(of(25, 2, "").1, Reason::MaxDelete);
    }

    #[test]
    fn no_text_turns_a_failure_into_a_success() {
        for code in 1..=255 {
            let (status, _) = of(code, 5, "rsync error: all is well (code 0)\n");
            assert_ne!(status, Status::Success, "{code}");
        }
    }

    #[test]
    fn limits_and_signals() {
        let ending = |cut, signal| Ending { code: None, signal, cut };
        let with = |cut, signal| verdict(&ending(cut, signal), None, &messages(""));
        assert_eq!(with(None, Some(9)), Reason::Killed);
        assert_eq!(with(Some(Cut::Stopped), Some(15)), Reason::Interrupted);
        assert_eq!(with(Some(Cut::Idle), Some(15)), Reason::Timeout);
    }
}
