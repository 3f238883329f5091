//! Everything that can happen to the exporter, as one closed list.
//!
//! Inputs send these, only the loop in [`crate::serve`] receives them, and only
//! [`State::apply`](crate::state::State::apply) gives them a meaning.

use std::collections::{BTreeMap, BTreeSet};

use backup_common::config::Config;
use backup_common::record::{DecodeError, Record};

pub use crate::push::health::PushHealth;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The configuration was read, at the start or again.
    Configured(Listing),
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
    /// An input has handed over everything that was there when the exporter started.
    CaughtUp(Input),
    /// How the push to InfluxDB is doing now.
    Pushed(PushHealth),
}

/// The configured hosts and their paths: only these have series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, BTreeSet<String>>);

impl From<&Config> for Listing {
    fn from(config: &Config) -> Self {
        let paths =
            |host: &backup_common::config::Host| host.paths.iter().map(|job| job.path.clone()).collect();
        Self(config.hosts.iter().map(|host| (host.name.to_string(), paths(host))).collect())
    }
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// The stats log.
    Stats,
}

impl Input {
    /// Every input, in the order of their series.
    pub const ALL: [Self; 1] = [Self::Stats];

    /// The name in labels and log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats",
        }
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
}

impl Skip {
    /// Every reason, in the order of their series.
    pub const ALL: [Self; 7] =
        [Self::Malformed, Self::Version, Self::Type, Self::Field, Self::TooLong, Self::Torn, Self::Truncated];

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
