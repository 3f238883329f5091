//! The table in `docs/states.md`, row by row: each has a test here, and says what its test sees.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod scenario;

use std::fs;
use std::path::Path;

use scenario::{Order, Scenario, render};

/// One row: run state, run reason, path state, path reason.
type Row = [String; 4];

/// Declares a test for each row, and the list of their names.
macro_rules! rows {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

rows! {
    good_run killed killed_without_journal died out_of_memory unit_timeout stopped rebooted
    rebooted_without_journal exec_failed dependency_failed condition_unmet start_limit config_invalid
    locked base_missing hook_failed unreachable host_skipped end_not_recorded foreign_success
    foreign_failed foreign_hidden foreign_running clock_back older_lines never_run
}

#[test]
fn every_row_has_its_test_and_every_test_its_row() {
    let mut rows: Vec<_> = table().into_iter().map(|(name, _)| name).collect();
    let mut names: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    rows.sort();
    names.sort();
    assert_eq!(rows, names);
}

fn check(name: &str) {
    let (_, row) = table().into_iter().find(|(found, _)| found == name).expect("a row in docs/states.md");
    let given = Scenario::load(&scenario::directory().join(name));
    for order in [Order::StatsFirst, Order::JournalFirst, Order::Live] {
        let shown = render(&given.state(order));
        let host = "host=\"server1\",path=\"/etc\",";
        let seen = [
            only(&shown, "backup_run_state{state=\""),
            only(&shown, "backup_run_reason{reason=\""),
            only(&shown, &format!("backup_path_state{{{host}state=\"")),
            only(&shown, &format!("backup_path_reason{{{host}reason=\"")),
        ];
        // `=` stands for what the good run before has left.
        let expected = row.clone().map(|cell| cell.replace('-', ""));
        let before = ["success", "ok", "success", "ok"].map(str::to_owned);
        let expected: Row = std::array::from_fn(|column| {
            if expected[column] == "=" { before[column].clone() } else { expected[column].clone() }
        });
        assert_eq!(seen, expected, "{name} {order:?}");
    }
}

/// The last label of the one series that is 1.
fn only(shown: &str, beginning: &str) -> String {
    let mut found = shown.lines().filter_map(|line| line.strip_prefix(beginning)?.strip_suffix("\"} 1"));
    let value = found.next().unwrap_or_default().to_owned();
    assert_eq!(found.next(), None, "{beginning}");
    value
}

fn table() -> Vec<(String, Row)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/states.md");
    let text = fs::read_to_string(docs).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines
        .map(|line| {
            let cells: Vec<_> =
                line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            let [_, run, why, path, because, case] = cells.try_into().expect("six columns");
            (case, [run, why, path, because])
        })
        .collect()
}
