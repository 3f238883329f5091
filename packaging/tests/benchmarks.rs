//! `make bench` with so little data that it takes seconds: every row comes to its end beside its peers, and the document
//! and the raw results are written. What it measures then is worth nothing.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::Path;

use support::commands::typed;

/// A share of the data, one round, and no waiting for a machine that does nothing else.
const TRIAL: [(&str, &str); 3] = [("SCALE", "0.001"), ("ROUNDS", "1"), ("PATIENCE", "0")];

const ROWS: [&str; 9] =
    ["runs", "start", "journal", "replay", "scrape", "memory", "sizes", "influx", "fleet"];

/// A copy of the sources without any result.
fn copy(folder: &Path) {
    support::copy_sources(folder);
    fs::remove_dir_all(folder.join("bench/results")).unwrap();
    fs::remove_file(folder.join("docs/benchmarks.md")).unwrap();
}

/// What a document says of a row.
fn section<'a>(document: &'a str, row: &str) -> &'a str {
    let section = document.split(&format!("\n## {row}: ")).nth(1);
    let section = section.unwrap_or_else(|| panic!("nothing of {row}: {document}"));
    section.split("\n## ").next().unwrap()
}

#[test]
#[ignore = "needs root: mounts a volume, and puts a stand-in for rsync in a namespace"]
fn every_row_is_measured_and_written() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let made = support::make_with(folder.path(), &typed("make bench"), &TRIAL);
    assert!(made.stdout.contains("Written: docs/benchmarks.md"), "{}", made.stdout);
    let document = fs::read_to_string(folder.path().join("docs/benchmarks.md")).unwrap();
    for row in ROWS {
        let section = section(&document, row);
        assert!(
            section.contains(" at scale 0.001, ") && !section.contains("Not measured to its end"),
            "{section}"
        );
        assert!(document.contains(&format!("\n| {row} | ")), "{row} has targets: {document}");
    }
    for peer in [
        "xargs -P",
        "rsnapshot",
        "-o cat",
        "jq -c .",
        "Go client",
        "node_exporter",
        "nginx",
        "du",
        "influx -import",
    ] {
        assert!(document.contains(&format!(" | {peer} | ")), "{peer}: {document}");
    }

    // One row again: the others stay.
    let made = support::make_with(folder.path(), &typed("make bench ONLY=replay"), &TRIAL);
    assert!(made.stdout.contains("Written: docs/benchmarks.md"), "{}", made.stdout);
    let again = fs::read_to_string(folder.path().join("docs/benchmarks.md")).unwrap();
    for row in ROWS {
        assert_eq!(section(&again, row) == section(&document, row), row != "replay", "{row}");
    }
    assert_eq!(
        fs::read_dir(folder.path().join("bench/results")).unwrap().count(),
        1,
        "the raw results of this machine"
    );
}
