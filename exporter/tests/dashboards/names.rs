//! Boards, rules and documents name only labels and fields that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use backup_common::record::Record;
use backup_exporter::catalogue;
use backup_exporter::outputs::influx::points;
use regex::Regex;

use super::board::{directory, queries, read};

/// What Prometheus itself adds to each series.
const TARGET: [&str; 2] = ["job", "instance"];

#[test]
fn labels_that_are_asked_for_exist() {
    let labels: BTreeMap<&str, &[&str]> =
        catalogue::all().map(|metric| (metric.name, metric.labels)).collect();
    let selector = Regex::new(r"\b((?:backup|process)_[a-z_]+)\{([^{}]*)\}").unwrap();
    let label = Regex::new(r"(?:^|,)\s*([a-z_]+)\s*(?:$|=~|!~|!=|=|,)").unwrap();
    let texts = Regex::new(r#""(?:[^"\\]|\\.)*""#).unwrap();
    let grouping = Regex::new(r"\b(?:by|on|group_left|without|ignoring)\s*\(([a-z_, ]*)\)").unwrap();
    let any: BTreeSet<&str> =
        labels.values().flat_map(|labels| labels.iter().copied()).chain(TARGET).collect();
    let mut seen = 0;
    for (place, text) in sources() {
        for found in selector.captures_iter(&text) {
            let name = found.get(1).unwrap().as_str();
            let Some(known) = labels.get(name) else { continue };
            let inside = texts.replace_all(found.get(2).unwrap().as_str(), "");
            for found in inside.split(',').filter_map(|part| label.captures(part)) {
                let label = found.get(1).unwrap().as_str();
                seen += 1;
                assert!(
                    known.contains(&label) || TARGET.contains(&label),
                    "{place}: {name} has no label {label}"
                );
            }
        }
        for found in grouping.captures_iter(&text) {
            for label in found[1].split(", ").map(str::trim).filter(|label| !label.is_empty()) {
                assert!(any.contains(label), "{place}: no metric has the label {label}");
            }
        }
    }
    assert!(seen > 100, "{seen} labels were looked at");
}

/// Queries of the board, the rules and the documents.
fn sources() -> Vec<(String, String)> {
    let queries = queries(&read("backup-prometheus.json"), "expr");
    let mut all: Vec<_> = queries.into_iter().map(|query| (query.place, query.text)).collect();
    let root = directory().parent().unwrap().to_owned();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files =
        ["dashboards/rules.yml", "dashboards/tests/rules_test.yml", "README.md"].map(|name| root.join(name));
    for file in files
        .into_iter()
        .chain(docs.filter(|file: &PathBuf| file.extension().is_some_and(|kind| kind == "md")))
    {
        all.push((file.display().to_string(), fs::read_to_string(&file).unwrap()));
    }
    all
}

/// Fields and tags of each measurement, from points of records in which everything is there.
fn points_of_records() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let records = include_str!("../push-records.jsonl");
    let size = points::size_point(("h", "/p"), "here", jiff::Timestamp::UNIX_EPOCH, (1, 1, 1));
    let of_records = records
        // What the records of that file leave out.
        .replace("\"signal\":null", "\"signal\":9")
        .lines()
        .filter_map(|line| points::of_record(&Record::decode(line.as_bytes()).unwrap(), "here"))
        .collect::<Vec<_>>();
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for point in of_records.into_iter().chain([size]) {
        let keys = point.tags.iter().map(|(name, _)| *name).chain(point.fields.iter().map(|(name, _)| *name));
        names.entry(point.measurement).or_default().extend(keys);
    }
    // A snapshot that failed.
    names.get_mut("backup_snapshot").unwrap().insert("message");
    names
}

#[test]
fn fields_that_are_asked_for_are_sent() {
    let known = points_of_records();
    let measurement = Regex::new(r#"FROM "(backup_[a-z]+)""#).unwrap();
    let quoted = Regex::new(r#"(AS )?"([^"]+)""#).unwrap();
    let alerts = fs::read_to_string(directory().join("provisioning/alerting/backup-influxdb.yaml")).unwrap();
    let alerts = alerts
        .lines()
        .filter_map(|line| Some(("alert".to_owned(), line.trim().strip_prefix("query: ")?.to_owned())));
    let board =
        queries(&read("backup-influxdb.json"), "query").into_iter().map(|query| (query.place, query.text));
    let mut seen = 0;
    for (place, query) in board.chain(alerts) {
        let name = measurement.captures(&query).unwrap_or_else(|| panic!("{place}: {query}"));
        let fields = known.get(&name[1]).unwrap_or_else(|| panic!("{place}: no measurement {}", &name[1]));
        let own: BTreeSet<_> = quoted
            .captures_iter(&query)
            .filter(|found| found.get(1).is_some())
            .map(|found| found[2].to_owned())
            .collect();
        for found in quoted.captures_iter(&query) {
            let word = &found[2];
            seen += 1;
            let is_known = word == &name[1] || own.contains(word) || fields.contains(word);
            assert!(is_known, "{place}: {} has no field or tag {word}", &name[1]);
        }
    }
    assert!(seen > 100, "{seen} names were looked at");
}

#[test]
fn the_documentation_has_the_fields_that_are_sent() {
    let document = fs::read_to_string(directory().parent().unwrap().join("docs/influxdb.md")).unwrap();
    for (measurement, names) in points_of_records() {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{measurement}`")));
        let row = row.unwrap_or_else(|| panic!("docs/influxdb.md lacks {measurement}"));
        for name in names.iter().filter(|name| **name != "server") {
            let counts = name.starts_with("hosts_") || name.starts_with("paths_");
            let shown = row.contains(&format!("`{name}`")) || counts && row.contains("_STATUS`");
            assert!(shown, "docs/influxdb.md: {measurement} lacks {name}");
        }
    }
}
