//! The family `process`: what the exporter uses, in the names of the Prometheus client libraries.

use super::Values::State;
use super::{Kind, Metric, Number};
use crate::event::ProcessSample;
use crate::state;

pub const METRICS: &[Metric] = &[
    Metric::new(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Total user and system CPU time spent in seconds",
        State(|state| of(state, |sample| sample.cpu_seconds)),
    )
    .unit("seconds"),
    Metric::gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes",
        State(|state| of(state, |sample| sample.resident_memory_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes",
        State(|state| of(state, |sample| sample.virtual_memory_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
        State(|state| of(state, |sample| sample.start_time_seconds)),
    )
    .unit("seconds"),
    Metric::gauge(
        "process_open_fds",
        "Number of open file descriptors",
        State(|state| of(state, |sample| sample.open_fds)),
    ),
    Metric::gauge(
        "process_max_fds",
        "Maximum number of open file descriptors",
        State(|state| of(state, |sample| sample.max_fds)),
    ),
];

fn of<T: Into<Number>>(state: &state::State, value: impl Fn(&ProcessSample) -> T) -> Option<Number> {
    Some(value(state.process()?).into())
}
