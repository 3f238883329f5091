//! How a run can end before its time: killed, stopped, without memory, by a reboot, by the reset button.

use std::fs;
use std::path::Path;

use backup_testkit::wait;

use crate::site::Site;

pub fn killed(site: &Site) {
    site.slow(true);
    let id = site.start_run();
    site.machine.must(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "backup.service"]);
    site.until_metrics(&[
        "backup_run_state{state=\"failed\"} 1",
        "backup_run_reason{reason=\"killed\"} 1",
        "backup_path_reason{host=\"peer\",path=\"/home/peer/data\",reason=\"killed\"} 1",
    ]);
    assert!(!site.records().iter().any(|record| record["type"] == "run_finished" && record["run_id"] == *id));
    // systemd ends the rest of the run, a moment after it has said how the runner ended.
    wait::until("the end of rsync", || {
        site.machine.run(&["pgrep", "-x", "rsync"]).stdout.is_empty().then_some(())
    });
    site.step("a run that was killed with SIGKILL is seen as such");
}

pub fn stopped(site: &Site) {
    let id = site.start_run();
    site.machine.until(&["pgrep", "-a", "-x", "rsync"], "rsync");
    site.machine.must(&["systemctl", "stop", "backup.service"]);
    let end = site.until_record("run_finished", 0, |record| record["run_id"] == *id);
    assert_eq!((&end["status"], &end["reason"]), (&"failed".into(), &"interrupted".into()));
    let path =
        site.until_record("path_finished", 0, |record| record["run_id"] == *id && record["host"] == "peer");
    assert_eq!(path["reason"], "interrupted");
    let scripts = fs::read_to_string(site.path("/var/lib/after.log")).unwrap();
    assert!(scripts.contains(&format!("{id} failed")), "{scripts}");
    site.until_metrics(&["backup_run_reason{reason=\"interrupted\"} 1"]);
    site.slow(false);
    assert_eq!(site.run()["status"], "success", "the next run is a good one");
    site.until_metrics(&["backup_run_state{state=\"success\"} 1"]);
    site.step("a run that was stopped has run its post script and closed its records");
}

/// The kernel kills the runner for want of memory. With the memory controller of cgroup v1 that is done from
/// outside, and systemd inside knows no more than that it was signal 9; `memory.rs` shows what it says where the
/// controller is its own.
pub fn out_of_memory(site: &Site) {
    let controller = Path::new("/sys/fs/cgroup/memory");
    if !controller.join("memory.limit_in_bytes").exists() {
        site.step("LEFT OUT: out of memory, there is no memory controller of cgroup v1 here");
        return;
    }
    let group = Group(controller.join(format!("backup-machine-{}", std::process::id())));
    fs::create_dir(&group.0).unwrap();
    site.hold(true);
    site.start_run();
    let inside = site.property("backup.service", "MainPID").parse().unwrap();
    let pid = site.machine.outside(inside).unwrap();
    fs::write(group.0.join("cgroup.procs"), pid.to_string()).unwrap();
    fs::write(group.0.join("memory.limit_in_bytes"), "4096").unwrap();
    site.hold(false);
    site.until_metrics(&["backup_run_state{state=\"failed\"} 1", "backup_run_reason{reason=\"killed\"} 1"]);
    let control = fs::read_to_string(group.0.join("memory.oom_control")).unwrap();
    assert!(!control.contains("oom_kill 0"), "{control}");
    assert_eq!(site.property("backup.service", "Result"), "signal");
    site.step(
        "the kernel has killed a run for want of memory: signal 9 for systemd, `killed` in the metrics",
    );
}

/// A control group that goes with the test.
struct Group(std::path::PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// systemd stops everything in order before it starts again: the run ends as by `systemctl stop`.
pub fn rebooted(site: &mut Site) {
    site.slow(true);
    let id = site.start_run();
    site.machine.until(&["pgrep", "-a", "-x", "rsync"], "rsync");
    // A run counts from its start on.
    site.until_metrics(&["backup_run_state{state=\"running\"} 1"]);
    let (runs, failed) = (site.value("backup_runs_total"), site.value("backup_runs_failed_total"));
    let boot = site.machine.must(&["cat", "/proc/sys/kernel/random/boot_id"]);
    site.machine.reboot();
    site.step("the machine was rebooted in order in the middle of a run, and is up again");
    assert_ne!(site.machine.must(&["cat", "/proc/sys/kernel/random/boot_id"]), boot);
    let end = site.until_record("run_finished", 0, |record| record["run_id"] == *id);
    assert_eq!((&end["status"], &end["reason"]), (&"failed".into(), &"interrupted".into()));
    let path =
        site.until_record("path_finished", 0, |record| record["run_id"] == *id && record["host"] == "peer");
    assert_eq!(path["reason"], "interrupted");
    let scripts = fs::read_to_string(site.path("/var/lib/after.log")).unwrap();
    assert!(scripts.contains(&format!("{id} failed")), "the post script has run: {scripts}");
    // The exporter is started by the boot, and tells the same as one that was there all the time.
    site.until_metrics(&[
        "backup_run_state{state=\"failed\"} 1",
        "backup_run_reason{reason=\"interrupted\"} 1",
        "backup_path_reason{host=\"peer\",path=\"/home/peer/data\",reason=\"interrupted\"} 1",
        &format!("backup_runs_total {runs}"),
        &format!("backup_runs_failed_total {}", failed + 1.0),
    ]);
    site.slow(false);
    assert_eq!(site.run()["status"], "success", "the next run is a good one");
    site.until_metrics(&["backup_run_state{state=\"success\"} 1"]);
    site.step("the run was interrupted in order, its records are closed, and the next one is good");
}

pub fn reset(site: &mut Site) {
    site.slow(true);
    let id = site.start_run();
    let runs = site.value("backup_runs_total");
    site.machine.reset();
    site.step("the machine was reset in the middle of a run, and is up again");
    site.until_metrics(&[
        "backup_run_state{state=\"failed\"} 1",
        "backup_run_reason{reason=\"died\"} 1",
        "backup_path_reason{host=\"peer\",path=\"/home/peer/data\",reason=\"died\"} 1",
    ]);
    assert!(!site.records().iter().any(|record| record["type"] == "run_finished" && record["run_id"] == *id));
    assert!(site.value("backup_runs_total") >= runs, "the counters go on");
    site.slow(false);
    site.hold(false);
    assert_eq!(site.run()["status"], "success");
    site.step("the run is seen as died, and the next one is good");
}
