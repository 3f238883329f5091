//! The configuration, checked and inherited: what the programs work with.
//!
//! Everything a backup needs to know about a path stands in its [`PathJob`], so that no reader has to
//! look at the host or the global block again. A run can have ten thousands of paths, so that what they have in
//! common is there once.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config_check;
pub use crate::config_file::Amount;
use crate::config_file::ConfigFile;
use crate::names::HostName;
use crate::problems::{Problem, Problems};

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/backup/backup.yaml";

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory below which each host has its own.
    pub backup_base: PathBuf,
    /// File whose lock keeps a second run away.
    pub lock_file: PathBuf,
    /// The stats log.
    pub stats_file: PathBuf,
    /// Directory that holds the scripts.
    pub scripts_dir: PathBuf,
    /// Hosts that are backed up at a time; none means as many as there are cores.
    pub parallel: Option<NonZeroUsize>,
    /// Time between the end of the first pass and another try.
    pub retry_wait: Duration,
    /// Free space below which nothing is written.
    pub min_free: Option<Amount>,
    /// `backup_base` must be on a file system of its own.
    pub require_mount: bool,
    /// Hosts in the order of the file.
    pub hosts: Vec<Host>,
    /// Snapshots, if any are configured.
    pub snapshots: Option<Snapshots>,
}

/// A host and how to reach it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Name in the configuration, on disk and in labels.
    pub name: HostName,
    /// How its files are reached.
    pub access: Access,
    /// No ping before ssh is tried.
    pub ignore_ping: bool,
    /// An unreachable host is `skipped`, not `failed`.
    pub optional: bool,
    /// Switched on.
    pub enabled: bool,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Further tries for reasons that can pass.
    pub retries: u32,
    /// Scripts around all paths of the host.
    pub scripts: Scripts,
    /// Longest time for one script.
    pub hook_timeout: Duration,
    /// What is backed up, one after the other.
    pub paths: Vec<PathJob>,
}

/// How the files of a host are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// On this machine.
    Local,
    /// By ssh.
    Ssh(SshTarget),
}

/// An ssh destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// User on the host.
    pub user: String,
    /// Name or address; checked, never begins with `-`.
    pub hostname: String,
    /// Port, if not ssh's own default.
    pub port: Option<u16>,
    /// Private key file.
    pub key: Option<PathBuf>,
    /// Further ssh arguments, checked by [`crate::ssh_options`].
    pub options: Vec<String>,
}

/// One directory that is backed up.
#[derive(Clone, Debug)]
pub struct PathJob {
    /// Its place in the host's list of paths, counted from 0.
    pub index: usize,
    /// Line in the configuration.
    pub line: usize,
    /// Directory on the source, as configured; its label.
    pub path: Box<str>,
    /// Destination below `backup_base`, `HOST/dest_subdir`, without `..` and never empty.
    pub destination: Box<Path>,
    /// How it is backed up.
    pub settings: Arc<PathSettings>,
}

/// How a path is backed up; shared by neighbours that are equal in this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSettings {
    /// The user's rsync options of all three levels, checked, without those about display.
    pub rsync_options: Arc<[String]>,
    /// Patterns of what is left out.
    pub exclude_file: Option<PathBuf>,
    /// rsync on the source, such as `sudo rsync`.
    pub rsync_path: Option<String>,
    /// Keep owner, group and permissions as they are on the source.
    pub preserve_ownership: bool,
    /// A file that must exist below the source before anything is transferred.
    pub require: Option<String>,
    /// Longest time without data.
    pub io_timeout: Duration,
    /// Longest time for the whole path.
    pub path_timeout: Option<Duration>,
    /// Longest time for one script.
    pub hook_timeout: Duration,
    /// How much may be deleted in the destination in one run.
    pub max_delete: MaxDelete,
    /// Scripts around this path.
    pub scripts: Scripts,
}

/// Budget for deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxDelete {
    /// The larger of 50 files and 20 % of the file count last seen.
    Default,
    /// No limit.
    Off,
    /// So many files.
    Files(u64),
    /// This share of the file count last seen.
    Percent(u8),
}

/// Names of scripts, without directory and `.sh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    /// On the source, before.
    pub pre: Option<String>,
    /// On the source, after.
    pub post: Option<String>,
    /// Here, before.
    pub pre_local: Option<String>,
    /// Here, after.
    pub post_local: Option<String>,
}

/// Snapshots of the volume.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// The subvolume of which snapshots are taken.
    pub volume: PathBuf,
    /// Where they are kept, below the volume.
    pub directory: PathBuf,
    /// Taken before the transfers instead of after them.
    pub before: bool,
    /// The schedules, in the order of the file.
    pub schedules: Vec<Schedule>,
}

/// One kind of snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Tag, the first part of the snapshot's name.
    pub tag: String,
    /// Complete ones that are kept; 0 keeps all.
    pub count: u64,
    /// Least time between two.
    pub interval: Duration,
}

/// A usable configuration with what its author should know.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// In the order of the file.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks the text of a `backup.yaml`.
    ///
    /// # Errors
    /// All problems of the file together, in its order.
    pub fn parse(text: &str) -> Result<Checked, Problems> {
        let mut file = ConfigFile::open(text);
        let mut found = Problems::default();
        let config = config_check::check(&mut file, &mut found);
        let mut problems = file.problems(found);
        problems.sort();
        if problems.errors.is_empty() {
            Ok(Checked { config, warnings: problems.warnings })
        } else {
            Err(problems)
        }
    }
}

impl Host {
    /// Where one of its paths stands in the configuration, such as `hosts.server1.paths[0]`.
    pub fn key_of(&self, job: &PathJob) -> String {
        format!("hosts.{}.paths[{}]", self.name, job.index)
    }
}

impl Access {
    /// The ssh destination, unless the host is this machine.
    pub fn ssh(&self) -> Option<&SshTarget> {
        match self {
            Self::Local => None,
            Self::Ssh(target) => Some(target),
        }
    }
}
