//! The kinds of errors that are counted for a path: one closed list.

use std::collections::BTreeMap;

/// What an error or warning line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Something may not be read or written.
    Permission,
    /// The connection could not be made or broke.
    Connection,
    /// The two sides did not understand each other.
    Protocol,
    /// Reading or writing failed below the file system's surface.
    Io,
    /// No space, no inodes, or over quota.
    Space,
    /// A file went away while it was transferred.
    Vanished,
    /// Anything else.
    Other,
}

/// How many of each kind; kinds that did not occur are absent.
pub type ErrorCounts = BTreeMap<ErrorKind, u64>;

impl ErrorKind {
    /// Every kind, in order.
    pub const ALL: [Self; 7] = [
        Self::Permission,
        Self::Connection,
        Self::Protocol,
        Self::Io,
        Self::Space,
        Self::Vanished,
        Self::Other,
    ];

    /// The name used in records and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Connection => "connection",
            Self::Protocol => "protocol",
            Self::Io => "io",
            Self::Space => "space",
            Self::Vanished => "vanished",
            Self::Other => "other",
        }
    }

    /// The kind of this name; a name that a later version added counts as [`Self::Other`].
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Other)
    }
}
