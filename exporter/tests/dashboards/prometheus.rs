//! The board and the rules against a real Prometheus.

use std::collections::BTreeMap;
use std::process::Command;

use backup_common::reason::Reason;
use backup_testkit::prometheus::Prometheus;
use backup_testkit::{http, process, wait};
use serde_json::Value;

use super::board::{directory, queries, read};
use super::support::Home;
use super::{fixture, support};

/// Alerts that are quiet in the fixture, each with the reason; the test of the rules makes them fire.
const QUIET: [(&str, &str); 8] = [
    ("BackupMissed", "a run is under way"),
    ("BackupNeverRan", "there were runs"),
    ("BackupRunFailed", "a run is under way, and failed paths speak for themselves"),
    ("BackupExporterDown", "it is up"),
    ("BackupServerGone", "it is a target"),
    ("BackupPushDropped", "nothing was lost"),
    ("BackupSizeScanStale", "the sizes are a second old"),
    ("BackupSeriesVanished", "Prometheus has not run for half an hour"),
];

/// As Grafana fills in its variables when all are chosen, over a long time.
fn filled_in(query: &str) -> String {
    let mut text = query.to_owned();
    for (name, value) in [
        ("$__rate_interval", "1h"),
        ("$__range", "1h"),
        ("$job", ".*"),
        ("$server", ".*"),
        ("$host", ".*"),
        ("$path", ".*"),
    ] {
        text = text.replace(name, value);
    }
    assert!(!text.contains('$'), "{text} has a variable that this test does not know");
    match text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) {
        Some(inside) => {
            let (selector, label) = inside.rsplit_once(", ").unwrap();
            format!("group by ({label}) ({selector})")
        }
        None => text,
    }
}

#[test]
fn every_query_of_the_board_and_every_rule_returns_data() {
    let home = Home::new();
    let mut command = fixture::fill(&home);
    // Nobody listens there: what is to be sent waits.
    support::influx::configure(&home, process::free_port(), &support::influx::v1());
    // What waits longest is to be a record of days ago, and no size that was measured a moment ago.
    let records = home.start_with(home.command().args(["--size.interval", "0"]));
    wait::until("records in the outbox", || {
        let oldest = "backup_exporter_outbox_oldest_timestamp_seconds ";
        let text = records.scrape();
        let time = text.lines().find_map(|line| line.strip_prefix(oldest)?.parse::<f64>().ok());
        time.filter(|time| *time > 0.0)
    });
    drop(records);
    let exporter = home.start_with(&mut command);
    let target = &exporter.address;
    let prometheus = Prometheus::configured(
        &format!(
            "- {{job_name: backup, static_configs: [{{targets: ['{target}']}}]}}\nrule_files: ['{}']\n",
            directory().join("rules.yml").display()
        ),
        home.path(),
    );
    // Counters that move, and sizes that were measured, are seen by Prometheus before it is asked.
    prometheus.until("backup_snapshot_failures_total == 0", |series| !series.is_empty());
    prometheus.until("backup_path_stored_bytes", |series| series.len() == 3);
    home.append(fixture::later());
    prometheus.until("backup_snapshot_failures_total > 0", |series| !series.is_empty());
    prometheus.until("backup_runs_refused_total > 0", |series| !series.is_empty());
    home.configure("hosts: 1");
    exporter.process.signal("HUP");
    prometheus.until("backup_exporter_config_reload_success == 0", |series| !series.is_empty());

    let mut empty = Vec::new();
    for query in queries(&read("backup-prometheus.json"), "expr") {
        let expression = filled_in(&query.text);
        // A failed run is no news after the start.
        if query.place == "annotation Failed runs" {
            prometheus.query(&expression);
            continue;
        }
        let count = wait_for(|| prometheus.query(&expression).len());
        println!("{count:4}  {}", query.place);
        if count == 0 {
            empty.push(format!("{}: {expression}", query.place));
        }
    }
    assert!(empty.is_empty(), "without data:\n{}", empty.join("\n"));

    let rules = rules(&prometheus);
    let quiet = BTreeMap::from(QUIET);
    for rule in &rules {
        let (name, expression) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        let expected = !quiet.contains_key(name);
        let count = if expected { wait_for(|| prometheus.query(expression).len()) } else { 0 };
        let count = if expected { count } else { prometheus.query(expression).len() };
        println!("{count:4}  rule {name}");
        assert_eq!(count > 0, expected, "{name}: {expression}");
    }
    assert_eq!(rules.len(), 29);
    assert!(quiet.keys().all(|name| rules.iter().any(|rule| rule["name"] == *name)));
}

/// Some need a second scrape or evaluation.
fn wait_for(count: impl Fn() -> usize) -> usize {
    let begun = std::time::Instant::now();
    wait::until("an answer", || {
        let found = count();
        (found > 0 || begun.elapsed().as_secs() >= 15).then_some(found)
    })
}

fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let answer = http::get(prometheus.address(), "/api/v1/rules").unwrap();
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    let groups = json["data"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn rules_are_right_and_do_as_their_cases_say() {
    for arguments in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "tests/rules_test.yml"],
        ["test", "rules", "tests/rules_of_days_test.yml"],
    ] {
        let output = process::run(Command::new("promtool").args(arguments).current_dir(directory()));
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    }
}

#[test]
fn the_alert_of_a_failure_has_cause_and_remedy_of_each_reason() {
    let rules = std::fs::read_to_string(directory().join("rules.yml")).unwrap();
    for reason in Reason::all().filter(|reason| *reason != Reason::Ok) {
        let text = format!(
            "if eq $labels.reason \"{}\" }}}}{} {}\n",
            reason.name(),
            reason.cause(),
            reason.remedy()
        );
        assert!(rules.contains(&text), "dashboards/rules.yml lacks\n{text}");
    }
}
