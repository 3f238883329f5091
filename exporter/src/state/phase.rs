//! Where something stands: never, running, or ended in one of four ways.

use backup_common::status::Status;

/// Where a run, a host or a path stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No record of it.
    #[default]
    Never,
    /// Started and not ended.
    Running,
    /// Ended so.
    Ended(Status),
}

impl Phase {
    /// The phases of hosts and paths.
    pub const ALL: [Self; 6] = [
        Self::Never,
        Self::Running,
        Self::Ended(Status::Success),
        Self::Ended(Status::Warning),
        Self::Ended(Status::Failed),
        Self::Ended(Status::Skipped),
    ];

    /// The phases of a run; a run in which everything was skipped is a warning, see [`super::Run`].
    pub const OF_RUN: [Self; 5] = [
        Self::Never,
        Self::Running,
        Self::Ended(Status::Success),
        Self::Ended(Status::Warning),
        Self::Ended(Status::Failed),
    ];

    /// The value of the label `state`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Running => "running",
            Self::Ended(status) => status.name(),
        }
    }
}
