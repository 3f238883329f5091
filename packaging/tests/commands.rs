//! Every command in the documents is run by a test.
//!
//! A block of code for a shell, and a span of code that begins with one of the programs in question, is a command
//! (`support::commands`). Nearly all are typed in one machine, in the order in which a person comes to them:
//! from the older system to this one, then what every day needs, then the rarer things, then back. They are taken
//! from the document; names that stand for something (`DIRECTORY`, a time in the name of a snapshot) are replaced.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

#[path = "commands/migration.rs"]
mod migration;
#[path = "commands/operations.rs"]
mod operations;
#[path = "commands/reader.rs"]
mod reader;
#[path = "commands/readme.rs"]
mod readme;
#[path = "machine/site.rs"]
mod site;
mod support;

use std::collections::BTreeSet;
use std::fs;

use reader::Reader;
use support::commands::documented;

/// Commands that something else than the machine runs: what holds them to the letter, and what runs them.
const ELSEWHERE: [(&str, &str, &str); 9] = [
    ("make test", "scripts/test", "it is the run that this test is part of"),
    ("make demo", "scripts/test", "ended by Ctrl-C"),
    ("make demo ONCE=1", "scripts/test", "to its end"),
    ("make build", "scripts/test", "before the tests"),
    ("make bench", "packaging/tests/benchmarks.rs", "with little data"),
    ("make bench ONLY=replay", "packaging/tests/benchmarks.rs", "with little data"),
    ("make package", "packaging/tests/support/mod.rs", "package(), for all tests of the package"),
    ("make install", "packaging/tests/package.rs", "make_install_reaches_the_running_system"),
    (
        "make install DESTDIR=/tmp/root",
        "packaging/tests/package.rs",
        "the_package_and_make_install_have_the_same_files",
    ),
];

/// Spans that name a program and what it does, where nothing is to be typed.
const NAMES: [&str; 23] = [
    "btrfs filesystem du",
    "cargo test -p backup-exporter --test dashboards",
    "cargo test -- --include-ignored",
    "influx -import",
    "journalctl -u UNIT -o cat",
    "journalctl -u UNIT -o json",
    "mimirtool rules load",
    "promtool check rules",
    "promtool test rules",
    "rsync --existing --ignore-existing",
    "rsync --max-delete",
    "rsync --max-delete=0",
    "rsync --version",
    "rsync -aHAX --numeric-ids",
    "rsync error: … (code N)",
    "ssh -G",
    "systemctl show",
    "systemctl stop",
    "systemctl stop …",
    "systemd-analyze calendar",
    "thanos query",
    "thanos rule",
    "apt install",
];

/// The sources of the test that types the commands.
const TYPED: [&str; 3] = ["migration.rs", "operations.rs", "readme.rs"];

#[test]
fn every_command_is_known_to_a_test() {
    let sources = support::sources();
    let read = |file: &str| fs::read_to_string(sources.join(file)).unwrap();
    let typed = TYPED.map(|file| read(&format!("packaging/tests/commands/{file}"))).concat();
    let documented = documented();
    let listed: BTreeSet<&str> = ELSEWHERE.iter().map(|entry| entry.0).chain(NAMES).collect();
    let unknown: Vec<_> = documented
        .iter()
        .filter(|(command, _)| !listed.contains(&***command) && !typed.contains(&format!("{command:?}")))
        .collect();
    assert!(unknown.is_empty(), "no test runs {unknown:#?}");

    let words = |text: &str| {
        documented.keys().any(|command| command == text || command.starts_with(&format!("{text} ")))
    };
    let gone: Vec<_> = listed.iter().filter(|command| !words(command)).collect();
    assert!(gone.is_empty(), "in no document: {gone:#?}");
    for (command, file, how) in ELSEWHERE.into_iter().filter(|entry| entry.0 != "make test") {
        assert!(read(file).contains(command), "{command}: {file} {how}");
    }
    assert!(documented.len() > 80, "{documented:#?}");
}

#[test]
#[ignore = "needs root: starts a whole machine in a container and mounts a loop device"]
fn the_documents_are_followed() {
    let mut reader = Reader::start();
    migration::to_the_new_one(&mut reader);
    readme::configured(&mut reader);
    readme::looked_back(&mut reader);
    readme::databases(&mut reader);
    operations::every_day(&mut reader);
    operations::second_configuration(&mut reader);
    operations::drop_ins(&mut reader);
    operations::opened(&mut reader);
    operations::restored(&mut reader);
    operations::moved(&mut reader);
    readme::by_hand(&mut reader);
    readme::boards(&mut reader);
    migration::back_again(&mut reader);
    operations::removed(&mut reader);
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|entry| entry.0).chain(NAMES).collect();
    let all = documented();
    let left: Vec<_> = all
        .keys()
        .filter(|command| !reader.done().contains(*command) && !elsewhere.contains(&***command))
        .collect();
    assert!(left.is_empty(), "not run: {left:#?}");
    reader.followed_in_order("docs/migration.md", "The ten minutes");
    reader.followed_in_order("docs/operations.md", "Moving the volume");
    reader.site.step(&format!("{} commands of the documents have been typed", reader.done().len()));
}
