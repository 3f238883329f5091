//! The family `backup_snapshot`: the snapshots of each configured schedule.

use super::Metric;
use super::Values::Snapshots;

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_snapshots",
        "Complete snapshots: those in whose run every path was successful",
        Snapshots(|schedule| Some(schedule.count?.complete.into())),
    ),
    Metric::gauge(
        "backup_snapshots_incomplete",
        "Snapshots in whose run a path was missing; retention does not count them",
        Snapshots(|schedule| Some(schedule.count?.incomplete.into())),
    ),
    Metric::gauge(
        "backup_snapshots_limit",
        "Complete snapshots that are kept at most, 0 for all",
        Snapshots(|schedule| Some(schedule.rule.limit.into())),
    ),
    Metric::gauge(
        "backup_snapshot_interval_seconds",
        "Least time between two snapshots",
        Snapshots(|schedule| Some(schedule.rule.interval.as_secs_f64().into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_snapshot_newest_timestamp_seconds",
        "When the newest complete snapshot was taken",
        Snapshots(|schedule| Some(schedule.count?.newest?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_snapshot_oldest_timestamp_seconds",
        "When the oldest complete snapshot was taken",
        Snapshots(|schedule| Some(schedule.count?.oldest?.into())),
    )
    .unit("seconds"),
    Metric::counter(
        "backup_snapshot_failures_total",
        "Times that a snapshot could not be taken or deleted",
        Snapshots(|schedule| Some(schedule.failures.into())),
    ),
];
