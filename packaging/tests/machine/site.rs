//! A backup server in a machine of its own: the package, a btrfs volume, and an ssh host.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backup_testkit::btrfs::Volume;
use backup_testkit::machine::{self, Machine};
use backup_testkit::wait;
use serde_json::Value;
use tempfile::TempDir;

use crate::support;

pub const CONFIG: &str = "
config:
  backup_base: /share/backup
  hook_timeout: 2 min
hosts:
  here:
    paths: [{path: /etc, dest_subdir: etc}]
  peer:
    ssh_user: peer
    hostname: 127.0.0.1
    ssh_port: 2222
    ssh_key: /etc/backup/key
    ssh_options: [UserKnownHostsFile=/etc/backup/known_hosts]
    rsync_options: --bwlimit=1000
    paths: [{path: /home/peer/data, dest_subdir: data, pre_script_local: before, post_script_local: after}]
snapshots:
  volume: /share
  schedules: [{type: each, count: 9, interval: 1}]
";

/// An ssh server on another port, a user with a key, and some files of that user.
const PEER: &str = "set -e
printf 'Port 2222\nListenAddress 127.0.0.1\n' >/etc/ssh/sshd_config.d/test.conf
useradd --create-home peer
install -d -o peer /home/peer/data /home/peer/.ssh
echo letter >/home/peer/data/letter
ssh-keygen -q -t ed25519 -N '' -f /etc/backup/key
cp /etc/backup/key.pub /home/peer/.ssh/authorized_keys
systemctl restart ssh.service
ssh-keyscan -p 2222 127.0.0.1 2>/dev/null >/etc/backup/known_hosts
test -s /etc/backup/known_hosts
mkdir /share/backup
";

/// Declared so that the machine goes first, then the volume, then the directory.
pub struct Site {
    pub machine: Machine,
    _volume: Volume,
    folder: TempDir,
    begun: Instant,
}

impl Site {
    pub fn start() -> Self {
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::make(folder.path(), 512);
        let bind = format!("{}:/share", volume.path().display());
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine");
        let tree = machine::tree(&cache);
        let machine = Machine::start(&tree, &folder.path().join("root"), &[&bind]);
        Self { machine, _volume: volume, folder, begun }
    }

    /// What the test does next, for its log.
    pub fn step(&self, what: &str) {
        eprintln!("{:>6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// A file of the machine, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.machine.root().join(inside.trim_start_matches('/'))
    }

    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Packs what was built and installs it as a person would.
    pub fn install(&self) {
        self.install_package(&support::package());
    }

    /// Installs the next version over it.
    pub fn upgrade(&self) {
        let folder = self.folder.path().join("next");
        fs::create_dir(&folder).unwrap();
        self.install_package(&support::as_version(&support::package(), &folder, "0.1.0-2"));
    }

    fn install_package(&self, package: &Path) {
        fs::copy(package, self.path("/root/backup-system.deb")).unwrap();
        self.machine.must(&["apt-get", "install", "--yes", "/root/backup-system.deb"]);
    }

    /// The configuration, the scripts and the ssh host.
    pub fn configure(&self) {
        let made = self.machine.shell(PEER);
        assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
        self.write("/etc/backup/backup.yaml", CONFIG);
        // A run goes no further while there is this file.
        self.write("/etc/backup/scripts/before.sh", "while [ -e /run/hold ]; do sleep 0.1; done\n");
        self.write(
            "/etc/backup/scripts/after.sh",
            "echo \"$BACKUP_RUN_ID $BACKUP_STATUS\" >>/var/lib/after.log\n",
        );
    }

    /// Makes the transfer from the peer take most of a minute, or no time.
    pub fn slow(&self, slow: bool) {
        let line = if slow {
            "head -c 50M /dev/urandom >/home/peer/data/large"
        } else {
            "rm -f /home/peer/data/large"
        };
        self.machine.must(&["sh", "-c", line]);
    }

    pub fn hold(&self, hold: bool) {
        self.machine.must(&["sh", "-c", if hold { "touch /run/hold" } else { "rm -f /run/hold" }]);
    }

    /// Every record so far, those of rotated parts among them; lines of the older system are left out.
    pub fn records(&self) -> Vec<Value> {
        let all = "cd /var/log; zcat -f $(ls -rv backup-stats.log.[0-9]* 2>/dev/null) backup-stats.log";
        let text = self.machine.shell(all).stdout;
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Starts a run and waits until the peer's path is under way; returns the run's id.
    pub fn start_run(&self) -> String {
        let before = self.records().len();
        self.machine.must(&["systemctl", "start", "--no-block", "backup.service"]);
        let started = self.until_record("path_started", before, |record| record["host"] == "peer");
        started["run_id"].as_str().unwrap().to_owned()
    }

    /// Runs once to the end; returns the end's record.
    pub fn run(&self) -> Value {
        let before = self.records().len();
        // The exit code is in the record as well.
        self.machine.run(&["systemctl", "start", "backup.service"]);
        self.until_record("run_finished", before, |_| true)
    }

    /// Waits for a record behind the first `from`.
    pub fn until_record(&self, kind: &str, from: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("a record {kind}"), || {
            let records = self.records().into_iter().skip(from);
            records.into_iter().find(|record| record["type"] == kind && wanted(record))
        })
    }

    pub fn metrics(&self) -> String {
        self.machine.run(&["curl", "--silent", "http://127.0.0.1:19187/metrics"]).stdout
    }

    /// Waits until all series have these values: `name{labels} value`, as in the text format.
    pub fn until_metrics(&self, wanted: &[&str]) {
        let split = |line: &str| -> Option<(String, f64)> {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        let begun = Instant::now();
        loop {
            let metrics = self.metrics();
            let have: Vec<_> = metrics.lines().filter_map(split).collect();
            let missing: Vec<_> =
                wanted.iter().filter(|line| !have.contains(&split(line).unwrap())).collect();
            if missing.is_empty() {
                return;
            }
            if begun.elapsed() > wait::DEADLINE {
                let log = self.machine.run(&["journalctl", "--no-pager", "-n", "60", "-u", "backup*"]).stdout;
                panic!("missing {missing:#?} among\n{metrics}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// All series of runs, hosts, paths and snapshots that tell what has happened, with their values: all but
    /// what tells of the exporter itself and of its measuring.
    pub fn history(&self) -> BTreeMap<String, String> {
        const OWN: [&str; 6] = [
            "backup_exporter_",
            "backup_size_",
            "backup_path_stored_",
            "backup_path_apparent_",
            "backup_volume_",
            "backup_schedule_",
        ];
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with("backup_"));
        let lines = lines.filter(|line| !OWN.iter().any(|prefix| line.starts_with(prefix)));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.into(), value.into()))
            .collect()
    }

    /// [`Self::history`] when nothing runs and all of it has been read: what systemd writes about a run and what is
    /// in the directory of the snapshots reach the exporter after the run's own last record.
    pub fn settled_history(&self) -> BTreeMap<String, String> {
        let mut last = BTreeMap::new();
        wait::until("a history that stays", || {
            std::thread::sleep(Duration::from_millis(500));
            let runs = self.property("backup.service", "ActiveState") == "activating";
            let taken = self.machine.must(&["ls", "/share/.snapshots"]).lines().count();
            let history = self.history();
            let counts = ["backup_snapshots{", "backup_snapshots_incomplete{"];
            let counted =
                history.iter().filter(|(series, _)| counts.iter().any(|name| series.starts_with(name)));
            let counted: f64 = counted.filter_map(|(_, value)| value.parse::<f64>().ok()).sum();
            let stays = !runs && (counted - taken as f64).abs() < 0.5 && history == last;
            last.clone_from(&history);
            stays.then_some(history)
        })
    }

    /// Waits until [`Self::history`] is this.
    #[track_caller]
    pub fn until_history(&self, wanted: &BTreeMap<String, String>) {
        let begun = Instant::now();
        loop {
            let history = self.history();
            let series: BTreeSet<&String> = wanted.keys().chain(history.keys()).collect();
            let pairs = series.into_iter().map(|name| (name, wanted.get(name), history.get(name)));
            let differs: Vec<_> = pairs.filter(|(_, wanted, found)| wanted != found).collect();
            if differs.is_empty() {
                return;
            }
            assert!(begun.elapsed() < wait::DEADLINE, "series, wanted, found: {differs:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The value of a metric.
    pub fn value(&self, series: &str) -> f64 {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} among\n{metrics}")).parse().unwrap()
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.machine.must(&["systemctl", "show", "--value", "-p", name, unit]).trim().to_owned()
    }
}
