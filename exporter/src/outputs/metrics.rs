//! The state as `OpenMetrics` text, by way of prometheus-client.
//!
//! Series are made anew from one `Arc<State>` for each text. There is no registry that lives on and
//! no `Family`, so nothing has to be removed when a host leaves, and the order is always the same.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::labels;
use crate::catalogue::{self, Kind, Labelled, Metric, Number, Values};
use crate::state::State;

/// The whole exposition in `OpenMetrics` 1.0.0, with its `# EOF`.
pub fn openmetrics(state: Arc<State>) -> String {
    let mut out = String::new();
    // Writing into a String has no way to fail.
    write_openmetrics(state, &mut out).unwrap_or_default();
    out
}

/// Writes the same in many small pieces.
pub fn write_openmetrics(state: Arc<State>, out: &mut impl fmt::Write) -> fmt::Result {
    write_part(Arc::clone(&state), Part::News, out)?;
    write_part(state, Part::Own, out)
}

/// The exposition is made of these, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nearly all of it: [`catalogue::news`].
    News,
    /// The exporter's own process, [`catalogue::own`], with the `# EOF`.
    Own,
}

/// Writes a part in many small pieces.
pub fn write_part(state: Arc<State>, part: Part, out: &mut impl fmt::Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(state, part)));
    text::encode_registry(out, &registry)?;
    if part == Part::Own { text::encode_eof(out) } else { Ok(()) }
}

#[derive(Debug)]
struct Exposition(Arc<State>, Part);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = |metric| series(metric, &self.0, &mut encoder);
        match self.1 {
            Part::News => catalogue::news().try_for_each(&mut write),
            Part::Own => catalogue::own().try_for_each(&mut write),
        }
    }
}

/// Writes the series of a metric, in the order of hosts, paths and closed lists.
fn series(metric: &Metric, state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
    let mut found =
        Found { metric, unit: unit.as_ref(), encoder: Some(encoder), family: None, result: Ok(()) };
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
    found.result
}

/// Writes series as they are found; a family is described before its first one, and without any it is left out.
struct Found<'a, 'b> {
    metric: &'a Metric,
    unit: Option<&'a Unit>,
    /// Until the family is described.
    encoder: Option<&'a mut DescriptorEncoder<'b>>,
    family: Option<MetricEncoder<'a>>,
    result: fmt::Result,
}

/// Labels as a series has them.
#[derive(Debug)]
struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.names
            .iter()
            .zip(self.values)
            .try_for_each(|(name, value)| (*name, labels::value(value)).encode(encoder.encode_label()))
    }
}

impl<'a> Found<'a, '_> {
    fn add(&mut self, values: &[&str], number: Option<Number>) {
        if let (Ok(()), Some(number)) = (self.result, number) {
            self.result = self.write(values, number);
        }
    }

    fn add_labelled(&mut self, values: &[&str], numbers: Labelled) {
        let mut all = Vec::with_capacity(values.len() + 1);
        all.extend_from_slice(values);
        for (label, number) in numbers {
            all.push(label);
            self.add(&all, Some(number));
            all.pop();
        }
    }

    fn write(&mut self, values: &[&str], number: Number) -> fmt::Result {
        let kind = self.metric.kind;
        let labels = Labels { names: self.metric.labels, values };
        let family = self.described()?;
        match kind {
            Kind::Info => family.encode_info(&labels),
            // An empty label set would be written as a pair of braces.
            _ if values.is_empty() => sample(family, kind, number),
            _ => sample(&mut family.encode_family(&labels)?, kind, number),
        }
    }

    fn described(&mut self) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let Some(encoder) = self.encoder.take() {
            let kind = match self.metric.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Info => MetricType::Info,
            };
            let Metric { help, .. } = self.metric;
            self.family = Some(encoder.encode_descriptor(self.metric.stem(), help, self.unit, kind)?);
        }
        self.family.as_mut().ok_or(fmt::Error)
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
