//! One record for each thing that happened: the only wire format between the programs.
//!
//! A record is one line of JSON in the stats log. Its version `v` changes only when a field changes
//! its meaning; readers accept fields they do not know, and skip lines they can not read.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::error_kind::ErrorCounts;
use crate::reason::Reason;
use crate::record_wire;
pub use crate::record_wire::Spare;
use crate::status::Status;

/// The version that is written, and the highest that is read.
pub const VERSION: u64 = 1;

/// Something that happened at a time in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it happened, to the microsecond.
    pub time: Timestamp,
    /// The run it belongs to: systemd's `INVOCATION_ID`, or 32 random hex digits.
    pub run_id: String,
    /// What happened.
    pub body: Body,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A run began.
    RunStarted(RunStarted),
    /// A run ended before it began.
    RunRefused(RunRefused),
    /// A path began.
    PathStarted(PathStarted),
    /// A path is under way.
    PathProgress(PathProgress),
    /// A path ended.
    PathFinished(Box<PathFinished>),
    /// All paths of a host ended.
    HostFinished(HostFinished),
    /// A decision about a snapshot.
    Snapshot(Snapshot),
    /// A run ended.
    RunFinished(RunFinished),
}

/// How many of each status.
pub type StatusCounts = BTreeMap<Status, u64>;

/// Who started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A systemd timer.
    Timer,
    /// systemd, but no timer.
    Service,
    /// A person.
    Manual,
}

/// `run_started`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStarted {
    /// Who started it.
    pub trigger: Trigger,
    /// Process id of the runner.
    pub pid: u32,
    /// Version of the runner.
    pub version: String,
    /// Hosts that will be backed up.
    pub hosts: u64,
    /// Their paths.
    pub paths: u64,
    /// Version of the rsync on the backup server; records of earlier versions lack it.
    pub rsync_version: Option<String>,
}

/// `run_refused`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRefused {
    /// `locked`, `config_invalid`, `base_missing`, `no_space` or `rsync_missing`.
    pub reason: Reason,
    /// In words, with the path that it is about.
    pub message: String,
}

/// `path_started`, once for each try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStarted {
    /// Host as configured.
    pub host: String,
    /// Path as configured.
    pub path: String,
    /// Destination on this machine.
    pub dest: String,
}

/// `path_progress`
#[derive(Clone, Debug, PartialEq)]
pub struct PathProgress {
    /// Host as configured.
    pub host: String,
    /// Path as configured.
    pub path: String,
    /// Bytes transferred so far.
    pub bytes: u64,
    /// Share of the known file list that is done, 0 to 100.
    pub percent: f64,
    /// Files transferred so far.
    pub files: u64,
}

/// `path_finished`, once for each path in a run.
///
/// A try that is followed by another has no record of its own; this one tells of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct PathFinished {
    /// Host as configured.
    pub host: String,
    /// Path as configured.
    pub path: String,
    /// Destination on this machine.
    pub dest: String,
    /// How it ended.
    pub status: Status,
    /// Why it ended so.
    pub reason: Reason,
    /// rsync's exit code, if it ran and exited.
    pub exit_code: Option<i32>,
    /// The signal that ended rsync.
    pub signal: Option<i32>,
    /// How often it was begun; 0 where a look at the host, or another path of it, had shown that it is in vain.
    pub attempts: u64,
    /// When the last try began.
    pub started: Timestamp,
    /// How long the last try took with its scripts, by a clock that is never set.
    pub duration_seconds: f64,
    /// rsync's own figures, if it came so far.
    pub stats: Option<TransferStats>,
    /// Errors seen.
    pub error_count: u64,
    /// Warnings seen.
    pub warning_count: u64,
    /// The errors and warnings by kind.
    pub errors: ErrorCounts,
    /// The first ten, cleaned, 500 bytes each.
    pub messages: Vec<String>,
}

/// The figures of rsync's `--stats`, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TransferStats {
    /// Files, directories and links on the source.
    pub files: u64,
    /// New ones in the destination.
    pub files_created: u64,
    /// Deleted in the destination.
    pub files_deleted: u64,
    /// Regular files whose content was transferred.
    pub files_transferred: u64,
    /// Size of all files on the source.
    pub source_size_bytes: u64,
    /// Size of the files that were transferred.
    pub transferred_size_bytes: u64,
    /// Data that crossed as such.
    pub literal_bytes: u64,
    /// Data that was found in the destination's older version.
    pub matched_bytes: u64,
    /// Bytes that rsync sent.
    pub sent_bytes: u64,
    /// Bytes that rsync received.
    pub received_bytes: u64,
    /// Sent and received bytes per second of rsync's own time.
    pub transfer_rate_bytes_per_second: f64,
    /// Size on the source divided by what crossed the wire.
    pub speedup_ratio: f64,
}

/// `host_finished`, once for each host in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFinished {
    /// Host as configured.
    pub host: String,
    /// The worst of its paths and its own scripts.
    pub status: Status,
    /// The reason of the worst.
    pub reason: Reason,
    /// From the beginning of its first path to the end of its last, with the wait before another try.
    pub duration_seconds: f64,
    /// How many paths ended how.
    pub paths: StatusCounts,
}

/// `snapshot`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Tag of the schedule.
    pub schedule: String,
    /// What was done.
    pub action: SnapshotAction,
    /// Name of the snapshot, if there is one.
    pub name: Option<String>,
    /// Every path was successful.
    pub complete: Option<bool>,
    /// `host:path` of what was missing.
    pub missing: Vec<String>,
    /// In words.
    pub message: Option<String>,
}

/// What was done about a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotAction {
    /// A new one was taken.
    Created,
    /// The last one is too young.
    NotDue,
    /// An old one was deleted.
    Deleted,
    /// An old one would have been deleted, and something spoke against it.
    Kept,
    /// Something went wrong.
    Failed,
}

/// `run_finished`
#[derive(Clone, Debug, PartialEq)]
pub struct RunFinished {
    /// The worst of its hosts.
    pub status: Status,
    /// The reason of the worst.
    pub reason: Reason,
    /// How long it took.
    pub duration_seconds: f64,
    /// How many hosts ended how.
    pub hosts: StatusCounts,
    /// How many paths ended how.
    pub paths: StatusCounts,
}

/// Why a line is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not one JSON object with fields of the right types.
    #[error("cannot read the line as a record: {0}")]
    Malformed(String),
    /// Written by a later version that changed a meaning.
    #[error("cannot read a record of version {0}")]
    Version(u64),
    /// A type that this version does not know.
    #[error("cannot read a record of type {0}")]
    Type(String),
    /// A field that the type needs.
    #[error("cannot read the record: {0} is missing or has an unknown value")]
    Field(&'static str),
}

impl DecodeError {
    /// Every name that [`Self::name`] can give.
    pub const NAMES: [&'static str; 4] = ["malformed", "version", "type", "field"];

    /// A short name from a closed list, for a counter's label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Version(_) => "version",
            Self::Type(_) => "type",
            Self::Field(_) => "field",
        }
    }
}

impl Record {
    /// The record as one line of JSON, with its newline.
    pub fn encode(&self) -> String {
        record_wire::encode(self)
    }

    /// Reads a line without its newline.
    ///
    /// # Errors
    /// Why the line is not a record; the reader skips it, counts it and goes on.
    pub fn decode(line: &[u8]) -> Result<Self, DecodeError> {
        record_wire::decode(line, &mut Spare::default())
    }

    /// The same, in the memory of records that nobody needs any more.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_into(line: &[u8], spare: &mut Spare) -> Result<Self, DecodeError> {
        record_wire::decode(line, spare)
    }
}

impl Body {
    /// The name of its type on the wire.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::RunStarted(_) => "run_started",
            Self::RunRefused(_) => "run_refused",
            Self::PathStarted(_) => "path_started",
            Self::PathProgress(_) => "path_progress",
            Self::PathFinished(_) => "path_finished",
            Self::HostFinished(_) => "host_finished",
            Self::Snapshot(_) => "snapshot",
            Self::RunFinished(_) => "run_finished",
        }
    }

    /// Whether the record must be on the disk before the writer goes on: the ends of paths and runs.
    pub fn must_last(&self) -> bool {
        matches!(self, Self::PathFinished(_) | Self::RunFinished(_) | Self::RunRefused(_))
    }
}

/// A closed list with a name on the wire for each.
macro_rules! wire_names {
    ($type:ident: $($variant:ident $name:literal),*) => {
        impl $type {
            /// The name in the record.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The entry of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.name())
            }
        }
    };
}

wire_names!(Trigger: Timer "timer", Service "service", Manual "manual");
wire_names!(SnapshotAction: Created "created", NotDue "not_due", Deleted "deleted", Kept "kept", Failed "failed");
