//! What happens in the middle of a transfer: files vanish, the runner or an rsync is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::{Site, host};

/// Starts a backup whose first file takes long, and waits until it is written.
fn start_slow(site: &Site, keys: &str) -> (Running, PathBuf) {
    let source = site.source("src", &[("a", &"x".repeat(3_000_000)), ("b", "1"), ("c", "1")]);
    site.configure("", &host("h", keys, &source));
    let run = Running::start(
        site.command(&["--backup"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    wait::until("the temporary file", || fs::read_dir(site.base().join("h/data")).ok()?.next().map(|_| ()));
    (run, source)
}

#[test]
fn files_that_vanish_during_the_transfer_are_a_warning() {
    let site = Site::new();
    let (mut run, source) = start_slow(&site, "rsync_options: --bwlimit=1000");
    fs::remove_file(source.join("b")).unwrap();
    assert_eq!(run.wait().code(), Some(3));
    let finished = site.last("h", &source);
    assert_eq!((finished.status, finished.reason), (Status::Warning, Reason::VanishedFiles));
    assert_eq!((finished.exit_code, finished.error_count, finished.warning_count), (Some(24), 0, 1));
    let stats = finished.stats.unwrap();
    assert_eq!((stats.files, stats.files_deleted, stats.literal_bytes), (4, 0, 3_000_001));
    assert!(site.base().join("h/data/c").exists() && !site.base().join("h/data/b").exists());
}

/// The processes that work in the backup directory: rsync's receiver and generator, and for a local source
/// nothing else.
fn rsyncs(site: &Site) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(site.base())))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn kill(process: &str) {
    process::run(Command::new("kill").args(["-s", "KILL", process]));
}

fn whole_again(site: &Site, source: &Path) {
    wait::until("the end of every rsync", || rsyncs(site).is_empty().then_some(()));
    site.configure("", &host("h", "", source));
    let output = wait::until("the lock", || {
        let output = site.backup(&[]);
        (output.code != 11).then_some(output)
    });
    assert_eq!(output.code, 0, "{output:?}");
    let mut names: Vec<_> = fs::read_dir(site.base().join("h/data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c"], "nothing is left of the broken transfer");
    assert_eq!(fs::metadata(site.base().join("h/data/a")).unwrap().len(), 3_000_000);
}

#[test]
fn after_a_killed_runner_the_next_run_is_whole() {
    let site = Site::new();
    let (mut run, source) = start_slow(&site, "rsync_options: --bwlimit=100");
    run.signal("KILL");
    run.wait();
    whole_again(&site, &source);
    let ends = site.types().iter().filter(|name| **name == "run_finished").count();
    let starts = site.types().iter().filter(|name| **name == "run_started").count();
    assert_eq!((starts, ends), (2, 1), "the killed run has no end");
}

#[test]
fn each_rsync_that_is_killed_is_a_failed_path_and_heals() {
    for index in 0.. {
        let site = Site::new();
        let (mut run, source) = start_slow(&site, "rsync_options: --bwlimit=100");
        let mut found = rsyncs(&site);
        found.sort_by_key(|process| process.parse::<u32>().unwrap());
        let Some(process) = found.get(index) else {
            assert!(index >= 2, "rsync has more than one process");
            break;
        };
        kill(process);
        assert_eq!(run.wait().code(), Some(10), "process {index}");
        assert_eq!(site.verdict("h", &source).0, Status::Failed, "process {index}");
        whole_again(&site, &source);
    }
}
