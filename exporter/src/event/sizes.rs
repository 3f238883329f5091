//! What can happen to the stored sizes.

use backup_common::status::Status;
use jiff::Timestamp;

use crate::size_history::Point;

/// Something about the sizes of the directories in the backup.
#[derive(Clone, Debug, PartialEq)]
pub enum SizesEvent {
    /// A figure of an earlier day, from the state directory.
    Remembered(Place, Point),
    /// A directory was measured.
    Measured(Place, Point),
    /// A directory could not be measured; its last figure stays.
    Unmeasured(Place, Trouble),
    /// What of a directory is its own, and what its files share.
    Exclusive(Place, ExclusiveBytes),
    /// What the quota group of a directory says; none when it has none any more.
    Quota(Place, Option<QuotaBytes>),
    /// The file system of the backup directory.
    Volume(VolumeBytes),
    /// All directories have had their turn.
    Scanned(Scan),
    /// A full scan found this many directories different from what incremental scans had known.
    Differences(u64),
}

/// A configured path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of its host.
    pub host: String,
    /// The path as configured.
    pub path: String,
}

/// Why a directory has no new figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It took longer than it may, or its volume does not answer.
    TimedOut,
    /// It is not there, or can not be read.
    Failed,
}

/// Figures of `btrfs filesystem du`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExclusiveBytes {
    /// What would be free again without the directory.
    pub exclusive_bytes: u64,
    /// What its files share, each extent once.
    pub set_shared_bytes: Option<u64>,
}

/// Figures of the quota group of a directory that is a subvolume of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaBytes {
    /// What it refers to, shared extents among it.
    pub referenced_bytes: u64,
    /// What would be free again without it.
    pub exclusive_bytes: u64,
}

/// Space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeBytes {
    /// All of it.
    pub size: u64,
    /// What is taken.
    pub used: u64,
    /// What an ordinary user can still take.
    pub free: u64,
}

/// A scan of all directories.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scan {
    /// When it ended.
    pub time: Timestamp,
    /// How long it took.
    pub duration_seconds: f64,
    /// [`Status::Success`] when every directory was measured.
    pub status: Status,
}
