//! A session: one activation of the service, as the journal tells it.

use std::sync::Arc;

use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use backup_common::status::Status;
use jiff::Timestamp;

/// systemd's invocation id, 32 hex digits; the runner takes it as the id of its run.
pub type SessionId = Arc<str>;

/// What the journal tells of a session, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// The first entry of a session.
    Started {
        /// Which session.
        id: SessionId,
        /// By the clock of the machine at that time.
        time: Timestamp,
    },
    /// A line of its log.
    Line {
        /// Which session.
        id: SessionId,
        /// The line.
        line: LogLine,
    },
    /// It is over; comes again when a line came late that changes what is known.
    Ended(Box<SessionEnd>),
}

/// A line of a session's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// By the clock of the machine at that time.
    pub time: Timestamp,
    /// syslog(3)'s priority, 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// The text, cleaned, at most [`backup_common::text::MESSAGE_BYTES`].
    pub text: String,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionEnd {
    /// Which session.
    pub id: SessionId,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; unknown when the machine went down under it.
    pub ended: Option<Timestamp>,
    /// How long it took, by the clock that is never set where it is known.
    pub duration_seconds: Option<f64>,
    /// How it ended.
    pub verdict: Verdict,
    /// What `UNIT_RESULT` says, such as `exit-code`, `signal`, `timeout` or `oom-kill`; `success` for a
    /// good end, `lost` when no end was logged.
    pub result: String,
    /// Exit code of the process that made it fail.
    pub exit_code: Option<i32>,
    /// The signal that ended this process.
    pub signal: Option<i32>,
    /// Sums of rsync's own figures in the text, if there are any.
    pub stats: Option<TransferStats>,
    /// rsync's and ssh's error lines in the text, by kind.
    pub errors: ErrorCounts,
    /// The first of these lines.
    pub messages: Vec<String>,
}

/// What a session means where no record of the runner speaks about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A run that ended so.
    Ended(Status, Reason),
    /// The runner was started and refused to run; what ran before stays as it is.
    Refused(Reason),
    /// The runner had nothing to do.
    Nothing,
}

impl Verdict {
    /// Why it ended so.
    pub fn reason(self) -> Reason {
        match self {
            Self::Ended(_, reason) | Self::Refused(reason) => reason,
            Self::Nothing => Reason::Ok,
        }
    }
}
