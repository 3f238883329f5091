//! The configuration as written: every key of `backup.yaml`, typed and located, nothing inherited.
//!
//! Reading collects every problem instead of stopping at the first. What a value means, its default
//! and how it is inherited is decided in [`crate::config`].

use std::time::Duration;

use crate::problems::Problems;
use crate::yaml::{self, Key};
use crate::yaml_table::Table;
pub use crate::yaml_table::{Amount, Located};

type Maybe<T> = Option<Located<T>>;

/// The whole file.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// The block `config`.
    pub config: GlobalBlock,
    /// The block `hosts`, in the order of the file.
    pub hosts: Vec<HostBlock>,
    /// The block `snapshots`.
    pub snapshots: Option<SnapshotsBlock>,
}

/// `config:`
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct GlobalBlock {
    pub backup_base: Maybe<String>,
    pub lock_file: Maybe<String>,
    pub stats_file: Maybe<String>,
    pub scripts_dir: Maybe<String>,
    pub parallel: Maybe<u64>,
    pub retry_wait: Maybe<Duration>,
    pub min_free: Maybe<Amount>,
    pub require_mount: Maybe<bool>,
    pub shared: SharedKeys,
}

/// `hosts.NAME:`
#[derive(Debug)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct HostBlock {
    pub name: Key,
    pub line: usize,
    pub ssh_user: Maybe<String>,
    pub hostname: Maybe<String>,
    pub ssh_port: Maybe<u64>,
    pub ssh_key: Maybe<String>,
    pub ssh_options: Option<Vec<Located<String>>>,
    pub ignore_ping: Maybe<bool>,
    pub preserve_ownership: Maybe<bool>,
    pub optional: Maybe<bool>,
    pub enabled: Maybe<bool>,
    pub scripts: ScriptKeys,
    pub shared: SharedKeys,
    pub paths: Vec<PathBlock>,
}

/// `hosts.NAME.paths[]:`
#[derive(Debug)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct PathBlock {
    pub key: String,
    pub line: usize,
    pub path: Maybe<String>,
    pub dest_subdir: Maybe<String>,
    pub require: Maybe<String>,
    pub scripts: ScriptKeys,
    pub shared: SharedKeys,
}

/// Keys that a narrower block may override.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct SharedKeys {
    pub rsync_options: Option<Vec<Located<String>>>,
    pub rsync_path: Maybe<String>,
    pub exclude_file: Maybe<String>,
    pub connect_timeout: Maybe<Duration>,
    pub io_timeout: Maybe<Duration>,
    pub path_timeout: Maybe<Duration>,
    pub hook_timeout: Maybe<Duration>,
    pub retries: Maybe<u64>,
    pub max_delete: Maybe<Amount>,
}

/// The four scripts of a host or a path.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct ScriptKeys {
    pub pre_script: Maybe<String>,
    pub post_script: Maybe<String>,
    pub pre_script_local: Maybe<String>,
    pub post_script_local: Maybe<String>,
}

/// `snapshots:`
#[derive(Debug)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct SnapshotsBlock {
    pub line: usize,
    pub volume: Maybe<String>,
    pub directory: Maybe<String>,
    pub when: Maybe<String>,
    pub schedules: Vec<ScheduleBlock>,
}

/// `snapshots.schedules[]:`
#[derive(Debug)]
#[expect(missing_docs, reason = "the keys are described in backup.yaml.example and in the checked config")]
pub struct ScheduleBlock {
    pub key: String,
    pub line: usize,
    pub tag: Maybe<String>,
    pub count: Maybe<u64>,
    pub interval: Maybe<Duration>,
}

/// Which of the shared keys a block knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Global,
    Host,
    Path,
}

impl ConfigFile {
    /// Reads the text of a `backup.yaml`; what can not be read is in `problems` and absent from the result.
    pub fn parse(text: &str, problems: &mut Problems) -> Self {
        let Some(root) = yaml::parse(text, problems) else {
            return Self::default();
        };
        let mut table = Table::open(&root, String::new(), problems);
        let config = table
            .node("config")
            .map(|node| GlobalBlock::read(Table::open(node, table.key_path("config"), problems), problems));
        let hosts = table.node("hosts").map(|node| {
            let hosts = Table::open(node, table.key_path("hosts"), problems);
            let read = |(name, node): &(Key, yaml::Node)| {
                HostBlock::read(name, Table::open(node, hosts.key_path(&name.text), problems), problems)
            };
            hosts.entries().iter().map(read).collect()
        });
        let snapshots = table.node("snapshots").map(|node| {
            SnapshotsBlock::read(Table::open(node, table.key_path("snapshots"), problems), problems)
        });
        table.finish(problems);
        Self { config: config.unwrap_or_default(), hosts: hosts.unwrap_or_default(), snapshots }
    }
}

impl GlobalBlock {
    fn read(mut table: Table<'_>, problems: &mut Problems) -> Self {
        let block = Self {
            backup_base: table.text("backup_base", problems),
            lock_file: table.text("lock_file", problems),
            stats_file: table.text("stats_file", problems),
            scripts_dir: table.text("scripts_dir", problems),
            parallel: table.number("parallel", problems),
            retry_wait: table.duration("retry_wait", problems),
            min_free: table.amount("min_free", problems),
            require_mount: table.boolean("require_mount", problems),
            shared: SharedKeys::read(&mut table, Level::Global, problems),
        };
        table.finish(problems);
        block
    }
}

impl HostBlock {
    fn read(name: &Key, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let block = Self {
            name: name.clone(),
            line: name.line,
            ssh_user: table.text_or_empty("ssh_user", problems),
            hostname: table.text("hostname", problems),
            ssh_port: table.number("ssh_port", problems),
            ssh_key: table.text("ssh_key", problems),
            ssh_options: table.texts("ssh_options", problems),
            ignore_ping: table.boolean("ignore_ping", problems),
            preserve_ownership: table.boolean("preserve_ownership", problems),
            optional: table.boolean("optional", problems),
            enabled: table.boolean("enabled", problems),
            scripts: ScriptKeys::read(&mut table, problems),
            shared: SharedKeys::read(&mut table, Level::Host, problems),
            paths: table
                .blocks("paths", problems)
                .into_iter()
                .map(|(node, key)| PathBlock::read(key.clone(), Table::open(node, key, problems), problems))
                .collect(),
        };
        table.finish(problems);
        block
    }
}

impl PathBlock {
    fn read(key: String, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let block = Self {
            key,
            line: table.line(),
            path: table.text("path", problems),
            dest_subdir: table.text("dest_subdir", problems),
            require: table.text("require", problems),
            scripts: ScriptKeys::read(&mut table, problems),
            shared: SharedKeys::read(&mut table, Level::Path, problems),
        };
        table.finish(problems);
        block
    }
}

impl SharedKeys {
    fn read(table: &mut Table<'_>, level: Level, problems: &mut Problems) -> Self {
        let mut keys = Self {
            rsync_options: table.texts("rsync_options", problems),
            io_timeout: table.duration("io_timeout", problems),
            path_timeout: table.duration("path_timeout", problems),
            hook_timeout: table.duration("hook_timeout", problems),
            max_delete: table.amount("max_delete", problems),
            ..Self::default()
        };
        if level != Level::Path {
            keys.connect_timeout = table.duration("connect_timeout", problems);
            keys.retries = table.number("retries", problems);
        }
        if level != Level::Global {
            keys.rsync_path = table.text("rsync_path", problems);
            keys.exclude_file = table.text("exclude_file", problems);
        }
        if level == Level::Path {
            // The older name of the same key; both together add up.
            if let Some(older) = table.texts("host_options", problems) {
                keys.rsync_options.get_or_insert_default().extend(older);
            }
        }
        keys
    }
}

impl ScriptKeys {
    fn read(table: &mut Table<'_>, problems: &mut Problems) -> Self {
        Self {
            pre_script: table.text("pre_script", problems),
            post_script: table.text("post_script", problems),
            pre_script_local: table.text("pre_script_local", problems),
            post_script_local: table.text("post_script_local", problems),
        }
    }
}

impl SnapshotsBlock {
    fn read(mut table: Table<'_>, problems: &mut Problems) -> Self {
        let block = Self {
            line: table.line(),
            volume: table.text("volume", problems),
            directory: table.text("directory", problems),
            when: table.text("when", problems),
            schedules: table
                .blocks("schedules", problems)
                .into_iter()
                .map(|(node, key)| {
                    ScheduleBlock::read(key.clone(), Table::open(node, key, problems), problems)
                })
                .collect(),
        };
        table.finish(problems);
        block
    }
}

impl ScheduleBlock {
    fn read(key: String, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let block = Self {
            key,
            line: table.line(),
            tag: table.text("type", problems),
            count: table.number("count", problems),
            interval: table.duration("interval", problems),
        };
        table.finish(problems);
        block
    }
}
