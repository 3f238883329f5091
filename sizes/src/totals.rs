//! The figures of a directory.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What a directory takes, with all that is below it.
///
/// A file with several names counts once in the bytes and with each name in `names`, as `du` and
/// `find` do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Bytes on disk, `st_blocks` in stat(2), directories included: `du -s --block-size=1`.
    pub disk_bytes: u64,
    /// Sizes of everything but directories, `st_size` in stat(2).
    pub apparent_bytes: u64,
    /// Sizes of the directories themselves.
    pub directory_bytes: u64,
    /// Names of everything but directories.
    pub names: u64,
    /// Directories, the reported one included.
    pub directories: u64,
}

impl Totals {
    /// `du -s --apparent-size --block-size=1` of coreutils before 9.2; later ones leave the sizes
    /// of directories out (`NEWS` of coreutils 9.2).
    pub fn apparent_with_directories(&self) -> u64 {
        self.apparent_bytes.saturating_add(self.directory_bytes)
    }

    /// All entries, the directory itself included: `find DIRECTORY | wc -l`.
    pub fn entries(&self) -> u64 {
        self.names.saturating_add(self.directories)
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.disk_bytes += other.disk_bytes;
        self.apparent_bytes += other.apparent_bytes;
        self.directory_bytes += other.directory_bytes;
        self.names += other.names;
        self.directories += other.directories;
    }
}
