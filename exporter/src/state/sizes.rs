//! What the directories in the backup take.

use jiff::Timestamp;

use crate::event::sizes::{ExclusiveBytes, Scan, SizesEvent, Trouble, VolumeBytes};
use crate::size_history::{Point, Series};

/// What is known of all of them together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// The file system of the backup directory.
    pub volume: Option<VolumeBytes>,
    /// The last scan of all directories.
    pub scan: Option<Scan>,
    /// Directories of which incremental scans had known something else than a full one found.
    pub differences: u64,
}

/// What is known of one path.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// One figure a day.
    pub series: Series,
    /// What its own extents take, once that was asked for.
    pub exclusive: Option<ExclusiveBytes>,
    /// Why the last try gave no figure; none when it did.
    pub trouble: Option<Trouble>,
}

impl Stored {
    /// The last figure.
    pub fn newest(&self) -> Option<&Point> {
        self.series.newest()
    }

    /// When that was measured.
    pub fn measured(&self) -> Option<Timestamp> {
        Some(self.newest()?.time)
    }

    /// Takes in what concerns this path.
    pub(super) fn apply(&mut self, event: &SizesEvent) {
        match event {
            SizesEvent::Remembered(_, point) => self.series.take(*point),
            SizesEvent::Measured(_, point) => {
                self.series.take(*point);
                self.trouble = None;
            }
            SizesEvent::Unmeasured(_, trouble) => self.trouble = Some(*trouble),
            SizesEvent::Exclusive(_, bytes) => self.exclusive = Some(*bytes),
            SizesEvent::Volume(_) | SizesEvent::Scanned(_) | SizesEvent::Differences(_) => {}
        }
    }
}
