//! How a path, a host or a run ended.

use std::fmt;

/// The four ways of ending, ordered from best to worst so that the verdict over several is their maximum.
///
/// `Skipped` stands between success and warning: nothing was lost, and nothing was saved either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Everything that was asked for is in the backup.
    Success,
    /// Not attempted, and that is not a failure: disabled, optional and away, or "not now".
    Skipped,
    /// In the backup, but for single files that are named.
    Warning,
    /// Not, or not wholly, in the backup.
    Failed,
}

impl Status {
    /// Every status, from best to worst.
    pub const ALL: [Self; 4] = [Self::Success, Self::Skipped, Self::Warning, Self::Failed];

    /// The name used in records, journal fields, metric labels and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// The status of this name, if it is one of the closed list.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.name()), Some(status));
        }
        assert_eq!(Status::from_name("Success"), None);
    }

    #[test]
    fn the_worst_is_the_maximum() {
        assert_eq!(Status::ALL.into_iter().max(), Some(Status::Failed));
        assert!(Status::Skipped < Status::Warning);
    }
}
