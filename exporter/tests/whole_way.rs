//! The whole way of the data: a configuration, the real runner with rsync and sshd, the stats log,
//! the exporter, and a Prometheus that is asked how each path is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process::{self, free_port};
use backup_testkit::prometheus::Prometheus;
use backup_testkit::sshd::Sshd;
use support::Home;

/// The runner of the same build; cargo tells a test only of its own package's programs.
fn runner() -> PathBuf {
    let exporter = Path::new(env!("CARGO_BIN_EXE_backup-exporter"));
    let folder = exporter.parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--package", "backup-runner"])
        .arg("--target-dir")
        .arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let output = process::run(&mut build);
    assert_eq!(output.code, 0, "{}", output.stderr);
    folder.join("backup-runner")
}

#[test]
fn from_the_configuration_to_prometheus() {
    let home = Home::new();
    let at = |name: &str| home.path().join(name).display().to_string();
    let sshd = Sshd::start(home.path());
    for (name, content) in [("here", "local"), ("there", "remote")] {
        fs::create_dir(at(name)).unwrap();
        fs::write(home.path().join(name).join("file"), content).unwrap();
    }
    fs::create_dir(at("base")).unwrap();
    home.configure(&format!(
        "config: {{backup_base: {base}, lock_file: {lock}, stats_file: {stats}}}\n\
         hosts:\n  local:\n    paths: [{{path: {here}}}]\n\
         \x20 remote:\n    {keys}\n    paths: [{{path: {there}}}, {{path: {gone}}}]\n\
         \x20 away:\n    ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {port}\n    paths: [{{path: /etc}}]\n\
         \x20 off:\n    enabled: false\n    paths: [{{path: /etc}}]\n",
        base = at("base"),
        lock = at("lock"),
        stats = home.log().display(),
        here = at("here"),
        there = at("there"),
        gone = at("gone"),
        keys = sshd.host_keys(),
        port = free_port(),
    ));
    let exporter = home.start();
    let prometheus = Prometheus::scraping(&exporter.address, home.path());
    prometheus.until("backup_run_state{state=\"never\"} == 1", |series| series.len() == 1);

    let run = process::run(Command::new(runner()).arg("--config").arg(home.config()).arg("--backup"));
    assert_eq!(run.code, 10, "{run:?}");
    let copied = home.path().join("base/remote").join(&at("there")[1..]).join("file");
    assert_eq!(fs::read_to_string(copied).unwrap(), "remote");

    prometheus.until("backup_run_state{state=\"failed\"} == 1", |series| series.len() == 1);
    let series = prometheus.query("backup_path_state == 1");
    let states: BTreeMap<_, _> = series
        .iter()
        .map(|(labels, _)| ((labels["host"].clone(), labels["path"].clone()), labels["state"].as_str()))
        .collect();
    let expected = [
        ("away", "/etc".to_owned(), "failed"),
        ("local", at("here"), "success"),
        ("off", "/etc".to_owned(), "skipped"),
        ("remote", at("gone"), "failed"),
        ("remote", at("there"), "success"),
    ];
    let expected = expected.map(|(host, path, state)| ((host.to_owned(), path), state));
    assert_eq!(states, BTreeMap::from(expected));

    let reasons = prometheus.query("backup_path_reason{host=\"away\"}");
    assert_eq!(reasons[0].0["reason"], "connection_refused");
    let size = prometheus.query(&format!("backup_path_source_size_bytes{{path=\"{}\"}}", at("there")));
    assert!((size[0].1 - 6.0).abs() < f64::EPSILON, "{size:?}");
    assert_eq!(prometheus.query("backup_host_reachable{host=\"away\"} == 0").len(), 1);
    assert_eq!(prometheus.query("backup_runs_failed_total == 1").len(), 1);
}
