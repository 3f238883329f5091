//! The board and the alerts of Grafana against a real InfluxDB 1.6.

use std::fs;

use backup_common::problems::Problems;
use backup_common::yaml::{self, Node, Value as Yaml};
use backup_testkit::influxdb::InfluxDb;
use backup_testkit::wait;

use super::board::{Query, directory, queries, read};
use super::fixture;
use super::support::Home;
use super::support::influx::{DATABASE, configure, influxdb, v1};

/// The conditions that users had, in the order of the file.
const ALERTS: [&str; 4] = [
    "backup-influxdb-status",
    "backup-influxdb-errors",
    "backup-influxdb-duration",
    "backup-influxdb-missing",
];

/// As Grafana fills in its variables when all are chosen.
fn filled_in(query: &str) -> String {
    let mut text = query.to_owned();
    for (name, value) in [
        ("$timeFilter", "time >= now() - 14d AND time <= now()"),
        ("$__interval", "1s"),
        ("/^$server$/", "/^.*$/"),
        ("/^$host$/", "/^.*$/"),
        ("/^$path$/", "/^.*$/"),
    ] {
        text = text.replace(name, value);
    }
    assert!(!text.contains('$') || text.contains("/^.*$/"), "{text}");
    text
}

/// Rows of all series.
fn rows(influxdb: &InfluxDb, query: &str) -> usize {
    let answer = influxdb.query(DATABASE, query);
    assert!(answer.get("error").is_none(), "{query}: {answer}");
    let series = answer["series"].as_array().into_iter().flatten();
    series.map(|one| one["values"].as_array().map_or(0, Vec::len)).sum()
}

#[test]
fn every_query_of_the_board_and_of_the_alerts_returns_data() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    let exporter = home.start_with(&mut fixture::fill(&home));
    home.append(fixture::later());
    wait::until("the refused run", || (influxdb.count(DATABASE, "backup_run", "refused") > 0).then_some(()));
    // Growth needs two measurements in two intervals.
    wait::until("sizes", || (influxdb.count(DATABASE, "backup_size", "files") >= 9).then_some(()));
    assert_eq!(exporter.value("backup_exporter_push_dropped_total"), Some(0.0));

    let mut all = queries(&read("backup-influxdb.json"), "query");
    all.extend(alerts());
    let mut empty = Vec::new();
    for query in all {
        let text = filled_in(&query.text);
        let count = rows(&influxdb, &text);
        println!("{count:4}  {}", query.place);
        if count == 0 {
            empty.push(format!("{}: {text}", query.place));
        }
    }
    assert!(empty.is_empty(), "without data:\n{}", empty.join("\n"));

    // One path is chosen as Grafana writes it into a regular expression.
    let one = r#"SELECT "message" FROM "backup_path" WHERE "path" =~ /^(\/home|\/var\/www)$/ AND "status_numeric" < 1"#;
    assert!(rows(&influxdb, one) >= 9, "{one}");
}

fn alerts() -> Vec<Query> {
    let text = fs::read_to_string(directory().join("provisioning/alerting/backup-influxdb.yaml")).unwrap();
    let mut problems = Problems::default();
    let file = yaml::parse(&text, &mut problems).unwrap();
    assert_eq!(scalar(get(&file, "apiVersion")), "1");
    let mut found = Vec::new();
    let mut uids = Vec::new();
    for group in list(get(&file, "groups")) {
        for rule in list(get(group, "rules")) {
            let uid = scalar(get(rule, "uid"));
            // The keys that Grafana wants of each rule.
            for key in ["title", "condition", "for", "noDataState", "execErrState", "annotations", "labels"] {
                get(rule, key);
            }
            let mut letters = Vec::new();
            for data in list(get(rule, "data")) {
                let (letter, model) = (scalar(get(data, "refId")), get(data, "model"));
                assert_eq!(letter, scalar(get(model, "refId")), "{uid}");
                if scalar(get(data, "datasourceUid")) == "__expr__" {
                    let expression = scalar(get(model, "expression"));
                    let named = |letter: &&str| expression.contains(*letter);
                    assert!(
                        letters.iter().any(named),
                        "{uid} {letter}: {expression} names nothing before it"
                    );
                } else {
                    assert_eq!(scalar(get(data, "datasourceUid")), "backup-influxdb");
                    get(get(data, "relativeTimeRange"), "from");
                    let text = scalar(get(model, "query")).to_owned();
                    found.push(Query { place: format!("alert {uid} {letter}"), text });
                }
                letters.push(letter);
            }
            assert!(letters.contains(&scalar(get(rule, "condition"))), "{uid}");
            uids.push(uid.to_owned());
        }
    }
    assert_eq!(uids, ALERTS);
    found
}

fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
    let Yaml::Mapping(entries) = &node.value else { panic!("line {}: no mapping", node.line) };
    let entry = entries.iter().find(|(found, _)| found.text == key);
    &entry.unwrap_or_else(|| panic!("line {}: no {key}", node.line)).1
}

fn list(node: &Node) -> &[Node] {
    let Yaml::Sequence(items) = &node.value else { panic!("line {}: no list", node.line) };
    items
}

fn scalar(node: &Node) -> &str {
    let Yaml::Scalar { text, .. } = &node.value else { panic!("line {}: no text", node.line) };
    text
}
