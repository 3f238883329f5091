//! The family `backup_exporter`: what the exporter knows of itself.

use super::Values::{Constant, Input, InputBy, State};
use super::{Kind, Labelled, Metric};
use crate::event::Skip;
use crate::state::InputHealth;

pub const METRICS: &[Metric] = &[
    Metric::new(
        "backup_exporter_build_info",
        Kind::Info,
        "The version of the exporter, always 1",
        Constant(env!("CARGO_PKG_VERSION")),
    )
    .labels(&["version"]),
    Metric::gauge(
        "backup_exporter_config_reload_success",
        "Whether the configuration had no errors when it was last read; if it had, the one before is in use",
        State(|state| Some(state.config_is_current().into())),
    ),
    Metric::gauge(
        "backup_exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration was last read without errors",
        State(|state| Some(state.config_loaded()?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_exporter_input_up",
        "Whether the input can read its source",
        Input(|health| Some(health.up.into())),
    ),
    Metric::gauge(
        "backup_exporter_input_last_event_timestamp_seconds",
        "Time of the last record, by the clock of its writer",
        Input(|health| Some(health.last_event?.into())),
    )
    .unit("seconds"),
    Metric::counter(
        "backup_exporter_input_records_total",
        "Records that were read",
        Input(|health| Some(health.records.into())),
    ),
    Metric::counter(
        "backup_exporter_input_skipped_total",
        "Lines that were passed over because they could not be read",
        InputBy(skipped),
    )
    .labels(&["input", "reason"]),
];

fn skipped(health: &InputHealth) -> Labelled {
    Skip::ALL.map(|skip| (skip.name(), health.skipped.get(&skip).copied().unwrap_or(0).into())).into()
}
