//! What the directories in the backup take.

use jiff::Timestamp;

use crate::event::sizes::{ExclusiveBytes, QuotaBytes, Scan, SizesEvent, Trouble, VolumeBytes};
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
    /// What its quota group says, where it has one.
    pub quota: Option<QuotaBytes>,
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

    /// What would be free again without it: from its quota group, which is as fresh as its size, or from
    /// the last look at its extents.
    pub fn exclusive_bytes(&self) -> Option<u64> {
        let of_quota = self.quota.map(|quota| quota.exclusive_bytes);
        of_quota.or_else(|| Some(self.exclusive?.exclusive_bytes))
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
            SizesEvent::Quota(_, bytes) => self.quota = *bytes,
            SizesEvent::Volume(_) | SizesEvent::Scanned(_) | SizesEvent::Differences(_) => {}
        }
    }
}
