//! How well a path is backed up, as one word.

use backup_common::status::Status;
use jiff::Timestamp;

use crate::state::{Path, Phase, State};

/// A good copy of more than this many intervals is too old; the alert `BackupStale` has the same limit.
const LATE_INTERVALS: f64 = 2.5;

/// How well a path is backed up, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The last try failed.
    Failed,
    /// The last try was good, and too long ago.
    Late,
    /// There was no try yet.
    Never,
    /// In the backup, but for single files.
    Warning,
    /// The last run left it out.
    Skipped,
    /// In the backup.
    Good,
}

impl Standing {
    /// Every standing, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Failed, Self::Late, Self::Never, Self::Warning, Self::Skipped, Self::Good];

    /// The name in addresses, classes and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Never => "never",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Good => "success",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Late => "Too old",
            Self::Never => "Not yet",
            Self::Warning => "Warnings",
            Self::Skipped => "Skipped",
            Self::Good => "Backed up",
        }
    }

    /// A sign that can be told from the others without colour.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Failed => "✗",
            Self::Late => "⌛",
            Self::Never => "○",
            Self::Warning => "!",
            Self::Skipped => "–",
            Self::Good => "✓",
        }
    }

    /// Whether there is no good copy as new as there should be.
    pub fn is_bad(self) -> bool {
        self <= Self::Never
    }

    /// Of a path whose good copies may have an age; a try under way changes nothing before its end.
    pub fn of(path: &Path, now: Timestamp, allowed_seconds: Option<f64>) -> Self {
        let Some(last) = &path.last else { return Self::Never };
        match last.status {
            Status::Failed => Self::Failed,
            Status::Skipped => Self::Skipped,
            good => {
                let late = backed_up(path)
                    .zip(allowed_seconds)
                    .is_some_and(|(time, allowed)| now.duration_since(time).as_secs_f64() > allowed);
                match good {
                    _ if late => Self::Late,
                    Status::Warning => Self::Warning,
                    _ => Self::Good,
                }
            }
        }
    }
}

/// The age in seconds that good copies may have by the schedule, if one is known.
pub fn allowed_seconds(state: &State) -> Option<f64> {
    Some(state.expected().interval()?.1.as_secs_f64() * LATE_INTERVALS)
}

/// When a path last came into the backup, perhaps but for single files.
pub fn backed_up(path: &Path) -> Option<Timestamp> {
    let good = |status| matches!(status, Status::Success | Status::Warning);
    let newest = path.history.points().iter().rev().find(|point| good(point.status));
    newest.map(crate::state::Point::time).max(path.last_success)
}

/// How many paths stand how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: [usize; Standing::ALL.len()],
    /// Of these, the ones under way.
    pub running: usize,
}

impl Counts {
    /// Counts one.
    pub fn add(&mut self, standing: Standing, phase: Phase) {
        self.counts[standing as usize] += 1;
        self.running += usize::from(phase == Phase::Running);
    }

    /// How many stand so.
    pub fn of(&self, standing: Standing) -> usize {
        self.counts[standing as usize]
    }

    /// All.
    pub fn all(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Those without a good copy as new as there should be.
    pub fn bad(&self) -> usize {
        Standing::ALL.into_iter().filter(|standing| standing.is_bad()).map(|standing| self.of(standing)).sum()
    }

    /// The worst that there is.
    pub fn worst(&self) -> Option<Standing> {
        Standing::ALL.into_iter().find(|&standing| self.of(standing) > 0)
    }
}
