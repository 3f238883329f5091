//! How a run begins and ends: refused, stopped, killed, and never twice at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_common::status::Status;
use backup_testkit::process::{self, Running};
use backup_testkit::sshd::Sshd;
use backup_testkit::wait;
use support::{Site, host};

/// A site whose one path takes far longer than any test, and moves all the time.
fn slow_site() -> (Site, PathBuf) {
    let site = Site::new();
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    site.configure("", &host("h", "rsync_options: --bwlimit=100", &source));
    (site, source)
}

/// Starts a backup and waits until rsync writes.
fn start(site: &Site) -> Running {
    let run = Running::start(
        site.command(&["--backup"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    wait::until("rsync to write", || (processes_in(&site.base()) > 0).then_some(()));
    wait::until("the temporary file", || fs::read_dir(site.base().join("h/data")).ok()?.next().map(|_| ()));
    run
}

/// Processes whose working directory is below this one: the rsyncs of a site.
fn processes_in(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
        .filter(|cwd| cwd.starts_with(folder))
        .count()
}

fn refusal(site: &Site) -> Reason {
    match &site.records().last().unwrap().body {
        Body::RunRefused(refused) => refused.reason,
        other => panic!("{other:#?}"),
    }
}

#[test]
fn a_second_run_is_refused_while_the_first_one_lasts() {
    let (site, _) = slow_site();
    let mut first = start(&site);
    let second = site.backup(&[]);
    assert_eq!(second.code, 11, "{second:?}");
    assert_eq!(refusal(&site), Reason::Locked);
    assert!(first.is_running());
    first.signal("TERM");
    first.wait();
    assert_eq!(site.types().iter().filter(|name| **name == "run_started").count(), 1);
}

#[test]
fn a_signal_ends_the_run_in_order() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (site, source) = slow_site();
        let mut run = start(&site);
        run.signal(signal);
        assert_eq!(run.wait().code(), Some(code));
        assert_eq!(processes_in(&site.base()), 0);
        assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
        let last = site.records().pop().unwrap().body;
        let Body::RunFinished(finished) = last else { panic!("{last:#?}") };
        assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::Interrupted));
        assert!(!site.base().join("h/data/big").exists(), "a part never has the file's name");
    }
}

#[test]
fn a_stop_that_reaches_rsync_as_well_is_still_a_stop() {
    let (site, source) = slow_site();
    let mut run = start(&site);
    // As systemd does with KillMode=control-group, and rsync first.
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "STOP", &process]));
    }
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "TERM", &process]));
    }
    run.signal("TERM");
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "CONT", &process]));
    }
    assert_eq!(run.wait().code(), Some(143));
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
}

#[test]
fn a_long_transfer_is_recorded_while_it_lasts() {
    let (site, _) = slow_site();
    let mut run = start(&site);
    let progress = wait::until("a record of the progress", || {
        site.records().into_iter().find_map(|record| match record.body {
            Body::PathProgress(progress) => Some(progress),
            _ => None,
        })
    });
    run.signal("TERM");
    run.wait();
    assert!(progress.bytes > 0 && progress.percent > 0.0 && progress.percent < 100.0, "{progress:?}");
}

#[test]
fn no_rsync_outlives_a_killed_runner_and_no_second_run_overlaps_it() {
    let (site, _) = slow_site();
    let mut run = start(&site);
    run.signal("KILL");
    run.wait();
    // Until the last rsync is gone the lock is held; from then on it is free, without any cleaning up.
    wait::until("the end of rsync", || (processes_in(&site.path("")) == 0).then_some(()));
    wait::until("the lock", || {
        let tried = process::run(Command::new("flock").arg("-n").arg(site.path("lock")).arg("true"));
        (tried.code == 0).then_some(())
    });
    assert_eq!(site.types(), ["run_started", "path_started"], "a run without an end is found by its reader");
}

#[test]
fn the_lock_is_held_as_long_as_an_rsync_lives() {
    let (site, _) = slow_site();
    let mut run = start(&site);
    // A stopped process gets the signal of its parent's death only when it goes on.
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "STOP", &process]));
    }
    run.signal("KILL");
    run.wait();
    let second = site.backup(&[]);
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "KILL", &process]));
    }
    assert_eq!(second.code, 11, "{second:?}");
    wait::until("the end of rsync", || (processes_in(&site.path("")) == 0).then_some(()));
}

fn rsyncs_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let below = |path: &PathBuf| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    entries
        .map(|entry| entry.path())
        .filter(below)
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_killed_rsync_is_one_failed_path() {
    let (site, source) = slow_site();
    let mut run = start(&site);
    for process in rsyncs_in(&site.base()) {
        process::run(Command::new("kill").args(["-s", "KILL", &process]));
    }
    assert_eq!(run.wait().code(), Some(10));
    let finished = site.last("h", &source);
    assert_eq!(finished.status, Status::Failed);
    assert!(finished.signal == Some(9) || finished.exit_code.is_some_and(|code| code != 0), "{finished:#?}");
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let mute = site.path("mute");
    fs::write(&mute, "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
    fs::set_permissions(&mute, fs::Permissions::from_mode(0o755)).unwrap();
    let keys = format!("{}\n    rsync_path: {}\n    io_timeout: 1", sshd.host_keys(), mute.display());
    site.configure("", &host("h", &keys, &source));
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Timeout));
}

#[test]
fn a_path_that_takes_too_long_is_ended_although_it_moves() {
    let site = Site::new();
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    site.configure("", &host("h", "rsync_options: --bwlimit=100\n    path_timeout: 1", &source));
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Timeout));
    assert_eq!(processes_in(&site.base()), 0);
}

#[test]
fn a_config_error_touches_nothing() {
    let site = Site::new();
    site.configure(
        "  backup_bsae: /x",
        "  h:\n    ssh_prot: 22\n    paths: [{path: etc}]\n  h:\n    paths: [{path: /etc}]\n",
    );
    for mode in ["--backup", "--check-config"] {
        let output = process::run(&mut site.command(&[mode]));
        assert_eq!(output.code, 2, "{output:?}");
        for expected in [
            "did you mean backup_base?",
            "did you mean ssh_port?",
            "begin it with /",
            "second time",
            "4 errors",
        ] {
            assert!(output.stderr.contains(expected), "{expected}: {}", output.stderr);
        }
    }
    assert!(!site.path("lock").exists() && !site.path("stats.log").exists());
    assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0);
}

#[test]
fn an_unknown_host_and_a_missing_mode_are_usage_errors() {
    let (site, _) = slow_site();
    let output = site.backup(&["--host", "nobody"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("no such host in the configuration; it has h"), "{}", output.stderr);
    assert_eq!(process::run(&mut site.command(&[])).code, 2);
    assert!(site.records().is_empty());
}

#[test]
fn a_lock_file_that_is_none_is_refused() {
    let (site, _) = slow_site();
    fs::create_dir(site.path("lock")).unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 2, "{output:?}");
    assert_eq!(refusal(&site), Reason::ConfigInvalid);
    assert!(output.stdout.contains("is not a regular file of this user"), "{output:?}");
}

#[test]
fn a_missing_backup_directory_is_refused_and_not_made() {
    let (site, _) = slow_site();
    fs::remove_dir(site.base()).unwrap();
    assert_eq!(site.backup(&[]).code, 12);
    assert_eq!(refusal(&site), Reason::BaseMissing);
    assert!(!site.base().exists());
}

#[test]
fn too_little_space_is_refused() {
    let (site, source) = slow_site();
    site.configure("  min_free: 1000000 TiB", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 12);
    assert_eq!(refusal(&site), Reason::NoSpace);
}

#[test]
fn a_stats_log_that_can_not_be_written_does_not_stop_the_backup() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    fs::create_dir(site.path("stats.log")).unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("cannot write to the stats log"), "{}", output.stderr);
    assert!(site.base().join("h/data/f").exists());
}

#[test]
fn a_pipe_in_the_place_of_the_stats_log_does_not_hold_the_run() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    assert_eq!(process::run(Command::new("mkfifo").arg(site.path("stats.log"))).code, 0);
    let mut run = Running::start(site.command(&["--backup"]).stdout(Stdio::null()).stderr(Stdio::null()));
    assert_eq!(run.wait().code(), Some(0));
    assert!(site.base().join("h/data/f").exists());
}
