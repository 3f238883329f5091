//! A backup server whose backups are on a real btrfs volume.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use backup_common::record::{Body, Snapshot, SnapshotAction};
use backup_testkit::btrfs::Volume;
use backup_testkit::process::{self, Output};

use crate::support::Site;

/// A site and its volume, which goes first.
pub struct Server {
    pub volume: Volume,
    pub site: Site,
}

/// Two schedules as in the older configuration.
#[allow(dead_code, reason = "not every test file uses it")]
pub const TWO: &str =
    "schedules: [{type: hourly, count: 3, interval: 14400}, {type: daily, count: 7, interval: 86400}]";
/// One that is due in each run.
pub const EACH: &str = "schedules: [{type: each, count: 2, interval: 0}]";

impl Server {
    pub fn new(mebibytes: u64) -> Self {
        let site = Site::new();
        let volume = Volume::make(&site.path("."), mebibytes);
        fs::create_dir(volume.path().join("backup")).unwrap();
        Self { volume, site }
    }

    /// Writes the configuration; `snapshots` is what follows the volume's line.
    pub fn configure(&self, config: &str, hosts: &str, snapshots: &str) {
        let text = format!(
            "config:\n  backup_base: {0}/backup\n  lock_file: {1}/lock\n  stats_file: {1}/stats.log\n{config}\nhosts:\n{hosts}\nsnapshots:\n  volume: {0}\n  {snapshots}\n",
            self.volume.path().display(),
            self.site.path(".").display(),
        );
        fs::write(self.site.path("backup.yaml"), text).unwrap();
    }

    /// A backup at a time of day that libfaketime shows to the runner.
    pub fn backup_at(&self, time: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("faketime");
        command.args(["--exclude-monotonic", "-f", &format!("@{time}")]);
        command.arg(env!("CARGO_BIN_EXE_backup-runner")).arg("--config").arg(self.site.path("backup.yaml"));
        process::run(command.arg("--backup").args(arguments).env("TZ", "UTC"))
    }

    pub fn snapshots(&self) -> PathBuf {
        self.volume.path().join(".snapshots")
    }

    /// What is in the snapshot directory, sorted by name.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.snapshots()) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Makes a snapshot as `btrfs-snp` did.
    pub fn snapshot(&self, name: &str) {
        fs::create_dir_all(self.snapshots()).unwrap();
        self.volume.btrfs(&["-q", "subvolume", "snapshot", "-r", ".", &format!(".snapshots/{name}")]);
    }

    /// The snapshot records of the last run.
    pub fn records(&self) -> Vec<Snapshot> {
        let records = self.site.records();
        let last = records.last().unwrap().run_id.clone();
        let ours = records.into_iter().filter(|record| record.run_id == last);
        ours.filter_map(|record| match record.body {
            Body::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        })
        .collect()
    }

    /// Names of the last run's records with this action.
    pub fn told(&self, action: SnapshotAction) -> Vec<String> {
        let records = self.records().into_iter().filter(|record| record.action == action);
        records.map(|record| record.name.unwrap_or_default()).collect()
    }
}
