//! Every metric, once, as data: name, type, unit, labels, help, and where its value comes from.
//!
//! Outputs go through [`all`] and know no metric by name. A row is added in the file of its family;
//! nothing else has to change. Names follow the Prometheus and `OpenMetrics` conventions: base units at
//! the end, `_total` on counters only, `_info` on build information; the tests below hold them to it.

mod exporter;
mod host;
mod path;
mod process;
mod push;
mod run;
mod schedule;
mod snapshots;
mod stored;

use jiff::Timestamp;

use crate::event::PushHealth;
use crate::state::{Expected, Host, InputHealth, Path, Run, SnapshotSchedule, State};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The whole name, as queries write it.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// The unit that its name ends in, if any.
    pub unit: Option<&'static str>,
    /// What it says, in one sentence without a full stop, quote or backslash.
    pub help: &'static str,
    /// Names of its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it is read from, once for each combination of labels.
    pub values: Values,
}

/// How values behave, in the words of `OpenMetrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up; starts anew when the log that it is counted from does.
    Counter,
    /// Always 1; the labels are the message.
    Info,
}

/// What a metric is read from. Each gives no value where none is known.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One for the exporter.
    State(fn(&State) -> Option<Number>),
    /// One for the runs as a whole.
    Run(fn(&Run) -> Option<Number>),
    /// One for each entry of a closed list, which is the last label.
    RunBy(fn(&Run) -> Labelled),
    /// One for the schedule of the runs.
    Schedule(fn(&Expected) -> Option<Number>),
    /// One for each entry of a closed list, which is the only label.
    ScheduleBy(fn(&Expected) -> Labelled),
    /// One for each schedule of snapshots.
    Snapshots(fn(&SnapshotSchedule) -> Option<Number>),
    /// One for each host.
    Host(fn(&Host) -> Option<Number>),
    /// One for each host and entry of a closed list.
    HostBy(fn(&Host) -> Labelled),
    /// One for each path.
    Path(fn(&Path) -> Option<Number>),
    /// One for each path and entry of a closed list.
    PathBy(fn(&Path) -> Labelled),
    /// One for each input.
    Input(fn(&InputHealth) -> Option<Number>),
    /// One for each input and entry of a closed list.
    InputBy(fn(&InputHealth) -> Labelled),
    /// One for the push to InfluxDB, if there is one.
    Push(fn(&PushHealth) -> Option<Number>),
    /// One for the push and each entry of a closed list.
    PushBy(fn(&PushHealth) -> Labelled),
    /// Always 1, with the value of the only label.
    Constant(&'static str),
}

/// Values by the last label, which is from a closed list.
pub type Labelled = Vec<(&'static str, Number)>;

/// A value, written as it is: whole numbers stay exact beyond 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<f64> for Number {
    fn from(measure: f64) -> Self {
        Self::Real(measure)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Whole(yes.into())
    }
}

/// Seconds since 1970, UTC.
impl From<Timestamp> for Number {
    fn from(time: Timestamp) -> Self {
        Self::Real(time.as_microsecond() as f64 / 1e6)
    }
}

/// Every metric, in the order of the scrape.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    news().chain(own())
}

/// Those that change only when something has happened.
pub fn news() -> impl Iterator<Item = &'static Metric> {
    let families = [
        run::METRICS,
        schedule::METRICS,
        host::METRICS,
        path::METRICS,
        stored::METRICS,
        snapshots::METRICS,
        exporter::METRICS,
        push::METRICS,
    ];
    families.into_iter().flatten()
}

/// Those of the exporter's own process, which change all the time.
pub fn own() -> impl Iterator<Item = &'static Metric> {
    process::METRICS.iter()
}

impl Metric {
    /// The name without what `OpenMetrics` adds to it: the suffix of its type, and its unit.
    pub fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        };
        let family = self.name.strip_suffix(suffix).unwrap_or(self.name);
        let unit = self.unit.unwrap_or_default();
        match family.strip_suffix(unit) {
            Some(stem) if !unit.is_empty() => stem.trim_end_matches('_'),
            _ => family,
        }
    }

    const fn new(name: &'static str, kind: Kind, help: &'static str, values: Values) -> Self {
        let labels: &[&str] = match values {
            Values::Host(_) => &["host"],
            Values::Path(_) => &["host", "path"],
            Values::Snapshots(_) => &["schedule"],
            Values::Input(_) => &["input"],
            _ => &[],
        };
        Self { name, kind, unit: None, help, labels, values }
    }

    const fn gauge(name: &'static str, help: &'static str, values: Values) -> Self {
        Self::new(name, Kind::Gauge, help, values)
    }

    const fn counter(name: &'static str, help: &'static str, values: Values) -> Self {
        Self::new(name, Kind::Counter, help, values)
    }

    const fn unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    const fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in all() {
            let Metric { name, kind, unit, help, .. } = metric;
            assert!(name.starts_with("backup_") || name.starts_with("process_"), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
            if let Some(unit) = unit {
                assert!(name.trim_end_matches("_total").ends_with(&format!("_{unit}")), "{name}");
            }
            assert!(!help.contains(['"', '\\', '\n']) && !help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn each_stands_once() {
        let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn stems() {
        let stem = |name| all().find(|metric| metric.name == name).unwrap().stem();
        assert_eq!(stem("backup_run_duration_seconds"), "backup_run_duration");
        assert_eq!(stem("backup_runs_total"), "backup_runs");
        assert_eq!(stem("backup_exporter_build_info"), "backup_exporter_build");
        assert_eq!(stem("backup_path_files"), "backup_path_files");
    }
}
