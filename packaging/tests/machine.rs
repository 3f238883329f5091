//! The package on a whole Debian with a real systemd: installed, in service, disturbed, upgraded, removed.
//!
//! One machine goes through everything, in the order of its life, because a boot takes ten seconds. What
//! it does is printed with the seconds since the start.
//!
//! The memory controller of the kernel is the business of the machine outside, so `MemoryMax=` has no effect inside,
//! and systemd does not learn why the kernel has killed; `memory.rs` shows that with a kernel of its own.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

#[path = "machine/ends.rs"]
mod ends;
#[path = "machine/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use backup_testkit::wait;
use site::{CONFIG, Site};

#[test]
#[ignore = "needs root: starts a whole machine in a container and mounts a loop device"]
fn the_life_of_a_server() {
    let mut site = Site::start();
    site.step("the machine is up");
    installed(&site);
    exporter_in_service(&site);
    timer_starts_a_run(&site);
    hardened_exporter_sees_all(&site);
    ends::killed(&site);
    ends::stopped(&site);
    ends::out_of_memory(&site);
    ends::rebooted(&mut site);
    ends::reset(&mut site);
    rotated(&site);
    reloaded(&site);
    watched(&site);
    upgraded(&site);
    purged(&site);
    site.step("the end");
}

fn installed(site: &Site) {
    site.install();
    for unit in [
        "backup.timer",
        "backup@.timer",
        "backup-exporter.service",
        "backup-exporter.socket",
        "backup-sizes.socket",
    ] {
        let state = site.machine.run(&["systemctl", "is-enabled", unit]).stdout;
        assert_eq!(state.trim(), "disabled", "{unit}");
    }
    for unit in ["backup.service", "backup-exporter.service", "backup-sizes.service", "backup-sizes.socket"] {
        assert_eq!(site.property(unit, "ActiveState"), "inactive", "{unit}");
    }
    let log = fs::metadata(site.path("/var/log/backup-stats.log")).unwrap();
    let group = site.machine.must(&["getent", "group", "backup-exporter"]);
    assert_eq!(group.split(':').nth(2), Some(log.gid().to_string().as_str()), "{group}");
    assert_eq!((log.uid(), log.permissions().mode() & 0o7777), (0, 0o640));
    // Without a configuration nothing starts, and nothing fails.
    site.machine.must(&["systemctl", "start", "backup.service"]);
    assert_eq!(site.property("backup.service", "ConditionResult"), "no");
    for program in ["backup-runner", "backup-exporter", "backup-metrics", "backup-sizes"] {
        assert!(site.machine.must(&[program, "--version"]).contains(program));
    }
    site.step("installed; nothing is enabled or running");
}

fn exporter_in_service(site: &Site) {
    site.configure();
    site.machine.must(&["backup-runner", "--check-config"]);
    site.machine.must(&["systemctl", "enable", "--now", "backup-sizes.socket", "backup-exporter.service"]);
    // The start came back when the exporter said that it is ready.
    assert_eq!(site.property("backup-exporter.service", "Type"), "notify");
    assert_eq!(site.property("backup-exporter.service", "SubState"), "running");
    assert_eq!(site.property("backup-exporter.service", "WatchdogUSec"), "1min");
    assert_eq!(site.property("backup-exporter.service", "StatusText"), "following what the runner records");
    let pid = site.property("backup-exporter.service", "MainPID");
    let status = site.machine.must(&["cat", &format!("/proc/{pid}/status")]);
    let user = site.machine.must(&["id", "-u", "backup-exporter"]);
    assert!(status.contains(&format!("Uid:\t{}\t", user.trim())), "{status}");
    // CAP_DAC_READ_SEARCH (2) and nothing else.
    assert!(status.contains("CapEff:\t0000000000000004") && status.contains("NoNewPrivs:\t1"), "{status}");
    // The start without a configuration is in the journal.
    site.until_metrics(&[
        "backup_run_state{state=\"warning\"} 1",
        "backup_run_reason{reason=\"not_started\"} 1",
    ]);
    site.step("the exporter is ready, as its own user");
}

fn timer_starts_a_run(site: &Site) {
    site.write(
        "/etc/systemd/system/backup.timer.d/soon.conf",
        "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/10\nRandomizedDelaySec=0\n",
    );
    site.machine.must(&["systemctl", "daemon-reload"]);
    site.machine.must(&["systemctl", "enable", "--now", "backup.timer"]);
    let end = site.until_record("run_finished", 0, |_| true);
    site.until_metrics(&[
        "backup_exporter_input_up{input=\"timer\"} 1",
        "backup_schedule_interval_source{source=\"timer\"} 1",
        "backup_schedule_interval_seconds 10",
    ]);
    site.machine.must(&["systemctl", "disable", "--now", "backup.timer"]);
    wait::until("the last run of the timer", || {
        (site.property("backup.service", "ActiveState") != "activating").then_some(())
    });
    assert_eq!((&end["status"], &end["reason"]), (&"success".into(), &"ok".into()), "{:#?}", site.records());
    let started = &site.records()[0];
    assert_eq!((&started["type"], &started["trigger"]), (&"run_started".into(), &"timer".into()));

    let id = end["run_id"].as_str().unwrap();
    let field = format!("BACKUP_RUN_ID={id}");
    let entries = site.machine.must(&["journalctl", "--no-pager", "-o", "json", &field]);
    let entries: Vec<serde_json::Value> =
        entries.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finished = entries
        .iter()
        .find(|entry| entry["BACKUP_RECORD"] == "path_finished" && entry["BACKUP_HOST"] == "peer");
    let finished = finished.unwrap_or_else(|| panic!("{entries:#?}"));
    for (name, value) in [
        ("BACKUP_PATH", "/home/peer/data"),
        ("BACKUP_STATUS", "success"),
        ("BACKUP_REASON", "ok"),
        ("_SYSTEMD_UNIT", "backup.service"),
        ("_SYSTEMD_INVOCATION_ID", id),
    ] {
        assert_eq!(finished[name], value, "{finished:#}");
    }
    assert_eq!(site.machine.must(&["cat", "/share/backup/peer/data/letter"]), "letter\n");
    let snapshots = site.machine.must(&["ls", "/share/.snapshots"]);
    let first = format!("/share/.snapshots/{}", snapshots.lines().next().unwrap());
    assert!(first.contains("/each_") && !first.ends_with("_incomplete"), "{snapshots}");
    assert_eq!(site.machine.must(&["btrfs", "property", "get", &first, "ro"]), "ro=true\n");
    assert_eq!(site.machine.must(&["cat", &format!("{first}/backup/peer/data/letter")]), "letter\n");
    site.step("the timer has started a run: records, journal fields, files, snapshot");
}

/// Everything that the unprivileged exporter reads, through its sandbox.
fn hardened_exporter_sees_all(site: &Site) {
    site.until_metrics(&[
        "backup_exporter_input_up{input=\"stats\"} 1",
        "backup_exporter_input_up{input=\"journal\"} 1",
        "backup_exporter_input_up{input=\"snapshots\"} 1",
        "backup_run_state{state=\"success\"} 1",
        "backup_size_scan_success 1",
        "backup_path_stored_method{host=\"peer\",path=\"/home/peer/data\",method=\"tree\"} 1",
        "backup_path_stored_files{host=\"peer\",path=\"/home/peer/data\"} 2",
    ]);
    assert!(site.value("backup_snapshots{schedule=\"each\"}") >= 1.0);
    assert!(site.value("process_start_time_seconds") > 1e9);
    let pid = site.property("backup-sizes.service", "MainPID");
    let status = site.machine.must(&["cat", &format!("/proc/{pid}/status")]);
    // CAP_SYS_ADMIN (21) and nothing else.
    assert!(status.contains("CapEff:\t0000000000200000") && status.contains("Seccomp:\t2"), "{status}");

    // A wrong volume is told, and the sizes come from a walk then.
    site.write("/etc/default/backup-sizes", "BACKUP_SIZES_VOLUME=/share\n");
    site.machine.must(&["systemctl", "stop", "backup-sizes.service"]);
    site.run();
    site.until_metrics(&[
        "backup_path_stored_method{host=\"peer\",path=\"/home/peer/data\",method=\"walk\"} 1",
    ]);
    site.machine.until(
        &["journalctl", "--no-pager", "-u", "backup-exporter"],
        "start it with --volume /share/backup",
    );
    site.write("/etc/default/backup-sizes", "BACKUP_SIZES_VOLUME=/srv\n");
    site.machine.must(&["systemctl", "restart", "backup-sizes.service"]);
    site.machine
        .until(&["journalctl", "--no-pager", "-u", "backup-sizes"], "cannot scan /srv: it is not on btrfs");
    site.write("/etc/default/backup-sizes", "# Changed by a person.\nBACKUP_SIZES_VOLUME=/share/backup\n");
    site.machine.must(&["systemctl", "restart", "backup-sizes.service"]);
    site.step("stats, journal, timer, snapshots and sizes are all read by the hardened exporter");
}

/// logrotate takes the log away under the exporter and in the middle of a run.
fn rotated(site: &Site) {
    let before = site.settled_history();
    let records = site.records();
    let skipped = site.value("backup_exporter_input_skipped_total{input=\"stats\",reason=\"damaged\"}");
    let rotate = || site.machine.must(&["logrotate", "--force", "/etc/logrotate.d/backup-system"]);
    let log = |name: &str| fs::metadata(site.path(&format!("/var/log/backup-stats.log{name}")));
    let inode = log("").unwrap().ino();
    rotate();
    assert_eq!((log(".1").unwrap().ino(), log("").unwrap().len()), (inode, 0), "the log was renamed");
    assert_eq!(log("").unwrap().permissions().mode() & 0o7777, 0o640);

    // A run that began in one file and ends in the next.
    site.hold(true);
    let id = site.start_run();
    let begun = site.records().len();
    rotate();
    site.hold(false);
    let end = site.until_record("run_finished", begun, |record| record["run_id"] == *id);
    assert_eq!(end["status"], "success");
    assert!(log(".2.gz").is_ok(), "the older part is compressed");
    let runs: f64 = before["backup_runs_total"].parse().unwrap();
    site.until_metrics(&[
        "backup_run_state{state=\"success\"} 1",
        &format!("backup_runs_total {}", runs + 1.0),
    ]);
    assert_eq!(site.records()[..records.len()], records[..], "no record is lost");

    // Another rotation changes nothing, and an exporter that starts anew reads all parts.
    let after = site.settled_history();
    rotate();
    site.until_history(&after);
    site.machine.must(&["systemctl", "restart", "backup-exporter.service"]);
    // The same from the parts, two of them compressed.
    site.until_history(&after);
    assert!(log(".3.gz").is_ok() && log(".2.gz").is_ok() && log(".1").is_ok());
    let now = site.value("backup_exporter_input_skipped_total{input=\"stats\",reason=\"damaged\"}");
    assert!((now - skipped).abs() < 0.5, "nothing was damaged: {skipped}, then {now}");
    site.step("logrotate three times, once during a run: no record lost, none counted twice");
}

fn reloaded(site: &Site) {
    let text = CONFIG
        .replace("hosts:\n", "hosts:\n  new:\n    paths: [{path: /usr/share/doc/rsync, dest_subdir: doc}]\n");
    site.write("/etc/backup/backup.yaml", &text);
    let pid = site.property("backup-exporter.service", "MainPID");
    site.machine.must(&["systemctl", "reload", "backup-exporter.service"]);
    site.until_metrics(&["backup_path_state{host=\"new\",path=\"/usr/share/doc/rsync\",state=\"never\"} 1"]);
    assert_eq!(site.property("backup-exporter.service", "MainPID"), pid);
    site.step("reload has read the configuration again");
}

/// An exporter that hangs is ended by the watchdog and started again.
fn watched(site: &Site) {
    site.write(
        "/etc/systemd/system/backup-exporter.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=3\nRestartSec=0\n",
    );
    site.machine.must(&["systemctl", "daemon-reload"]);
    site.machine.must(&["systemctl", "restart", "backup-exporter.service"]);
    let pid = site.property("backup-exporter.service", "MainPID");
    site.machine.must(&["kill", "-STOP", &pid]);
    // More than once where the machine itself stands still for some seconds.
    wait::until("the watchdog", || {
        site.property("backup-exporter.service", "NRestarts")
            .parse()
            .is_ok_and(|count: u32| count > 0)
            .then_some(())
    });
    site.machine.until(&["journalctl", "--no-pager", "-u", "backup-exporter"], "Watchdog timeout");
    fs::remove_file(site.path("/etc/systemd/system/backup-exporter.service.d/watchdog.conf")).unwrap();
    site.machine.must(&["systemctl", "daemon-reload"]);
    site.until_metrics(&["backup_run_state{state=\"success\"} 1"]);
    site.step("the watchdog has started a hung exporter again");
}

/// During a run, with an exporter in service; nothing is lost.
fn upgraded(site: &Site) {
    site.hold(true);
    let id = site.start_run();
    // A run counts from its start on. Everything but the path that is held is over.
    site.until_metrics(&[
        "backup_run_state{state=\"running\"} 1",
        "backup_host_state{host=\"here\",state=\"success\"} 1",
        "backup_host_state{host=\"new\",state=\"success\"} 1",
        "backup_path_state{host=\"peer\",path=\"/home/peer/data\",state=\"running\"} 1",
    ]);
    let runs = site.value("backup_runs_total");
    let (history, records) = (site.history(), site.records());
    let runner = site.property("backup.service", "MainPID");
    let exporter = site.property("backup-exporter.service", "MainPID");
    site.upgrade();
    assert_eq!(site.property("backup.service", "MainPID"), runner, "the run goes on");
    assert_ne!(site.property("backup-exporter.service", "MainPID"), exporter, "the exporter is the new one");
    // The program of the run is the one that is gone from the disk, that of the exporter the one that is there.
    let program = |pid: &str| site.machine.must(&["readlink", &format!("/proc/{pid}/exe")]);
    assert_eq!(program(&runner), "/usr/bin/backup-runner (deleted)\n");
    let exporter = site.property("backup-exporter.service", "MainPID");
    assert_eq!(program(&exporter), "/usr/bin/backup-exporter\n");
    let tail = site.machine.must(&["tail", "-c", "7", &format!("/proc/{exporter}/exe")]);
    assert_eq!(tail, "0.1.0-2", "the exporter runs the new program");
    // What the old exporter has told, the new one tells as well, the run under way among it.
    site.until_history(&history);
    assert_eq!(site.records(), records);
    let version = site.machine.must(&["dpkg-query", "--show", "--showformat=${Version}", "backup-system"]);
    assert_eq!(version, "0.1.0-2");
    assert_eq!(site.machine.run(&["systemctl", "is-enabled", "backup.timer"]).stdout.trim(), "disabled");
    let changed = fs::read_to_string(site.path("/etc/default/backup-sizes")).unwrap();
    assert!(changed.contains("Changed by a person"), "{changed}");
    site.hold(false);
    let end = site.until_record("run_finished", 0, |record| record["run_id"] == *id);
    assert_eq!(end["status"], "success");
    assert_eq!(site.records()[..records.len()], records[..]);
    site.until_metrics(&[
        "backup_run_state{state=\"success\"} 1",
        "backup_exporter_input_up{input=\"stats\"} 1",
        &format!("backup_runs_total {runs}"),
    ]);
    site.step("an upgrade during a run: the run went on, and no run is missing or counted twice");
}

fn purged(site: &Site) {
    let history = fs::read(site.path("/var/log/backup-stats.log")).unwrap();
    site.machine.must(&["dpkg", "--remove", "backup-system"]);
    assert_eq!(site.machine.run(&["pgrep", "-x", "backup-exporter|backup-sizes"]).stdout, "");
    assert!(site.path("/etc/default/backup-sizes").exists(), "settings stay until the purge");
    site.machine.must(&["dpkg", "--purge", "backup-system"]);
    let left = site.machine.must(&[
        "sh",
        "-c",
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /var/lib/dpkg -o -path /share -o -path /home \\) -prune \
         -o -name '*backup-*' -print",
    ]);
    let mut left: Vec<&str> = left.lines().collect();
    left.retain(|path| !path.starts_with("/usr/share/perl") && !path.starts_with("/var/log/journal"));
    left.sort_unstable();
    // The parts of the history that logrotate has put aside belong to it.
    let parts = ["", ".1", ".2.gz", ".3.gz"].map(|part| format!("/var/log/backup-stats.log{part}"));
    assert_eq!(left[0], "/root/backup-system.deb");
    assert_eq!(left[1..], parts);
    let configuration = site.machine.must(&["ls", "/etc/backup"]);
    assert!(configuration.contains("backup.yaml") && configuration.contains("scripts"), "{configuration}");
    assert_eq!(site.machine.must(&["cat", "/share/backup/peer/data/letter"]), "letter\n");
    assert!(site.machine.must(&["ls", "/share/.snapshots"]).contains("each_"));
    assert_eq!(fs::read(site.path("/var/log/backup-stats.log")).unwrap(), history);
    assert_eq!(
        site.machine.run(&["systemctl", "--failed", "--no-legend", "list-units", "backup*"]).stdout,
        ""
    );
    site.step("purged: configuration, backups, snapshots and history are left");
}
