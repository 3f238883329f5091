//! Everything that can happen to the exporter, as one closed list.
//!
//! Inputs send these, only the loop in [`crate::serve`] receives them, and only
//! [`State::apply`](crate::state::State::apply) gives them a meaning.

mod process;
mod session;
pub mod sizes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use backup_common::config::Config;
use backup_common::record::{DecodeError, Record};
use jiff::Timestamp;

use crate::schedule::Schedule;
pub use process::ProcessSample;
pub use session::{LogLine, SessionEnd, SessionEvent, SessionId, Verdict};

pub use crate::push::health::PushHealth;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The configuration was read, at the start or again.
    Configured(Listing),
    /// The configuration was read without errors at this time.
    ConfigLoaded(Timestamp),
    /// The configuration was read again and has errors; the last good one stays in use.
    ConfigRejected,
    /// An input can read its source.
    InputUp(Input),
    /// An input can not read its source; it keeps trying.
    InputDown(Input),
    /// A record of the runner.
    Recorded(Input, Record),
    /// An input passed over something.
    Skipped(Input, Skip),
    /// The timer that starts the runs, if there is one.
    Scheduled(Option<Schedule>),
    /// The configured snapshots, read together with [`Self::Configured`].
    SnapshotsConfigured(SnapshotListing),
    /// The snapshots in their directory; none if it can not be read.
    SnapshotsSeen(Option<SnapshotCounts>),
    /// The present, now and then: a timer that does not fire is seen by nothing else.
    Clock(Timestamp),
    /// Something about the stored sizes.
    Sizes(sizes::SizesEvent),
    /// An input has handed over everything that was there when it last looked; the stats input says so
    /// after each look, which tells what is not in the log from what was not read yet.
    CaughtUp(Input),
    /// Something that the journal tells of the service.
    Session(SessionEvent),
    /// The machine was started at this time; what ran before does not run any more.
    Booted(Timestamp),
    /// What the exporter itself uses of the machine.
    Process(ProcessSample),
    /// The process that started the run of this id is gone.
    RunnerGone(String),
    /// How the push to InfluxDB is doing now.
    Pushed(PushHealth),
}

/// The configured hosts and their paths: only these have series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, BTreeSet<String>>);

impl From<&Config> for Listing {
    fn from(config: &Config) -> Self {
        let paths =
            |host: &backup_common::config::Host| host.paths.iter().map(|job| job.path.to_string()).collect();
        Self(config.hosts.iter().map(|host| (host.name.to_string(), paths(host))).collect())
    }
}

/// Snapshots by the type of their schedule.
pub type SnapshotCounts = BTreeMap<String, SnapshotCount>;

/// The snapshots of one schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCount {
    /// In whose run every path was successful.
    pub complete: u64,
    /// The others.
    pub incomplete: u64,
    /// When the newest complete one was taken.
    pub newest: Option<Timestamp>,
    /// When the oldest complete one was taken.
    pub oldest: Option<Timestamp>,
}

impl SnapshotCount {
    /// Counts one.
    pub fn add(&mut self, time: Timestamp, complete: bool) {
        if complete {
            self.complete += 1;
            self.newest = self.newest.max(Some(time));
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        } else {
            self.incomplete += 1;
        }
    }
}

/// The configured schedules of snapshots: only these have series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotListing {
    /// Where they are kept, if any are configured.
    pub directory: Option<PathBuf>,
    /// What each schedule asks for, by its type.
    pub schedules: BTreeMap<String, SnapshotRule>,
}

/// What a schedule of snapshots asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRule {
    /// Complete ones that are kept; 0 keeps all.
    pub limit: u64,
    /// Least time between two.
    pub interval: Duration,
}

impl From<&Config> for SnapshotListing {
    fn from(config: &Config) -> Self {
        let schedules = config.snapshots.iter().flat_map(|snapshots| &snapshots.schedules);
        Self {
            directory: config.snapshots.as_ref().map(|snapshots| snapshots.directory.clone()),
            schedules: schedules
                .map(|schedule| {
                    let rule = SnapshotRule { limit: schedule.count, interval: schedule.interval };
                    (schedule.tag.clone(), rule)
                })
                .collect(),
        }
    }
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// The stats log.
    Stats,
    /// The systemd journal.
    Journal,
    /// The timer that starts the runs.
    Timer,
    /// The directory of the snapshots.
    Snapshots,
}

impl Input {
    /// Every input, in the order of their series.
    pub const ALL: [Self; 4] = [Self::Stats, Self::Journal, Self::Timer, Self::Snapshots];

    /// The name in labels and log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Journal => "journal",
            Self::Timer => "timer",
            Self::Snapshots => "snapshots",
        }
    }

    /// Whether counters are rebuilt from it, so that nothing can be shown before it has caught up; the others
    /// are waited for only as long as that is short.
    pub const fn is_replayed(self) -> bool {
        matches!(self, Self::Stats | Self::Journal)
    }
}

/// Why something was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Not one JSON object with fields of the right types.
    Malformed,
    /// A record of a later version.
    Version,
    /// A record of an unknown type.
    Type,
    /// A record that lacks a field.
    Field,
    /// A line longer than [`backup_common::lines::LINE_BYTES`].
    TooLong,
    /// The unfinished last line of a file that went away.
    Torn,
    /// A file that was cut or overwritten in place: what it held beyond the last read is gone.
    Truncated,
    /// A part of the log or of the journal that can not be read.
    Damaged,
    /// An older part of the log beyond what is read at the start.
    TooOld,
}

impl Skip {
    /// Every reason, in the order of their series.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Version,
        Self::Type,
        Self::Field,
        Self::TooLong,
        Self::Torn,
        Self::Truncated,
        Self::Damaged,
        Self::TooOld,
    ];

    /// The name in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Type => "type",
            Self::Field => "field",
            Self::TooLong => "too_long",
            Self::Torn => "torn",
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::TooOld => "too_old",
        }
    }
}

impl From<&DecodeError> for Skip {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Malformed(_) => Self::Malformed,
            DecodeError::Version(_) => Self::Version,
            DecodeError::Type(_) => Self::Type,
            DecodeError::Field(_) => Self::Field,
        }
    }
}
