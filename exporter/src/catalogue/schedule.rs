//! The family `backup_schedule`: when runs are expected.

use super::Values::{Schedule, ScheduleBy};
use super::{Labelled, Metric};
use crate::schedule::Source;
use crate::state::Expected;

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_schedule_interval_seconds",
        "The largest gap between two runs that the timer allows, or the usual one where there is no timer",
        Schedule(|expected| Some(expected.interval()?.1.as_secs_f64().into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_schedule_interval_source",
        "Where the interval comes from: 1 for the timer in systemd, the runs of the past or the unit file",
        ScheduleBy(sources),
    )
    .labels(&["source"]),
    Metric::gauge(
        "backup_schedule_next_run_timestamp_seconds",
        "When the timer elapses next",
        Schedule(|expected| Some(expected.next_run()?.into())),
    )
    .unit("seconds"),
];

fn sources(expected: &Expected) -> Labelled {
    let from = expected.interval().map(|(source, _)| source);
    Source::ALL.map(|source| (source.name(), (from == Some(source)).into())).into()
}
