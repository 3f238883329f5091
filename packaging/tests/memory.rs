//! A lack of memory for real: the limit of a unit, the kernel that kills, and systemd that tells of it.
//!
//! That needs a kernel whose memory controller is systemd's own (cgroup v2), which a container can not have
//! where the system outside is of another mind. So the tree of the machine is booted by a kernel of its own:
//! User Mode Linux, an ordinary program that needs no support by the processor.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use backup_testkit::process::{Running, run};
use backup_testkit::{machine, wait};
use serde_json::Value;

const CONFIG: &str = "\
config: {backup_base: /share/backup}
hosts:
  first: {paths: [{path: /data, pre_script_local: hold}]}
  second: {paths: [{path: /data, pre_script_local: eat}]}
";

/// Runs inside as root, and leaves what it has seen in `/mnt/out`, which is a directory outside.
const INSIDE: &str = r#"
exec >/mnt/out/log 2>&1
set -x
until_true() { for _ in $(seq 600); do "$@" && return; sleep 0.2; done; echo "in vain: $*"; }
ended() { [ "$(systemctl show --value -p ActiveState backup.service)" != activating ]; }
told() { curl --silent http://127.0.0.1:19187/metrics >/mnt/out/$1; grep -q -F "$2" /mnt/out/$1; }
look() { systemctl show -p Result -p ExecMainStatus -p OOMPolicy backup.service; }
mkdir -p /share/backup /data /etc/backup/scripts
echo letter >/data/letter
dpkg --install /mnt/package.deb
cp /mnt/backup.yaml /etc/backup/
echo 'while [ -e /run/hold ]; do sleep 0.1; done' >/etc/backup/scripts/hold.sh
echo '[ ! -e /run/eat ] || head -c 400M /dev/zero | tail' >/etc/backup/scripts/eat.sh
chmod -R go-w /etc/backup
systemctl start backup-exporter.service
cat /sys/fs/cgroup/cgroup.controllers >/mnt/out/controllers

# The limit of the unit becomes less than the runner has: the kernel kills the runner.
touch /run/hold
systemctl start --no-block backup.service
until_true grep -q '"path_started".*"first"' /var/log/backup-stats.log
systemctl set-property --runtime backup.service MemoryMax=256K MemorySwapMax=0
until_true ended
look >/mnt/out/runner
until_true told runner.metrics 'backup_run_reason{reason="out_of_memory"} 1'
journalctl -o cat -u backup.service >/mnt/out/runner.journal

# A script eats more than the unit may have: the kernel kills the script, and the run goes on.
rm /run/hold
touch /run/eat
systemctl set-property --runtime backup.service MemoryMax=64M
systemctl start backup.service
look >/mnt/out/script
until_true told script.metrics 'backup_path_reason{host="second",path="/data",reason="hook_failed"} 1'
journalctl -o cat -u backup.service >/mnt/out/script.journal
cp /var/log/backup-stats.log /mnt/out/records
"#;

#[test]
#[ignore = "needs root: makes a file system with the files of a whole Debian"]
fn memory_runs_out_under_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let out = shared.join("out");
    fs::create_dir_all(&out).unwrap();
    fs::copy(support::package(), shared.join("package.deb")).unwrap();
    fs::write(shared.join("backup.yaml"), CONFIG).unwrap();
    fs::write(shared.join("inside.sh"), INSIDE).unwrap();
    let disk = folder.path().join("disk");
    make_disk(&disk, &shared);
    boot(&disk, &folder.path().join("console"));

    let read = |name: &str| {
        let text = fs::read_to_string(out.join(name));
        text.unwrap_or_else(|_| {
            let log = fs::read_to_string(out.join("log")).unwrap_or_default();
            let console = fs::read(folder.path().join("console")).unwrap();
            panic!("no {name}: {log}\n{}", String::from_utf8_lossy(&console))
        })
    };
    assert!(read("controllers").contains("memory"));

    // With OOMPolicy=continue systemd says `signal`, and that the kernel has killed for want of memory.
    let runner = read("runner");
    assert!(runner.contains("ExecMainStatus=9\n"), "{runner}\n{}", read("log"));
    assert!(read("runner.journal").contains("killed by the OOM killer"), "{}", read("runner.journal"));
    let metrics = read("runner.metrics");
    for series in [
        "backup_run_state{state=\"failed\"} 1",
        "backup_run_reason{reason=\"out_of_memory\"} 1",
        "backup_path_reason{host=\"first\",path=\"/data\",reason=\"out_of_memory\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
    }

    // One script out of memory is one failed path.
    let records: Vec<Value> =
        read("records").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = records.last().unwrap();
    assert_eq!((&end["type"], &end["status"]), (&"run_finished".into(), &"failed".into()), "{end}");
    let of_host = |host: &str| {
        records.iter().rfind(|record| record["type"] == "path_finished" && record["host"] == host).unwrap()
    };
    assert_eq!(of_host("second")["reason"], "hook_failed");
    assert_eq!(of_host("first")["status"], "success");
    assert!(read("script").contains("ExecMainStatus=10\n"), "{}", read("script"));
    assert!(read("script.journal").matches("killed by the OOM killer").count() >= 2);
    let metrics = read("script.metrics");
    for series in [
        "backup_run_state{state=\"failed\"} 1",
        "backup_path_state{host=\"first\",path=\"/data\",state=\"success\"} 1",
        "backup_path_reason{host=\"second\",path=\"/data\",reason=\"hook_failed\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
    }
    println!("runner: {runner}script: {}", read("script"));
}

/// A disk with the tree of the machine, and a unit that runs the script and switches it off.
fn make_disk(disk: &Path, shared: &Path) {
    let tree = machine::tree(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine"));
    File::create(disk).unwrap().set_len(1 << 30).unwrap();
    let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(tree).arg(disk));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let unit = shared.join("inside.service");
    let text = format!(
        "[Unit]\nAfter=multi-user.target\nSuccessAction=poweroff-immediate\nFailureAction=poweroff-immediate\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'mount -t hostfs none /mnt -o {} && exec bash /mnt/inside.sh'\n",
        shared.display()
    );
    fs::write(&unit, text).unwrap();
    let mut editor = Command::new("debugfs")
        .arg("-w")
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let commands = format!(
        "cd /etc/systemd/system\nwrite {} inside.service\ncd multi-user.target.wants\n\
         symlink inside.service /etc/systemd/system/inside.service\nquit\n",
        unit.display()
    );
    editor.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(editor.wait().unwrap().success());
}

/// Boots from the disk and waits until the machine has switched itself off.
fn boot(disk: &Path, console: &Path) {
    let log = File::create(console).unwrap();
    // All its processes go with the first one.
    let mut machine = Running::start(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "linux.uml", "mem=768M", "root=/dev/ubda", "rw"])
            .arg(format!("ubd0={}", disk.display()))
            .args(["con=null", "con0=null,fd:1", "systemd.unified_cgroup_hierarchy=1"])
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log),
    );
    wait::long("the machine to be off", || (!machine.is_running()).then_some(()));
}
