//! What no real rsync does on demand: one that says nothing of its work, and thousands that fail.
//!
//! The program in rsync's place is a script, in a mount namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/rsync.rs"]
mod rsync;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Stdio;

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_common::status::Status;
use backup_testkit::process::{Running, run};
use backup_testkit::wait;
use support::{Site, host};

#[test]
#[ignore = "needs root: replaces rsync in a mount namespace"]
fn a_success_without_figures_is_a_failure() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    for (code, status) in [(0, Status::Failed), (24, Status::Failed)] {
        let silent = rsync::program(&site, "silent", &format!("exit {code}"));
        let output = run(&mut rsync::with(&silent, &site.command(&["--backup"])));
        assert_eq!(output.code, 10, "{output:?}");
        assert_eq!(site.verdict("h", &source), (status, Reason::Protocol));
    }
    let told = rsync::program(&site, "told", rsync::FIGURES);
    assert_eq!(run(&mut rsync::with(&told, &site.command(&["--backup"]))).code, 0);
    let finished = site.finished();
    assert!(finished[0].messages[0].contains("without its figures"), "{finished:#?}");
    assert_eq!(finished[2].stats.unwrap().files, 3);
}

/// The children that a process has now.
fn children(process: u32) -> usize {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return 0 };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    threads.filter_map(|thread| of_thread(thread.ok()?)).map(|text| text.split_whitespace().count()).sum()
}

/// Bytes that a process had in memory at its highest.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[test]
#[ignore = "needs root: replaces rsync in a mount namespace"]
fn three_thousand_of_ten_thousand_hosts_fail() {
    const HOSTS: usize = 10_000;
    let site = Site::new();
    let mut hosts = String::new();
    for number in 0..HOSTS {
        let off = if number % 10 < 3 { "" } else { "enabled: false, " };
        writeln!(hosts, "  h{number}: {{{off}paths: [{{path: /nowhere}}]}}").unwrap();
    }
    site.configure("  parallel: 16", &hosts);
    let rsync = rsync::program(&site, "rsync", "exit 12");
    let mut run = Running::start(rsync::with(&rsync, &site.command(&["--backup"])).stdout(Stdio::null()));
    // `exec` leaves the process id to the runner.
    let (mut most_children, mut most_files, mut peak_bytes) = (0, 0, 0);
    wait::long("the end of the run", || {
        most_children = most_children.max(children(run.id()));
        let files = fs::read_dir(format!("/proc/{}/fd", run.id())).map_or(0, Iterator::count);
        most_files = most_files.max(files);
        peak_bytes = peak(run.id()).unwrap_or(0).max(peak_bytes);
        (!run.is_running()).then_some(())
    });
    assert_eq!(run.wait().code(), Some(10));
    println!("{most_children} children, {most_files} descriptors, {peak_bytes} bytes");
    let Body::RunFinished(end) = site.records().pop().unwrap().body else { panic!("no end") };
    assert_eq!(end.paths, BTreeMap::from([(Status::Skipped, 7000), (Status::Failed, 3000)]));
    assert!((1..=16).contains(&most_children), "{most_children} children");
    // Four fifths of the usual limit; no more than with sixteen hosts in all.
    assert!(most_files < 820, "{most_files} descriptors");
    assert!(peak_bytes < 200 << 20, "{peak_bytes} bytes");
}
