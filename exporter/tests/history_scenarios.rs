//! What `backup-metrics` shows of each scenario in `scenarios/`, at a fixed time: `terminal.txt` has the line of
//! `--check`, the summary and the history, `status.json` both for programs.
//! `UPDATE_GOLDEN=1 cargo test --test history_scenarios` writes what it shows now; read the diff before committing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod scenario;

use std::fs;
use std::path::Path;

use backup_exporter::event::Event;
use backup_exporter::history::runs::{Builder, Run};
use backup_exporter::history::select::{Wanted, select};
use backup_exporter::history::summary::{self, View};
use backup_exporter::history::text::Style;
use backup_exporter::history::{check, json, table};
use backup_exporter::outputs::{status_json, verdict};
use backup_exporter::state::{Phase, State};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use scenario::Scenario;

/// The history of everything.
const ALL: usize = 1000;

fn read(scenario: &Path) -> (State, Vec<Run>, Timestamp) {
    let (mut state, mut builder) = (State::default(), Builder::default());
    let mut last = Timestamp::UNIX_EPOCH;
    for event in Scenario::load(scenario).events() {
        if let Event::Recorded(_, record) = &event {
            last = last.max(record.time);
        }
        builder.push(&event);
        state.apply(event);
    }
    let runs = builder.finish(&state);
    let last = runs.iter().map(|run| run.ended.unwrap_or(run.started)).chain([last]).max().unwrap();
    (state, runs, last + SignedDuration::from_mins(95))
}

fn view(now: Timestamp, width: Option<usize>) -> View<'static> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    View { now, zone, style: Style { width, color: false }, host: None, verbose: false }
}

fn terminal(state: &State, runs: &[Run], view: &View<'_>) -> String {
    let verdict = verdict::judge(state, view.now, verdict::MAX_AGE);
    let (level, line) = check::line(state, false, view.now, verdict::MAX_AGE);
    assert_eq!(level, verdict.level);
    let wanted = Wanted { count: ALL, ..Wanted::default() };
    let interval = state.expected().interval().map(|(_, interval)| interval);
    let history = table::render(&select(runs, &wanted), &wanted, interval, view);
    let summary = summary::render(state, &verdict, &[], view);
    format!("{line}\n{summary}\n{history}")
}

fn for_programs(state: &State, runs: &[Run], now: Timestamp) -> serde_json::Value {
    let wanted = Wanted { count: ALL, ..Wanted::default() };
    let interval = state.expected().interval().map(|(_, interval)| interval);
    let history = json::runs(&select(runs, &wanted), &wanted, interval, &[]);
    serde_json::json!({"status": status_json::status(state, now), "history": history})
}

fn golden(file: &Path, shown: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, shown).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let differs = shown.lines().zip(expected.lines()).find(|(shown, expected)| shown != expected);
    assert!(shown == expected, "{}: {differs:?}; UPDATE_GOLDEN=1 accepts what is shown", file.display());
}

fn scenarios() -> Vec<std::path::PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(scenario::directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() > 20);
    all
}

#[test]
fn what_is_shown() {
    for scenario in scenarios() {
        let (state, runs, now) = read(&scenario);
        golden(&scenario.join("terminal.txt"), &terminal(&state, &runs, &view(now, Some(110))));
        golden(&scenario.join("status.json"), &format!("{:#}\n", for_programs(&state, &runs, now)));
    }
}

#[test]
fn a_narrow_terminal_is_kept_to() {
    for scenario in scenarios() {
        let (state, runs, now) = read(&scenario);
        for width in [20, 33, 40, 60, 80, 100] {
            let shown = terminal(&state, &runs, &view(now, Some(width)));
            // The first line is for the monitoring system.
            for line in shown.lines().skip(1) {
                let wide = textwrap::core::display_width(line);
                assert!(wide <= width, "{}: {wide} of {width}: {line}", scenario.display());
            }
        }
    }
}

/// Both follow the same rules: what the state says of the last run stands in the history too.
#[test]
fn the_history_agrees_with_the_state() {
    let mut compared = 0;
    for scenario in scenarios() {
        let (state, runs, _) = read(&scenario);
        let run = state.run();
        // A start that was refused makes the state a failed one, and is a run of its own in the history.
        let refused = run.last_refused > run.last_start;
        let Some(same) = runs.iter().rfind(|one| Some(one.started) == run.last_start).filter(|_| !refused)
        else {
            continue;
        };
        assert_eq!(same.ending.name(), run.phase.name(), "{}", scenario.display());
        if run.phase != Phase::Running {
            assert_eq!(same.reason, run.reason, "{}", scenario.display());
            assert_eq!(same.duration_seconds, run.duration_seconds, "{}", scenario.display());
        }
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

/// Every object of a kind has the same keys, whatever happened.
#[test]
fn the_schema_is_stable() {
    let mut shapes = std::collections::BTreeMap::<String, Vec<String>>::new();
    for scenario in scenarios() {
        let (state, runs, now) = read(&scenario);
        let both = for_programs(&state, &runs, now);
        compare("status", &both["status"], &mut shapes);
        compare("history", &both["history"], &mut shapes);
    }
    // The document names each key.
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics-json.md")).unwrap();
    for (place, keys) in &shapes {
        for key in keys {
            assert!(document.contains(&format!("`{key}`")), "docs/metrics-json.md lacks {place}.{key}");
        }
    }
}

fn compare(
    place: &str,
    value: &serde_json::Value,
    shapes: &mut std::collections::BTreeMap<String, Vec<String>>,
) {
    // Their keys are names from closed lists.
    if ["skipped", "errors"].iter().any(|open| place.ends_with(open)) {
        return;
    }
    match value {
        serde_json::Value::Object(object) => {
            let keys: Vec<_> = object.keys().cloned().collect();
            let known = shapes.entry(place.to_owned()).or_insert_with(|| keys.clone());
            assert_eq!(*known, keys, "{place}");
            object.iter().for_each(|(key, value)| compare(&format!("{place}.{key}"), value, shapes));
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| compare(place, value, shapes)),
        _ => {}
    }
}
