//! The state as `OpenMetrics` text, by way of prometheus-client.
//!
//! Series are made anew from one `Arc<State>` for each text. There is no registry that lives on and
//! no `Family`, so nothing has to be removed when a host leaves, and the order is always the same.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::labels;
use crate::catalogue::{self, Kind, Labelled, Metric, Number, Values};
use crate::state::State;

/// The whole exposition in `OpenMetrics` 1.0.0, with its `# EOF`.
pub fn openmetrics(state: Arc<State>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(state)));
    let mut out = String::new();
    // Writing into a String has no way to fail.
    text::encode(&mut out, &registry).unwrap_or_default();
    out
}

#[derive(Debug)]
struct Exposition(Arc<State>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in catalogue::all() {
            let series = series(metric, &self.0);
            if series.is_empty() {
                continue;
            }
            let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
            let kind = match metric.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(metric.stem(), metric.help, unit.as_ref(), kind)?;
            for Series { labels, number } in &series {
                match metric.kind {
                    Kind::Info => family.encode_info(labels)?,
                    // An empty label set would be written as a pair of braces.
                    _ if labels.is_empty() => sample(&mut family, metric.kind, *number)?,
                    _ => sample(&mut family.encode_family(labels)?, metric.kind, *number)?,
                }
            }
        }
        Ok(())
    }
}

/// One value with its labels.
struct Series<'a> {
    labels: Vec<(&'static str, Cow<'a, str>)>,
    number: Number,
}

/// The series of a metric, in the order of hosts, paths and closed lists.
fn series<'a>(metric: &Metric, state: &'a State) -> Vec<Series<'a>> {
    let mut found = Found { names: metric.labels, series: Vec::new() };
    let hosts = || state.hosts();
    let paths =
        || hosts().flat_map(|(name, host)| host.paths().map(move |(path, value)| ([name, path], value)));
    match metric.values {
        Values::State(value) => found.add(&[], value(state)),
        Values::Run(value) => found.add(&[], value(state.run())),
        Values::RunBy(values) => found.add_labelled(&[], values(state.run())),
        Values::Schedule(value) => found.add(&[], value(state.expected())),
        Values::ScheduleBy(values) => found.add_labelled(&[], values(state.expected())),
        Values::Snapshots(value) => {
            state.snapshots().schedules().for_each(|(tag, schedule)| found.add(&[tag], value(&schedule)));
        }
        Values::Host(value) => hosts().for_each(|(name, host)| found.add(&[name], value(host))),
        Values::HostBy(values) => hosts().for_each(|(name, host)| found.add_labelled(&[name], values(host))),
        Values::Path(value) => paths().for_each(|(place, path)| found.add(&place, value(path))),
        Values::PathBy(values) => paths().for_each(|(place, path)| found.add_labelled(&place, values(path))),
        Values::Input(value) => {
            state.inputs().for_each(|(input, health)| found.add(&[input.name()], value(&health)));
        }
        Values::InputBy(values) => {
            state.inputs().for_each(|(input, health)| found.add_labelled(&[input.name()], values(&health)));
        }
        Values::Push(value) => found.add(&[], state.push().and_then(value)),
        Values::PushBy(values) => found.add_labelled(&[], state.push().map(values).unwrap_or_default()),
        Values::Constant(text) => found.add(&[text], Some(true.into())),
    }
    found.series
}

struct Found<'a> {
    names: &'static [&'static str],
    series: Vec<Series<'a>>,
}

impl<'a> Found<'a> {
    fn add(&mut self, values: &[&'a str], number: Option<Number>) {
        let Some(number) = number else { return };
        let values = values.iter().map(|value| labels::value(value));
        self.series.push(Series { labels: self.names.iter().copied().zip(values).collect(), number });
    }

    fn add_labelled(&mut self, values: &[&'a str], numbers: Labelled) {
        for (label, number) in numbers {
            self.add(&[values, &[label]].concat(), Some(number));
        }
    }
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, number: Number) -> fmt::Result {
    match (kind, number) {
        (Kind::Counter, Number::Whole(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        (Kind::Counter, Number::Real(sum)) => encoder.encode_counter::<NoLabelSet, _, u64>(&sum, None),
        (_, Number::Whole(count)) => encoder.encode_gauge(&count),
        (_, Number::Real(measure)) => encoder.encode_gauge(&measure),
    }
}
