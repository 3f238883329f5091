//! The built exporter beside a timer's unit file and a directory of snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use backup_common::record::{Body, Record, RunFinished, RunStarted, Snapshot, SnapshotAction, Trigger};
use backup_common::{reason::Reason, status::Status};
use backup_testkit::wait;
use support::{CONFIG, Home};

fn record(body: Body) -> String {
    Record { time: "2026-01-02T03:04:05Z".parse().unwrap(), run_id: "0".repeat(32), body }.encode()
}

fn run_ends() -> String {
    let counts = || [(Status::Success, 1)].into();
    let (hosts, paths) = (counts(), counts());
    let finished =
        RunFinished { status: Status::Success, reason: Reason::Ok, duration_seconds: 1.0, hosts, paths };
    record(Body::RunFinished(finished))
}

/// Each look that is waited for here comes after a record, not after a minute.
#[test]
fn the_interval_and_its_source_follow_the_unit_file_and_the_runs() {
    let home = Home::new();
    let unit = home.path().join("nightly.timer");
    fs::write(&unit, "[Timer]\nOnCalendar=*-*-* 00/2:00:00 UTC\nRandomizedDelaySec=5min\n").unwrap();
    let exporter = home.start_with(home.command().arg("--timer").arg(&unit));
    // There from the first scrape on.
    assert_eq!(exporter.value("backup_schedule_interval_seconds"), Some(7500.0));
    assert_eq!(exporter.value("backup_schedule_interval_source{source=\"configured\"}"), Some(1.0));
    let next = exporter.value("backup_schedule_next_run_timestamp_seconds").unwrap();
    assert!((next % 7200.0).abs() < f64::EPSILON, "{next} is an even hour");

    fs::create_dir(home.path().join("nightly.timer.d")).unwrap();
    fs::write(home.path().join("nightly.timer.d/x.conf"), "[Timer]\nOnCalendar=\nOnCalendar=daily UTC\n")
        .unwrap();
    home.append(run_ends());
    exporter.until("backup_schedule_interval_seconds", 86_700.0);

    fs::remove_file(&unit).unwrap();
    for hour in [0, 6, 12, 18] {
        let body = Body::RunStarted(RunStarted {
            trigger: Trigger::Service,
            pid: 1,
            version: "1".to_owned(),
            hosts: 1,
            paths: 1,
            rsync_version: None,
        });
        let time = format!("2026-01-02T{hour:02}:00:00Z").parse().unwrap();
        home.append(Record { time, run_id: format!("{hour:032}"), body }.encode());
    }
    exporter.until("backup_schedule_interval_source{source=\"observed\"}", 1.0);
    exporter.until("backup_schedule_interval_seconds", 21_600.0);
    exporter.until("backup_exporter_input_up{input=\"timer\"}", 0.0);
    assert_eq!(exporter.value("backup_schedule_next_run_timestamp_seconds"), None);
}

/// A pipe that nobody writes to stands for a file system that hangs: what reads it waits for ever.
#[test]
fn an_input_that_hangs_holds_up_neither_the_first_scrape_nor_the_end() {
    let home = Home::new();
    let unit = home.path().join("x.timer");
    assert!(Command::new("mkfifo").arg(&unit).status().unwrap().success());
    let mut exporter = home.start_with(home.command().arg("--timer").arg(&unit));
    assert_eq!(exporter.value("backup_exporter_input_up{input=\"timer\"}"), Some(0.0));
    home.append(run_ends());
    exporter.until("backup_exporter_input_up{input=\"stats\"}", 1.0);
    exporter.process.signal("TERM");
    assert_eq!(exporter.process.wait().code(), Some(0));
}

/// The abbreviation of local time is no time zone by itself: `systemd-analyze` reads the expression.
#[test]
fn an_expression_that_only_systemd_can_read() {
    let home = Home::new();
    let unit = home.path().join("x.timer");
    fs::write(&unit, "[Timer]\nOnCalendar=0/6:00 IST\n").unwrap();
    let exporter = home.start_with(home.command().env("TZ", ":Asia/Kolkata").arg("--timer").arg(&unit));
    assert_eq!(exporter.value("backup_schedule_interval_source{source=\"configured\"}"), Some(1.0));
    assert_eq!(exporter.value("backup_schedule_interval_seconds"), Some(21_600.0));

    fs::write(&unit, "[Timer]\nOnCalendar=whenever\n").unwrap();
    home.append(run_ends());
    exporter.until("backup_schedule_interval_source{source=\"configured\"}", 0.0);
    assert!(exporter.messages().contains("cannot read the calendar expression"), "{}", exporter.messages());
}

/// `busctl` is a stand-in here: one that somebody else has put first on the `PATH`.
#[test]
fn the_tools_of_systemd_are_not_taken_from_the_environment() {
    let home = Home::new();
    let tool = home.path().join("busctl");
    fs::write(&tool, format!("#!/bin/sh\ntouch {}/called\n", home.path().display())).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let exporter =
        home.start_with(home.command().env("PATH", home.path()).args(["--timer", "no-such.timer"]));
    exporter.until("backup_schedule_interval_source{source=\"timer\"}", 0.0);
    assert!(!home.path().join("called").exists());
}

#[test]
fn snapshots_are_counted_when_the_runner_took_one_and_leave_with_their_schedule() {
    let home = Home::new();
    let snapshots = home.path().join(".snapshots");
    let config = |schedules: &str| {
        format!("{CONFIG}snapshots:\n  volume: {}\n  schedules:\n{schedules}", home.path().display())
    };
    let daily = "    - {type: daily, count: 7, interval: 86400}\n";
    let weekly = "    - {type: weekly, count: 4, interval: 604800}\n";
    home.configure(&config(&format!("{daily}{weekly}")));
    let exporter = home.start();
    // Complete from the first scrape on, though there is no directory yet.
    for schedule in ["daily", "weekly"] {
        let value = |name: &str| exporter.value(&format!("{name}{{schedule=\"{schedule}\"}}"));
        for name in ["backup_snapshots", "backup_snapshots_incomplete", "backup_snapshot_failures_total"] {
            assert_eq!(value(name), Some(0.0), "{name} {schedule}");
        }
        assert_eq!(value("backup_snapshot_newest_timestamp_seconds"), None);
        let interval = if schedule == "daily" { 86_400.0 } else { 604_800.0 };
        assert_eq!(value("backup_snapshot_interval_seconds"), Some(interval));
    }

    fs::create_dir_all(snapshots.join("daily_2026-01-02_030405")).unwrap();
    fs::create_dir_all(snapshots.join("daily_2026-01-03_030405_incomplete")).unwrap();
    let taken = |action| {
        record(Body::Snapshot(Snapshot {
            schedule: "daily".to_owned(),
            action,
            name: None,
            complete: None,
            missing: Vec::new(),
            message: None,
        }))
    };
    home.append(taken(SnapshotAction::Created));
    exporter.until("backup_snapshots{schedule=\"daily\"}", 1.0);
    exporter.until("backup_snapshots_incomplete{schedule=\"daily\"}", 1.0);
    home.append(taken(SnapshotAction::Failed));
    exporter.until("backup_snapshot_failures_total{schedule=\"daily\"}", 1.0);

    home.configure(&config(daily));
    exporter.process.signal("HUP");
    wait::until("the weekly schedule to be gone", || (!exporter.scrape().contains("weekly")).then_some(()));

    // What is no directory can not be counted, and says nothing about the number of snapshots.
    fs::remove_dir_all(&snapshots).unwrap();
    fs::write(&snapshots, "").unwrap();
    home.append(taken(SnapshotAction::NotDue));
    exporter.until("backup_exporter_input_up{input=\"snapshots\"}", 0.0);
    assert_eq!(exporter.value("backup_snapshots{schedule=\"daily\"}"), None);
    assert_eq!(exporter.value("backup_snapshots_limit{schedule=\"daily\"}"), Some(7.0));
}
