//! Records in, metrics out: each directory below `scenarios/` is one test.
//!
//! `metrics.txt` is what a scrape must show, in whatever order the inputs speak.
//! `UPDATE_GOLDEN=1 cargo test --test scenarios` writes what it shows now; read the diff before committing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod scenario;

use std::fs;
use std::path::Path;

use backup_common::record::Record;
use backup_exporter::event::{Event, Input, Skip};
use backup_exporter::state::State;
use proptest::prelude::*;
use scenario::{Order, Scenario, configured, render, snapshots_configured, snapshots_seen, timer};

#[test]
fn scenarios() {
    let mut scenarios: Vec<_> =
        fs::read_dir(scenario::directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    scenarios.sort();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        check(&scenario);
    }
}

fn check(scenario: &Path) {
    let given = Scenario::load(scenario);
    let shown = render(&given.state(Order::StatsFirst)).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    for order in [Order::JournalFirst, Order::Live] {
        let other = render(&given.state(order)).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let differs = shown.lines().zip(other.lines()).find(|(shown, other)| shown != other);
        assert!(shown == other, "{} {order:?}: {differs:?}", scenario.display());
    }

    let golden = scenario.join("metrics.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &shown).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    let differs = shown.lines().zip(expected.lines()).find(|(shown, expected)| shown != expected);
    assert!(shown == expected, "{}: {differs:?}; UPDATE_GOLDEN=1 accepts what is shown", scenario.display());
}

#[test]
fn a_host_that_leaves_takes_its_series_along_and_finds_its_history_again() {
    let one = "hosts: {a: {ssh_user: '', paths: [{path: /x}]}}";
    let two =
        "hosts: {a: {ssh_user: '', paths: [{path: /x}, {path: /y}]}, b: {ssh_user: '', paths: [{path: /z}]}}";
    let mut state = State::default();
    state.apply(configured(two));
    for (host, path) in [("a", "/x"), ("a", "/y"), ("b", "/z")] {
        state.apply(Event::Recorded(Input::Stats, nth_record(4, host, path)));
    }
    let before = render(&state);
    state.apply(configured(one));
    let without = render(&state);
    assert!(
        without.contains("path=\"/x\"")
            && !without.contains("host=\"b\"")
            && !without.contains("path=\"/y\"")
    );
    state.apply(Event::ConfigRejected);
    assert!(render(&state).contains("backup_exporter_config_reload_success 0"));
    state.apply(configured(two));
    assert_eq!(render(&state), before);
}

#[test]
fn names_that_nobody_configured_can_not_fill_the_memory() {
    let mut state = State::default();
    state.apply(configured("hosts: {a: {ssh_user: '', paths: [{path: /x}]}}"));
    let empty = render(&state).lines().count();
    for number in 0..3000 {
        let path = format!("/{number}");
        state.apply(Event::Recorded(Input::Stats, nth_record(4, "a", &path)));
    }
    // Only the time of the last record came, with its HELP, TYPE and UNIT, and whether the host answers.
    assert!(render(&state).lines().count() <= empty + 8);
    assert!(format!("{state:?}").len() < 2_000_000);
    // What is configured is never too many.
    state.apply(Event::Recorded(Input::Stats, nth_record(4, "a", "/x")));
    assert!(render(&state).contains("backup_path_attempts_total{host=\"a\",path=\"/x\"} 1"));
}

/// A record of each type, made from the wire format's own example file.
fn nth_record(index: usize, host: &str, path: &str) -> Record {
    let examples = include_str!("../../common/tests/records/v1.jsonl");
    let line = examples.lines().nth(index).unwrap();
    let line = line.replace("server1", host).replace("\"/etc\"", &serde_json::to_string(path).unwrap());
    Record::decode(line.as_bytes()).unwrap()
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        20 => (0usize..8, "[ab]", "/[xy\"\\\\\u{1b}]").prop_map(|(index, host, path)| Event::Recorded(Input::Stats, nth_record(index, &host, &path))),
        1 => Just(Event::ConfigRejected),
        1 => Just(configured("hosts: {a: {ssh_user: '', paths: [{path: /x}]}}")),
        1 => Just(configured("hosts: {a: {ssh_user: '', paths: [{path: /x}, {path: /y}]}, b: {ssh_user: '', paths: [{path: /x}]}}")),
        1 => Just(Event::Skipped(Input::Stats, Skip::TooLong)),
        1 => Just(Event::SnapshotsSeen(None)),
        1 => "daily_2026-0[1-9]-0[1-9]_030000".prop_map(|name| snapshots_seen(&[&name])),
        1 => Just(snapshots_configured("hosts: {a: {ssh_user: '', paths: [{path: /x}]}}\nsnapshots: {volume: /v, schedules: [{type: daily, count: 1, interval: 1}]}")),
        1 => Just(Event::Scheduled(None)),
        1 => Just(Event::Scheduled(Some(timer(include_str!("timers/never-triggered.jsonl"))))),
    ];
    proptest::collection::vec(event, 0..60)
}

/// The series of a counter with their values.
fn counters(text: &str) -> Vec<(String, f64)> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(name, _)| name.contains("_total"))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Publishing in between, as batches end here or there, changes nothing.
    #[test]
    fn the_same_events_give_the_same_bytes(events in any_events(), published in 0usize..60) {
        let (mut once, mut twice) = (State::default(), State::default());
        let mut readers = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            once.apply(event.clone());
            twice.apply(event);
            if index % (published + 1) == 0 {
                readers.push((twice.clone(), render(&twice)));
            }
        }
        prop_assert_eq!(render(&once), render(&twice));
        for (state, text) in readers {
            prop_assert_eq!(render(&state), text, "a published state never changes");
        }
    }

    #[test]
    fn a_counter_never_falls_and_each_thing_is_in_one_state(events in any_events()) {
        let mut state = State::default();
        let mut before = Vec::new();
        for event in events {
            state.apply(event);
            let text = render(&state);
            let now = counters(&text);
            for (name, value) in &before {
                // A series may leave with its path; while it is there, it only rises.
                prop_assert!(now.iter().filter(|(found, _)| found == name).all(|(_, found)| found >= value), "{}", name);
            }
            before = now;
            for (name, paths) in [("backup_path_state{", state.hosts().map(|(_, host)| host.paths().count()).sum()), ("backup_run_state{", 1), ("backup_host_state{", state.hosts().count())] {
                let ones = text.lines().filter(|line| line.starts_with(name) && line.ends_with("} 1")).count();
                prop_assert_eq!(ones, paths);
            }
        }
    }
}
