//! A stats log that fails costs records, never the backup: what it takes is whole, and people still see the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::record::Record;
use backup_testkit::process::{self, Output};
use support::{Site, host};

/// A site with one small path.
fn site() -> Site {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    site
}

/// Lines of an older run, so many bytes in all.
fn older_lines(bytes: usize) -> String {
    let line = format!("{{\"v\":1,\"type\":\"older\",\"text\":\"{}\"}}\n", "x".repeat(67));
    assert_eq!(line.len(), 100);
    let rest = bytes % 100;
    line.repeat(bytes / 100) + &"y".repeat(rest.saturating_sub(1)) + if rest > 0 { "\n" } else { "" }
}

/// The backup is whole, its end is shown, the failure is said once, and the log holds whole lines only.
fn assert_harmless(site: &Site, output: &Output, log: &Path, older: &str, cause: &str) {
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(site.base().join("h/data/f")).unwrap(), "1");
    assert!(output.stdout.contains(": success, 2 files"), "{output:?}");
    assert!(output.stdout.contains("backup finished: success"), "{output:?}");
    let complaint = format!("cannot write to the stats log {}: {cause}", log.display());
    assert_eq!(output.stderr.matches(&complaint).count(), 1, "{output:?}");
    let text = fs::read_to_string(log).unwrap();
    let records = text.strip_prefix(older).unwrap_or_else(|| panic!("older lines are gone: {text}"));
    assert!(records.is_empty() || records.ends_with('\n'), "a torn line was left: {records}");
    for line in records.lines() {
        Record::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// Runs a backup under strace, which lets system calls on the log fail.
fn with_failing(site: &Site, call: &str, error: &str) -> Output {
    process::run(
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(site.path("stats.log"))
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error={error}")])
            .arg(env!("CARGO_BIN_EXE_backup-runner"))
            .arg("--config")
            .arg(site.path("backup.yaml"))
            .arg("--backup"),
    )
}

#[test]
fn a_write_or_a_sync_that_fails() {
    for (call, error, cause) in [
        ("write", "EDQUOT", "Quota exceeded"),
        ("write", "ENOSPC", "No space left on device"),
        ("write", "EIO", "Input/output error"),
        ("fdatasync", "EIO", "Input/output error"),
    ] {
        let site = site();
        let older = older_lines(300);
        fs::write(site.path("stats.log"), &older).unwrap();
        let output = with_failing(&site, call, error);
        let cause = if error == "EDQUOT" { "" } else { cause };
        assert_harmless(&site, &output, &site.path("stats.log"), &older, cause);
        let records = fs::read_to_string(site.path("stats.log")).unwrap().lines().count() - 3;
        assert_eq!(records, if call == "write" { 0 } else { 5 }, "{call}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_ends_neither_the_run_nor_a_line() {
    // A part of a record fits; nothing fits, and the kernel sends SIGXFSZ.
    for bytes in [8092, 8192] {
        let site = site();
        let older = older_lines(bytes);
        fs::write(site.path("stats.log"), &older).unwrap();
        let output = process::run(
            Command::new("prlimit")
                .arg("--fsize=8192")
                .arg(env!("CARGO_BIN_EXE_backup-runner"))
                .arg("--config")
                .arg(site.path("backup.yaml"))
                .arg("--backup"),
        );
        assert_harmless(&site, &output, &site.path("stats.log"), &older, "");
        assert_eq!(fs::read_to_string(site.path("stats.log")).unwrap(), older);
    }
}

/// A file system of its own, taken away again in the end.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf, bytes: usize) -> Self {
        fs::create_dir(&at).unwrap();
        let size = format!("size={bytes}");
        let output = process::run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at));
        assert_eq!(output.code, 0, "{output:?}");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        process::run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

#[test]
#[ignore = "needs root: it mounts a tiny file system"]
fn a_full_disk_takes_no_half_records_and_the_log_goes_on_when_there_is_room() {
    let site = site();
    let tiny = Mounted::tmpfs(site.path("tiny"), 8192);
    let log = tiny.0.join("stats.log");
    let config = fs::read_to_string(site.path("backup.yaml")).unwrap();
    let moved = config.replace(&site.path("stats.log").display().to_string(), &log.display().to_string());
    assert_ne!(moved, config);
    fs::write(site.path("backup.yaml"), moved).unwrap();
    let older = older_lines(8092);
    fs::write(&log, &older).unwrap();
    let output = site.backup(&[]);
    assert_harmless(&site, &output, &log, &older, "");

    fs::write(&log, "").unwrap();
    assert_eq!(site.backup(&[]).code, 0);
    let text = fs::read_to_string(&log).unwrap();
    let names: Vec<_> =
        text.lines().map(|line| Record::decode(line.as_bytes()).unwrap().body.type_name()).collect();
    assert_eq!(names, ["run_started", "path_started", "path_finished", "host_finished", "run_finished"]);
}
