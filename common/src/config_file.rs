//! The configuration as written: every key of `backup.yaml`, typed and located, nothing inherited.
//!
//! Reading collects every problem instead of stopping at the first. What a value means, its default
//! and how it is inherited is decided in [`crate::config`].

use std::time::Duration;
use std::vec;

use crate::config_keys::{KeySpec, Kind, Level, Maybe, keys};
use crate::problems::Problems;
use crate::yaml::{self, Key, Node};
use crate::yaml_table::Table;
pub use crate::yaml_table::{Amount, Located};

/// The whole file. Its hosts are read one after the other, so that there is never more of thousands of paths than the
/// text and what became of them.
pub struct ConfigFile<'t> {
    /// The block `config`.
    pub config: GlobalBlock,
    /// The block `snapshots`; it is known when all hosts are read.
    pub snapshots: Option<SnapshotsBlock>,
    /// The text, as long as it is not read to its end.
    text: Option<yaml::Reader<'t>>,
    /// Hosts that were read with the rest of the text.
    hosts: vec::IntoIter<(Key, Node)>,
    problems: Problems,
    is_yaml: bool,
}

keys! {
    /// `config:`
    pub struct GlobalBlock {
        /// The directory below which each host has its own: `backup_base/HOST/dest_subdir`.
        backup_base: text { default: Some("/share/backup/"), pattern: Some(ABSOLUTE) },
        /// Keeps a second run away. A directory that everybody can write to lets everybody stop the backups.
        lock_file: text { default: Some("/run/backup-runner.lock"), pattern: Some(ABSOLUTE) },
        /// The records of every run, one JSON line each.
        stats_file: text { default: Some("/var/log/backup-stats.log"), pattern: Some(ABSOLUTE) },
        /// Where the scripts are: a script NAME is the file `scripts_dir/NAME.sh`.
        scripts_dir: text { default: Some("/etc/backup/scripts"), pattern: Some(ABSOLUTE) },
        /// Hosts that are backed up at a time; the number of cores unless set.
        parallel: number { range: (1, 1024) },
        /// Time before paths are tried again, for reasons that can pass.
        retry_wait: duration { default: Some("1 min") },
        /// Nothing is written when less than this is free: bytes, or a share of the volume; 0 is no limit.
        min_free: amount { default: Some("0") },
        /// Refuse when `backup_base` is on the root file system, because the volume is not mounted; true by
        /// default when `snapshots.volume` is set.
        require_mount: boolean,
    }
    also {
        /// Keys that hosts and paths may override.
        shared: SharedKeys,
    }
}

keys! {
    /// `hosts.NAME:`
    pub struct HostBlock {
        /// `user` or `user@host`; left out or empty: this machine.
        ssh_user: text_or_empty,
        /// Name or address; the host's name in this file unless set.
        hostname: text { pattern: Some(r"^\[?[A-Za-z0-9._:%][A-Za-z0-9._:%-]*\]?$") },
        /// Port of the ssh server; 22 or what ssh's own configuration says unless set.
        ssh_port: number { range: (1, 65535) },
        /// Private key file.
        ssh_key: text { pattern: Some(ABSOLUTE) },
        /// Further options of ssh, such as a jump host; none can undo the runner's own.
        ssh_options: texts,
        /// No ping before ssh is tried.
        ignore_ping: boolean { default: Some("false") },
        /// false: files arrive owned by the user who runs the backup, directories 755 and files 644.
        /// true: owner, group and permissions as they are on the source.
        preserve_ownership: boolean { default: Some("false") },
        /// A host that can not be reached is skipped, not failed.
        optional: boolean { default: Some("false") },
        /// false switches the host off.
        enabled: boolean { default: Some("true") },
    }
    also {
        /// The host's name in the file.
        name: Key,
        /// Where it stands.
        line: usize,
        /// Scripts around all paths of the host.
        scripts: ScriptKeys,
        /// Keys that paths may override.
        shared: SharedKeys,
        /// What is backed up.
        paths: Vec<PathBlock>,
    }
}

keys! {
    /// `hosts.NAME.paths[]:`
    pub struct PathBlock {
        /// The directory that is backed up.
        path: text { required: true, pattern: Some(ABSOLUTE) },
        /// Below the host's directory; the path itself unless set. No two may be equal or inside of each other.
        dest_subdir: text { pattern: Some(r"^\s*([^/\s]|$)") },
        /// A file that must exist below the source before anything is transferred.
        require: text { pattern: Some(r"^\s*([^/\s]|$)") },
    }
    also {
        /// Where it stands, such as `hosts.server1.paths[0]`.
        key: String,
        /// Its line.
        line: usize,
        /// Scripts around this path.
        scripts: ScriptKeys,
        /// Keys that this path overrides.
        shared: SharedKeys,
    }
}

keys! {
    /// Keys that a narrower block may override.
    pub struct SharedKeys {
        /// Text or a list; those of host and path are added. What rsync prints is the runner's to decide, so -v, -h,
        /// --stats and the like are left out; options that change the connection or the safety are refused.
        rsync_options: texts { default: Some("-a --delete --numeric-ids") },
        /// The older name of `rsync_options` in a path; both together add up.
        host_options: texts { levels: &[Level::Path] },
        /// rsync on the source, such as `sudo rsync`.
        rsync_path: text { levels: &[Level::Host, Level::Path], pattern: Some("^[^-]") },
        /// Patterns of what is left out, as rsync's --exclude-from takes them.
        exclude_file: text { levels: &[Level::Host, Level::Path], pattern: Some(ABSOLUTE) },
        /// Longest time to connect.
        connect_timeout: duration { levels: &[Level::Global, Level::Host], default: Some("10 s") },
        /// Longest time without data.
        io_timeout: duration { default: Some("10 min") },
        /// Longest time for a whole path; 0 is no limit.
        path_timeout: duration { default: Some("0") },
        /// Longest time for one script.
        hook_timeout: duration { default: Some("1 h") },
        /// Further tries at the end of the run for reasons that can pass.
        retries: number { levels: &[Level::Global, Level::Host], default: Some("0") },
        /// Most files that may be deleted in a path's backup in one run: a number, a share of the files last seen, or
        /// 0 for no limit. Unset: the larger of 50 files and 20 %. Accept once with --force-delete HOST:PATH.
        max_delete: amount,
    }
}

keys! {
    /// The four scripts of a host or a path.
    pub struct ScriptKeys {
        /// Runs on the source before; when it fails, nothing is transferred.
        pre_script: text { pattern: Some(SCRIPT) },
        /// Runs on the source after, also after a failure.
        post_script: text { pattern: Some(SCRIPT) },
        /// Runs on this machine before; when it fails, nothing is transferred.
        pre_script_local: text { pattern: Some(SCRIPT) },
        /// Runs on this machine after, also after a failure.
        post_script_local: text { pattern: Some(SCRIPT) },
    }
}

keys! {
    /// `snapshots:`
    pub struct SnapshotsBlock {
        /// The btrfs subvolume of which snapshots are taken.
        volume: text { required: true, pattern: Some(ABSOLUTE) },
        /// Where they are kept, below the volume.
        directory: text { default: Some(".snapshots"), pattern: Some(r"^\s*[^/\s]") },
        /// Taken before or after the transfers.
        when: text { default: Some("after"), choices: &["after", "before"] },
    }
    also {
        /// Where it stands.
        line: usize,
        /// The schedules.
        schedules: Vec<ScheduleBlock>,
    }
}

keys! {
    /// `snapshots.schedules[]:`
    pub struct ScheduleBlock {
        /// Any tag; the snapshot's name begins with it.
        tag as "type": text { required: true, pattern: Some(r"^\s*[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\s*$") },
        /// Complete snapshots that are kept; 0 keeps all.
        count: number { default: Some("0") },
        /// Least time between two snapshots.
        interval: duration { required: true },
    }
    also {
        /// Where it stands, such as `snapshots.schedules[0]`.
        key: String,
        /// Its line.
        line: usize,
    }
}

const ABSOLUTE: &str = r"^\s*/";
const SCRIPT: &str = r"^\s*[A-Za-z0-9_][A-Za-z0-9_.-]*\s*$";

impl<'t> ConfigFile<'t> {
    /// Begins to read the text of a `backup.yaml`; what can not be read is absent from the result.
    pub fn open(text: &'t str) -> Self {
        let mut file = Self {
            config: GlobalBlock::default(),
            snapshots: None,
            text: None,
            hosts: Vec::new().into_iter(),
            problems: Problems::default(),
            is_yaml: true,
        };
        let mut reader = yaml::Reader::new(text, Some("hosts"));
        // Hosts take over from this block. They can wait for it, as part of the tree, where it stands behind them.
        if reader.reach_block()
            && let Some(node) = reader.outermost("config").filter(|node| !node.is_null())
        {
            file.config = GlobalBlock::read(node, &mut file.problems);
            file.text = Some(reader);
        } else {
            file.finish(reader, false);
        }
        file
    }

    /// Reads the next host; what can not be read of it is in `problems` and absent from the result.
    pub fn next_host(&mut self, problems: &mut Problems) -> Option<HostBlock> {
        let next = self.text.as_mut().and_then(yaml::Reader::next_entry);
        if next.is_none()
            && let Some(reader) = self.text.take()
        {
            self.finish(reader, true);
        }
        next.or_else(|| self.hosts.next()).map(|(name, node)| HostBlock::read(name, &node, problems))
    }

    /// Whether nothing is wrong with what is read so far.
    pub fn is_right(&self) -> bool {
        self.problems.errors.is_empty()
    }

    /// All problems: those of the text, and those that were found in what it says. Text that is no YAML says nothing.
    pub fn problems(mut self, of_content: Problems) -> Problems {
        if self.is_yaml {
            self.problems.append(of_content);
        }
        self.problems
    }

    /// Reads the text to its end, and everything that is not read yet.
    fn finish(&mut self, reader: yaml::Reader<'_>, has_config: bool) {
        let of_config = std::mem::take(&mut self.problems);
        let root = reader.finish(&mut self.problems);
        let Some(mut root) = root else {
            self.is_yaml = false;
            return;
        };
        self.problems.append(of_config);
        let problems = &mut self.problems;
        self.hosts = root.take_block("hosts").unwrap_or_default().into_iter();
        let mut table = Table::open(&root, String::new(), problems);
        if let Some(node) = table.node("config").filter(|_| !has_config) {
            self.config = GlobalBlock::read(node, problems);
        }
        // Something else than a block of hosts is still there, and reported.
        if let Some(node) = table.node("hosts") {
            Table::open(node, table.key_path("hosts"), problems);
        }
        self.snapshots = table.node("snapshots").map(|node| {
            SnapshotsBlock::read(Table::open(node, table.key_path("snapshots"), problems), problems)
        });
        table.finish(problems);
    }
}

impl GlobalBlock {
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut table = Table::open(node, "config".to_owned(), problems);
        let mut block = Self::default();
        block.read_keys(&mut table, Level::Global, problems);
        block.shared = SharedKeys::read(&mut table, Level::Global, problems);
        table.finish(problems);
        block
    }
}

impl HostBlock {
    fn read(name: Key, node: &Node, problems: &mut Problems) -> Self {
        let mut table = Table::open(node, format!("hosts.{}", name.text), problems);
        let mut block = Self { line: name.line, name, ..Self::default() };
        block.read_keys(&mut table, Level::Host, problems);
        block.scripts.read_keys(&mut table, Level::Host, problems);
        block.shared = SharedKeys::read(&mut table, Level::Host, problems);
        block.paths = table
            .blocks("paths", problems)
            .into_iter()
            .map(|(node, key)| PathBlock::read(key.clone(), Table::open(node, key, problems), problems))
            .collect();
        table.finish(problems);
        block
    }
}

impl PathBlock {
    fn read(key: String, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let mut block = Self { key, line: table.line(), ..Self::default() };
        block.read_keys(&mut table, Level::Path, problems);
        block.scripts.read_keys(&mut table, Level::Path, problems);
        block.shared = SharedKeys::read(&mut table, Level::Path, problems);
        table.finish(problems);
        block
    }
}

impl SharedKeys {
    fn read(table: &mut Table<'_>, level: Level, problems: &mut Problems) -> Self {
        let mut keys = Self::default();
        keys.read_keys(table, level, problems);
        if let Some(older) = keys.host_options.take() {
            keys.rsync_options.get_or_insert_default().extend(older);
        }
        keys
    }
}

impl SnapshotsBlock {
    fn read(mut table: Table<'_>, problems: &mut Problems) -> Self {
        let mut block = Self { line: table.line(), ..Self::default() };
        block.read_keys(&mut table, Level::Own, problems);
        block.schedules = table
            .blocks("schedules", problems)
            .into_iter()
            .map(|(node, key)| ScheduleBlock::read(key.clone(), Table::open(node, key, problems), problems))
            .collect();
        table.finish(problems);
        block
    }
}

impl ScheduleBlock {
    fn read(key: String, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let mut block = Self { key, line: table.line(), ..Self::default() };
        block.read_keys(&mut table, Level::Own, problems);
        table.finish(problems);
        block
    }
}
