//! `docs/faults.md` promises a test for each fault: each must be there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the tables: the id, and the names in the last column.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .filter(|cells| cells[0].len() > 1 && cells[0][1..].parse::<u32>().is_ok())
        .map(|cells| {
            assert_eq!(cells.len(), 4, "{cells:?}");
            let names = cells[3].split(", ").map(|name| name.trim_matches('`').to_owned());
            (cells[0].clone(), names.collect())
        })
        .collect()
}

#[test]
fn each_fault_has_its_tests_and_each_of_them_exists() {
    let runner = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(runner.join("../docs/faults.md")).unwrap();
    let rows = rows(&text);
    let expected = [("R", 32), ("C", 11), ("S", 11)]
        .iter()
        .flat_map(|(kind, last)| (1..=*last).map(move |number| format!("{kind}{number}")));
    assert_eq!(rows.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let mut missing = Vec::new();
    for (id, names) in rows {
        for name in names {
            let (place, function) = name.split_once("::").unwrap_or_else(|| panic!("{id}: {name}"));
            let file: PathBuf = if place.contains('/') {
                runner.join("..").join(place)
            } else {
                runner.join("tests").join(place)
            };
            let source = fs::read_to_string(&file).unwrap_or_default();
            if !is_test(&source, function) {
                missing.push(format!("{id}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether the source has this test: the attribute stands above it, perhaps with others between.
fn is_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    let attributes =
        source[..at].lines().rev().take_while(|line| line.trim().is_empty() || line.trim().starts_with("#["));
    attributes.into_iter().any(|line| line.trim() == "#[test]")
}

#[test]
fn only_what_is_a_test_counts() {
    let source = "#[test]\n#[ignore = \"x\"]\nfn a_b() {\n}\n\nfn c() {}\n";
    assert!(is_test(source, "a_b"));
    assert!(!is_test(source, "c") && !is_test(source, "a"));
}
