//! Scripts afterwards, when a signal or a kill has ended what was before them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/scripts.rs"]
mod scripts;
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::process::{self, Running, free_port};
use backup_testkit::wait;
use scripts::{Kill, configure, log, noting, processes_with, ran, script, unique_sleep, with_path_keys};
use support::{Site, host};

/// A site with scripts around a path that takes longer than any test, and a run that writes.
fn start_slow(site: &Site, keys: &str) -> (Running, PathBuf) {
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    let host_keys = "rsync_options: --bwlimit=100\n    post_script: host_post";
    configure(site, &with_path_keys("h", host_keys, &source, keys));
    let run = Running::start(
        site.command(&["--backup"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    (run, source)
}

fn wait_for_transfer(site: &Site) {
    wait::until("the temporary file", || fs::read_dir(site.base().join("h/data")).ok()?.next().map(|_| ()));
}

#[test]
fn after_a_signal_the_post_scripts_still_run() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let site = Site::new();
        noting(&site, &["stop", "start", "host_post"]);
        let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
        wait_for_transfer(&site);
        run.signal(signal);
        assert_eq!(run.wait().code(), Some(code));
        assert_eq!(ran(&site), ["stop", "start", "host_post"]);
        assert!(log(&site)[1].ends_with("status=failed reason=interrupted"), "{:?}", log(&site));
        assert!(log(&site)[2].ends_with("status=failed reason=interrupted"), "{:?}", log(&site));
        assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
        assert_eq!(site.types().last(), Some(&"run_finished"));
        assert!(!site.path("stats.pending").exists());
    }
}

#[test]
fn a_signal_during_a_pre_script_ends_it_and_its_post_script_runs() {
    let site = Site::new();
    let nap = unique_sleep(&site);
    let _kill = Kill(nap.clone());
    noting(&site, &["start", "host_post"]);
    script(&site, "stop", &format!("trap '' TERM; note stop; sleep {nap}; sleep {nap}"));
    let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
    wait::until("the pre-script", || (!ran(&site).is_empty()).then_some(()));
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
    assert_eq!(ran(&site), ["stop", "start", "host_post"]);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Interrupted));
    assert_eq!(processes_with(&nap), Vec::<String>::new());
}

#[test]
fn what_a_killed_run_owes_is_made_up_for_first_in_the_next_one() {
    let site = Site::new();
    noting(&site, &["stop", "start", "host_post"]);
    let (mut run, source) = start_slow(&site, "pre_script: stop, post_script: start");
    wait_for_transfer(&site);
    run.signal("KILL");
    run.wait();
    assert_eq!(ran(&site), ["stop"]);
    // Another host is backed up next, and the backup directory is away: the service is started all the same.
    wait::until("the lock", || {
        let tried = process::run(Command::new("flock").arg("-n").arg(site.path("lock")).arg("true"));
        (tried.code == 0).then_some(())
    });
    fs::rename(site.base(), site.path("away")).unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 12, "{output:?}");
    assert_eq!(ran(&site), ["stop", "host_post", "start"]);
    assert!(log(&site)[2].ends_with("status=failed reason=died"), "{:?}", log(&site));
    let said = format!("post_script start of h {} ran; running it now", source.display());
    assert!(output.stderr.contains(&said), "{output:?}");
    assert!(!site.path("stats.pending").exists());
    // And only once.
    site.backup(&[]);
    assert_eq!(ran(&site).len(), 3);
}

#[test]
fn what_is_owed_and_no_longer_configured_is_named_and_given_up() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["start"]);
    configure(&site, &host("h", "", &source));
    let pending = site.path("stats.pending");
    fs::write(&pending, "source\th\t/gone\tstart\nsource\told\t\tstart\nnonsense\n").unwrap();
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    for place in ["start of h /gone did not run", "start of old did not run"] {
        assert!(output.stderr.contains(place), "{place}: {output:?}");
    }
    assert_eq!(ran(&site), Vec::<String>::new());
    assert!(!pending.exists());
}

#[test]
fn what_is_owed_to_a_host_that_is_away_stays_owed() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["start"]);
    let keys = format!(
        "ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}\n    post_script: start",
        free_port()
    );
    configure(&site, &(host("away", &keys, &source) + &host("h", "", &source)));
    let pending = site.path("stats.pending");
    fs::write(&pending, "source\taway\t\tstart\n").unwrap();
    assert_eq!(site.backup(&["--host", "h"]).code, 0);
    assert_eq!(fs::read_to_string(&pending).unwrap(), "source\taway\t\tstart\n");
}
