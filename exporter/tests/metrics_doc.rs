//! The list of metrics for people is made from the catalogue, and the documents name nothing that it lacks.
//!
//! `UPDATE_GOLDEN=1 cargo test -p backup-exporter --test metrics_doc` writes docs/metrics.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use backup_common::reason::Reason;
use backup_exporter::catalogue::{self, Kind, Metric, Values};
use backup_exporter::event::{Event, Input, Listing};
use backup_exporter::outputs::metrics;
use backup_exporter::state::State;

const HEAD: &str = "# Metrics

The exporter serves these metrics on `/metrics`, as OpenMetrics 1.0.0 or in Prometheus's text format. This page is made from the
catalogue in `exporter/src/catalogue/`; a test keeps it up to date.

- A value that is not known is absent: no metric is ever NaN.
- Times are seconds since 1970 (UTC); to get an age, subtract from `time()`.
- Every configured host, path and schedule has its series from the first scrape on, and loses them with the next one after it left the
  configuration.
- Counters are counted from the stats log and go on after a restart; they start anew when the log does.
- Labels have only values from the configuration and from the closed lists below.

The last column says for what there is one series each. [notices.md](notices.md) has the rules behind `backup_path_notice`.
";

#[test]
fn the_page_is_up_to_date() {
    let page = page();
    let file = root().join("docs/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = page.lines().zip(found.lines()).find(|(shown, found)| shown != found);
    assert!(page == found, "docs/metrics.md: {differs:?}; UPDATE_GOLDEN=1 writes it");
}

#[test]
fn documents_name_only_what_there_is() {
    let names: BTreeSet<&str> = catalogue::all().map(|metric| metric.name).collect();
    let files =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs", "dashboards"].map(|name| root().join(name));
    let mut mentioned = 0;
    for file in files.iter().flat_map(|file| texts(file)) {
        let text = fs::read_to_string(&file).unwrap();
        for name in mentions(&text) {
            mentioned += 1;
            assert!(is_known(name, &names), "{} names {name}, which the catalogue lacks", file.display());
        }
    }
    assert!(mentioned > names.len(), "docs/metrics.md alone names all of them");
}

#[test]
fn mentions_are_found_and_judged() {
    let names = BTreeSet::from(["backup_run_state", "backup_run_duration_seconds", "backup_runs_total"]);
    let text = "`backup_run_state{state=\"x\"}` sum(backup_gone_total) x_backup_y backup_run_duration_seconds:avg backup_";
    let found: Vec<_> = mentions(text).collect();
    assert_eq!(found, ["backup_run_state", "backup_gone_total", "backup_run_duration_seconds"]);
    let judged = found.iter().map(|name| is_known(name, &names)).collect::<Vec<_>>();
    assert_eq!(judged, [true, false, true]);
    let known = |word| is_known(word, &names);
    assert!(known("backup_size") && known("backup_run") && known("backup_run_"));
    assert!(!known("backup_ru") && !known("backup_run_duration"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files with text below a file or directory.
fn texts(path: &Path) -> Vec<PathBuf> {
    const KINDS: [&str; 4] = ["md", "json", "yaml", "yml"];
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| texts(&entry.unwrap().path())).collect();
    }
    let kind = path.extension().and_then(|kind| kind.to_str());
    if path.exists() && kind.is_some_and(|kind| KINDS.contains(&kind)) {
        vec![path.to_owned()]
    } else {
        Vec::new()
    }
}

/// Words that begin with `backup_`, as metrics are called. The middle of what a rule records (`job:x:sum`) is
/// none of them.
fn mentions(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter_map(|word| {
        let name = word.split_once(':').map_or(word, |(name, _)| name);
        (name.len() > "backup_".len() && name.starts_with("backup_")).then_some(name)
    })
}

/// What is called like a metric and is none.
const OTHERS: [&str; 6] = [
    // A key of the configuration.
    "backup_base",
    // Measurements of InfluxDB that are called otherwise than their family.
    "backup_size",
    // Libraries.
    "backup_common",
    "backup_sizes",
    // The database and the user of the examples.
    "backup_metrics",
    "backup_user",
];

/// A metric, a whole family, the beginning of some metrics up to an underscore (`backup_path_` for all of
/// them), or no metric at all.
fn is_known(word: &str, names: &BTreeSet<&str>) -> bool {
    names.contains(word)
        || OTHERS.contains(&word)
        || names.iter().any(|name| family_of(name) == word || word.ends_with('_') && name.starts_with(word))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut family = "";
    let samples = samples();
    for metric in catalogue::all() {
        if family != family_of(metric.name) {
            family = family_of(metric.name);
            write!(page, "\n## {family}\n\n| metric | type | unit | labels | meaning | one for each |\n")
                .unwrap();
            page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        }
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Info => "info",
        };
        let Metric { name, help, .. } = metric;
        let unit = metric.unit.unwrap_or("");
        writeln!(
            page,
            "| `{name}` | {kind} | {unit} | {} | {help} | {} |",
            labels(metric, &samples),
            one_for_each(metric)
        )
        .unwrap();
    }
    page.push_str("\n## Reasons\n\n| reason | state | cause | remedy |\n| --- | --- | --- | --- |\n");
    for reason in Reason::all() {
        let (name, status, cause, remedy) = (reason.name(), reason.status(), reason.cause(), reason.remedy());
        writeln!(page, "| `{name}` | {status} | {cause} | {remedy} |").unwrap();
    }
    page
}

/// The first two words of the name, without a plural.
fn family_of(name: &str) -> &str {
    let second = name.find('_').map_or(0, |at| at + 1);
    let end = name[second..].find('_').map_or(name.len(), |at| second + at);
    let family = &name[..end];
    family.strip_suffix('s').filter(|family| !family.ends_with('s')).unwrap_or(family)
}

/// Label names; one of a closed list with its values.
fn labels(metric: &Metric, samples: &str) -> String {
    let labels = metric.labels.iter().map(|label| {
        if is_reason(metric, label) {
            return "`reason`: one of [the reasons](#reasons)".to_owned();
        }
        let values = closed_list(metric, label, samples);
        if values.is_empty() { format!("`{label}`") } else { format!("`{label}`: {}", values.join(", ")) }
    });
    labels.collect::<Vec<_>>().join("; ")
}

/// Whether a label has the reasons of the records: only the current one has a series.
fn is_reason(metric: &Metric, label: &str) -> bool {
    label == "reason" && !matches!(metric.values, Values::InputBy(_))
}

/// The values of a label that are there for a path that never ran, in their order.
fn closed_list(metric: &Metric, label: &str, samples: &str) -> Vec<String> {
    if matches!(label, "host" | "path" | "schedule" | "version") {
        return Vec::new();
    }
    if label == "input" {
        return Input::ALL.map(|input| input.name().to_owned()).into();
    }
    let mut values = Vec::new();
    for line in samples.lines().filter(|line| line.starts_with(&format!("{}{{", metric.name))) {
        let value = line.split_once(&format!("{label}=\"")).and_then(|(_, rest)| rest.split_once('"'));
        if let Some((value, _)) = value.filter(|(value, _)| !values.iter().any(|found| found == value)) {
            values.push(value.to_owned());
        }
    }
    values
}

/// A scrape of a path that has ended once.
fn samples() -> String {
    let config = "hosts: {a: {ssh_user: '', paths: [{path: /x}]}}";
    let config = backup_common::config::Config::parse(config).unwrap().config;
    let mut state = State::default();
    state.apply(Event::Configured(Listing::from(&config)));
    let ended = include_str!("../../common/tests/records/v1.jsonl").lines().nth(4).unwrap();
    let ended = ended.replace("server1", "a").replace("\"/etc\"", "\"/x\"");
    let record = backup_common::record::Record::decode(ended.as_bytes()).unwrap();
    state.apply(Event::Recorded(Input::Stats, record));
    metrics::openmetrics(state.into())
}

fn one_for_each(metric: &Metric) -> String {
    let by = match metric.values {
        Values::Host(_) | Values::HostBy(_) => "host",
        Values::Path(_) | Values::PathBy(_) => "path",
        Values::Input(_) | Values::InputBy(_) => "input",
        Values::Snapshots(_) => "schedule",
        _ => "exporter",
    };
    match metric.values {
        _ if metric.labels.iter().any(|label| is_reason(metric, label)) => by.to_owned(),
        Values::HostBy(_)
        | Values::PathBy(_)
        | Values::RunBy(_)
        | Values::ScheduleBy(_)
        | Values::InputBy(_) => {
            format!("{by} and {}", metric.labels.last().copied().unwrap_or_default())
        }
        _ => by.to_owned(),
    }
}
