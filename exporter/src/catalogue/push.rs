//! The family `backup_exporter_push`: how the push to InfluxDB is doing. Without a configuration for it
//! there is none of them.

use super::Values::{Push, PushBy};
use super::{Labelled, Metric};
use crate::event::PushHealth;
use crate::push::answer::Class;

pub const METRICS: &[Metric] = &[
    Metric::counter(
        "backup_exporter_push_points_total",
        "Points that InfluxDB took",
        Push(|push| Some(push.points.into())),
    ),
    Metric::counter(
        "backup_exporter_push_failures_total",
        "Requests that failed, and points that InfluxDB refused for good (rejected, too_old)",
        PushBy(failures),
    )
    .labels(&["class"]),
    Metric::counter(
        "backup_exporter_push_dropped_total",
        "Points that will never arrive: refused, or lost to the cap of the outbox or to damage",
        Push(|push| Some(push.dropped.into())),
    ),
    Metric::gauge(
        "backup_exporter_push_last_success_timestamp_seconds",
        "When InfluxDB last took a point",
        Push(|push| Some(push.last_success?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_exporter_outbox_bytes",
        "Size of the points that wait for InfluxDB",
        Push(|push| Some(push.outbox_bytes.into())),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_exporter_outbox_oldest_timestamp_seconds",
        "Time of the oldest point that waits for InfluxDB",
        Push(|push| Some(push.oldest?.into())),
    )
    .unit("seconds"),
];

fn failures(push: &PushHealth) -> Labelled {
    Class::ALL.map(|class| (class.name(), push.failures.get(&class).copied().unwrap_or(0).into())).into()
}
