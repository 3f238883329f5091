//! The family `backup_host`.

use super::Values::{Host, HostBy};
use super::{Labelled, Metric};
use crate::state::{self, Phase};

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_host_state",
        "Where the host stands: 1 for its state, 0 for the others",
        HostBy(states),
    )
    .labels(&["host", "state"]),
    Metric::gauge(
        "backup_host_reachable",
        "Whether the host answered when it was last asked",
        Host(|host| Some(host.reachable?.into())),
    ),
    Metric::gauge(
        "backup_host_duration_seconds",
        "How long the paths of the host took together in its last ended run",
        Host(|host| Some(host.duration_seconds?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_host_last_success_timestamp_seconds",
        "When all paths of the host were last successful in one run",
        Host(|host| Some(host.last_success?.into())),
    )
    .unit("seconds"),
];

fn states(host: &state::Host) -> Labelled {
    Phase::ALL.map(|phase| (phase.name(), (host.phase() == phase).into())).into()
}
