//! What rsync's exit code means; text only refines the reason.
//!
//! The exit codes are those of rsync(1), section EXIT VALUES; 126, 127 and 255 come from the remote
//! shell and from ssh.

use super::messages::Messages;
use crate::reason::Reason;
use crate::record::TransferStats;

/// Reasons that a broken start can have; the first one that the messages speak for counts.
const CONNECTION: &[Reason] = &[
    Reason::HostKeyChanged,
    Reason::HostKeyUnknown,
    Reason::NameNotFound,
    Reason::AuthFailed,
    Reason::ConnectionRefused,
    Reason::Unreachable,
    Reason::RsyncMissing,
];

/// Reasons that the destination's file system can give.
const DESTINATION: &[Reason] = &[Reason::NoSpace, Reason::ReadOnly];

/// The reason of an end with this exit code; its status follows from it.
pub fn reason(code: i32, stats: Option<&TransferStats>, messages: &Messages) -> Reason {
    let hinted = |among: &[Reason]| among.iter().copied().find(|reason| messages.hints.contains(reason));
    match code {
        0 => Reason::Ok,
        1 => Reason::RsyncUsage,
        2 => Reason::Protocol,
        3 | 11 => hinted(DESTINATION).or(hinted(&[Reason::PermissionDenied])).unwrap_or(Reason::Other),
        // 10 is a socket, 12 the protocol's stream: both end so when the other side goes away.
        10 | 12 | 255 => hinted(CONNECTION).or(hinted(DESTINATION)).unwrap_or_else(|| stream(code, messages)),
        19 | 20 => Reason::Killed,
        23 => partial(stats, messages),
        24 => Reason::VanishedFiles,
        25 if stats.is_some_and(|stats| stats.files <= 1) => Reason::EmptySource,
        25 => Reason::MaxDelete,
        30 | 35 => Reason::Timeout,
        126 | 127 => Reason::RsyncMissing,
        _ => Reason::Other,
    }
}

fn stream(code: i32, messages: &Messages) -> Reason {
    match code {
        12 if !messages.hints.contains(&Reason::ConnectionLost) => Reason::Protocol,
        10 | 12 => Reason::ConnectionLost,
        _ if messages.hints.contains(&Reason::ConnectionLost) => Reason::ConnectionLost,
        _ => Reason::Unreachable,
    }
}

/// 23 is a warning only when the source was listed and each error names a single file below it.
fn partial(stats: Option<&TransferStats>, messages: &Messages) -> Reason {
    let listed = stats.is_some_and(|stats| stats.files > 0);
    if listed && !messages.whole_source && messages.error_count + messages.warning_count > 0 {
        return Reason::PartialTransfer;
    }
    let among = [Reason::NoSpace, Reason::ReadOnly, Reason::PermissionDenied, Reason::SourceMissing];
    among.into_iter().find(|reason| messages.hints.contains(reason)).unwrap_or(if listed {
        Reason::Other
    } else {
        Reason::SourceMissing
    })
}
