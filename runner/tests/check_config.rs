//! What is said about a configuration: everything at once, to people and to programs, and nothing is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::process::Command;

use backup_common::record::Record;
use backup_testkit::process::{self, Output};
use serde_json::Value;
use support::{Site, host};

fn check(site: &Site, arguments: &[&str]) -> Output {
    process::run(site.command(&["--check-config"]).args(arguments))
}

const WRONG: &str = "config:\n  backup_bsae: /x\nhosts:\n  h:\n    ssh_prot: 22\n    paths: [{path: etc}]\n";

#[test]
fn the_effective_configuration_can_be_used_in_place_of_the_other() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1"), ("g.tmp", "2")]);
    site.configure(
        "  rsync_options: -avz --delete\n  io_timeout: 2 min",
        &host("h", "rsync_options: --exclude=*.tmp", &source),
    );
    let output = check(&site, &["--verbose"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, "the configuration is right: 1 hosts, 1 paths\n"));
    for expected in
        ["io_timeout: 120", "parallel: the number of cores", "\"'--exclude=*.tmp'\"", "require_mount: false"]
    {
        assert!(output.stdout.contains(expected), "{expected}: {}", output.stdout);
    }
    fs::write(site.path("backup.yaml"), &output.stdout).unwrap();
    assert_eq!(check(&site, &["--verbose"]).stdout, output.stdout);
    assert_eq!(site.backup(&[]).code, 0);
    assert!(site.base().join("h/data/f").exists() && !site.base().join("h/data/g.tmp").exists());
}

#[test]
fn programs_get_the_problems_and_the_configuration() {
    let site = Site::new();
    fs::write(site.path("backup.yaml"), WRONG).unwrap();
    let output = check(&site, &["--json"]);
    assert_eq!((output.code, output.stderr.as_str()), (2, ""));
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let errors: Vec<(u64, &str)> = found["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["key"].as_str().unwrap()))
        .collect();
    assert_eq!(errors, [(2, "config.backup_bsae"), (5, "hosts.h.ssh_prot"), (6, "hosts.h.paths[0].path")]);
    assert_eq!(found["effective"], Value::Null);

    fs::write(
        site.path("backup.yaml"),
        "config: {lock_file: /tmp/backup.fil}\nhosts: {h: {paths: [{path: /etc}]}}",
    )
    .unwrap();
    let found: Value = serde_json::from_str(&check(&site, &["--json"]).stdout).unwrap();
    assert_eq!(
        (&found["errors"], &found["warnings"][0]["key"]),
        (&Value::Array(vec![]), &"config.lock_file".into())
    );
    assert_eq!(found["effective"]["hosts"]["h"]["paths"][0]["io_timeout"], 600);

    fs::remove_file(site.path("backup.yaml")).unwrap();
    let output = check(&site, &["--json"]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(output.code, 2);
    assert!(found["errors"][0]["message"].as_str().unwrap().contains("cannot read the configuration"));
}

#[test]
fn the_schema_is_printed_without_any_configuration() {
    let output = process::run(Command::new(env!("CARGO_BIN_EXE_backup-runner")).arg("--print-schema"));
    assert_eq!(output.code, 0, "{output:?}");
    let schema: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["config"]["properties"]["backup_base"]["default"], "/share/backup/");
}

#[test]
fn a_backup_prints_its_records_on_request() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    let output = site.backup(&["--json"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let printed: Vec<Record> =
        output.stdout.lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
    assert_eq!(printed, site.records());
}

#[test]
fn a_verbose_backup_shows_its_commands_and_what_rsync_says() {
    let site = Site::new();
    let gone = site.path("gone");
    site.configure("", &host("h", "", &gone));
    let output = site.backup(&["--verbose"]);
    let command =
        format!("h {0}: cd {1} && rsync -a --delete", gone.display(), site.base().join("h/data").display());
    let lines: Vec<&str> = output.stdout.lines().collect();
    let of = |start: &str| {
        lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {lines:#?}"))
    };
    let said = of(&format!("h {}: rsync: [sender] change_dir", gone.display()));
    assert!(of(&command) < said && said < of("backup finished"));
    assert!(!site.backup(&[]).stdout.contains("&& rsync"));
}

/// Files that would take all memory, all time or the stack of a careless reader.
fn hostile_files() -> Vec<(&'static str, String)> {
    let bomb = (1..10).fold("a0: &a0 [lol]\n".to_owned(), |text, level| {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("{text}a{level}: &a{level} [{items}]\n")
    });
    vec![
        ("an alias bomb", bomb),
        ("deep lists", "[".repeat(100_000)),
        ("deep blocks", "{a: ".repeat(100_000)),
        ("deep items", "- ".repeat(100_000)),
        ("deep question marks", "? ".repeat(100_000)),
        (
            "a deep indentation",
            (0..3000).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n"),
        ),
        (
            "a million keys",
            (0..1_000_000)
                .fold("hosts:\n".to_owned(), |text, number| text + "  h" + &number.to_string() + ":\n"),
        ),
        ("several documents", "hosts: {h: {paths: [{path: /a}]}}\n---\nhosts: {}\n".to_owned()),
        ("a tab", "hosts:\n\th:\n\t\tpaths: []\n".to_owned()),
        ("nothing", String::new()),
        ("a nul", "hosts: \0\n".to_owned()),
        ("an octal port", "hosts: {h: {ssh_user: u, ssh_port: 0o26, paths: [{path: /a}]}}".to_owned()),
        ("a host called no", "hosts: {no: {paths: [{path: no}]}}".to_owned()),
    ]
}

#[test]
fn hostile_files_end_with_a_line_number_in_little_memory() {
    let site = Site::new();
    for (what, text) in hostile_files() {
        fs::write(site.path("backup.yaml"), &text).unwrap();
        // 64 MiB of addresses, of which the program itself takes some ten.
        let output = process::run(
            Command::new("prlimit")
                .arg("--as=67108864")
                .arg(env!("CARGO_BIN_EXE_backup-runner"))
                .arg("--config")
                .arg(site.path("backup.yaml"))
                .arg("--backup"),
        );
        assert_eq!(
            output.code,
            2,
            "{what}: {} {}",
            output.code,
            output.stderr.get(..2000).unwrap_or(&output.stderr)
        );
        assert!(
            output.stderr.contains(": line "),
            "{what}: {}",
            output.stderr.get(..2000).unwrap_or(&output.stderr)
        );
    }
    assert!(!site.path("lock").exists() && !site.path("stats.log").exists());
}

#[test]
fn marks_and_line_ends_of_other_systems_do_not_matter() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    let text = fs::read_to_string(site.path("backup.yaml")).unwrap();
    fs::write(site.path("backup.yaml"), format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    assert_eq!(site.backup(&[]).code, 0);
    assert!(site.base().join("h/data/f").exists());
}
