//! A checked configuration written out again: inherited, with its defaults, and in a form that is read
//! back as the same configuration.
//!
//! Each path holds everything that counts for it, so the block `config` keeps only what is not a path's.
//! No secret stands in a configuration; keys are named by their files.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::config::{
    Access, Amount, Config, Host, MaxDelete, PathJob, Schedule, Scripts, Snapshots, SshTarget,
};

/// A part of the configuration. Blocks keep the order in which people read them.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A text.
    Text(String),
    /// A number; durations are seconds.
    Number(serde_json::Number),
    /// A boolean.
    Boolean(bool),
    /// Unset, and what that means.
    Unset(&'static str),
    /// A list.
    List(Vec<Self>),
    /// A block of keys.
    Block(Vec<(String, Self)>),
}

/// The configuration with everything that is inherited or by default.
pub fn effective(config: &Config) -> Part {
    let keys = vec![
        ("backup_base", path(&config.backup_base)),
        ("lock_file", path(&config.lock_file)),
        ("stats_file", path(&config.stats_file)),
        ("scripts_dir", path(&config.scripts_dir)),
        (
            "parallel",
            config.parallel.map_or(Part::Unset("the number of cores"), |count| whole(count.get() as u64)),
        ),
        ("retry_wait", seconds(config.retry_wait)),
        ("min_free", config.min_free.map_or_else(|| whole(0), amount)),
        ("require_mount", Part::Boolean(config.require_mount)),
        // All of them stand in the paths.
        ("rsync_options", Part::List(Vec::new())),
    ];
    let mut blocks = vec![("config".to_owned(), block(keys))];
    let hosts = config.hosts.iter().map(|host| (host.name.to_string(), host_block(host))).collect();
    blocks.push(("hosts".to_owned(), Part::Block(hosts)));
    if let Some(snapshots) = &config.snapshots {
        blocks.push(("snapshots".to_owned(), snapshots_block(snapshots)));
    }
    Part::Block(blocks)
}

fn host_block(host: &Host) -> Part {
    let mut keys = match &host.access {
        Access::Local => vec![("ssh_user", text(""))],
        Access::Ssh(target) => ssh_keys(target),
    };
    keys.extend([
        ("ignore_ping", Part::Boolean(host.ignore_ping)),
        (
            "preserve_ownership",
            Part::Boolean(host.paths.first().is_some_and(|job| job.settings.preserve_ownership)),
        ),
        ("optional", Part::Boolean(host.optional)),
        ("enabled", Part::Boolean(host.enabled)),
        ("connect_timeout", seconds(host.connect_timeout)),
        ("retries", whole(host.retries.into())),
        ("hook_timeout", seconds(host.hook_timeout)),
    ]);
    keys.extend(scripts(&host.scripts));
    let paths = host.paths.iter().map(|job| path_block(host, job)).collect();
    keys.push(("paths", Part::List(paths)));
    block(keys)
}

fn ssh_keys(target: &SshTarget) -> Vec<(&'static str, Part)> {
    let mut keys = vec![("ssh_user", text(&target.user)), ("hostname", text(&target.hostname))];
    // `user@host` with another name for the host is written as two keys; a user with an @ keeps its host behind it.
    if target.user.contains('@') {
        keys = vec![("ssh_user", text(&format!("{}@{}", target.user, target.hostname)))];
    }
    keys.push(("ssh_port", target.port.map_or(Part::Unset("ssh's own"), |port| whole(port.into()))));
    keys.push(("ssh_key", target.key.as_deref().map_or(Part::Unset("ssh's own"), path)));
    if !target.options.is_empty() {
        keys.push(("ssh_options", Part::List(vec![text(&shell_words::join(&target.options))])));
    }
    keys
}

fn path_block(host: &Host, job: &PathJob) -> Part {
    let below = job.destination.strip_prefix(host.name.as_str()).unwrap_or(&job.destination);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let options = job.settings.rsync_options.iter().map(|option| text(&shell_words::quote(option))).collect();
    let mut keys =
        vec![("path", text(&job.path)), ("dest_subdir", path(below)), ("rsync_options", Part::List(options))];
    keys.extend(job.settings.exclude_file.as_deref().map(|file| ("exclude_file", path(file))));
    keys.extend(job.settings.rsync_path.as_deref().map(|program| ("rsync_path", text(program))));
    keys.extend(job.settings.require.as_deref().map(|file| ("require", text(file))));
    keys.extend([
        ("io_timeout", seconds(job.settings.io_timeout)),
        ("path_timeout", seconds(job.settings.path_timeout.unwrap_or_default())),
        ("hook_timeout", seconds(job.settings.hook_timeout)),
        (
            "max_delete",
            match job.settings.max_delete {
                MaxDelete::Default => Part::Unset("the larger of 50 files and 20 %"),
                MaxDelete::Off => whole(0),
                MaxDelete::Files(files) => whole(files),
                MaxDelete::Percent(share) => amount(Amount::Percent(share)),
            },
        ),
    ]);
    keys.extend(scripts(&job.settings.scripts));
    block(keys)
}

fn scripts(scripts: &Scripts) -> impl Iterator<Item = (&'static str, Part)> {
    let named = [
        ("pre_script", &scripts.pre),
        ("post_script", &scripts.post),
        ("pre_script_local", &scripts.pre_local),
        ("post_script_local", &scripts.post_local),
    ];
    named.into_iter().filter_map(|(key, script)| Some((key, text(script.as_deref()?))))
}

fn snapshots_block(snapshots: &Snapshots) -> Part {
    let below = snapshots.directory.strip_prefix(&snapshots.volume).unwrap_or(&snapshots.directory);
    let schedule = |schedule: &Schedule| {
        block(vec![
            ("type", text(&schedule.tag)),
            ("count", whole(schedule.count)),
            ("interval", seconds(schedule.interval)),
        ])
    };
    block(vec![
        ("volume", path(&snapshots.volume)),
        ("directory", path(below)),
        ("when", text(if snapshots.before { "before" } else { "after" })),
        ("schedules", Part::List(snapshots.schedules.iter().map(schedule).collect())),
    ])
}

fn block(keys: Vec<(&'static str, Part)>) -> Part {
    Part::Block(keys.into_iter().map(|(key, part)| (key.to_owned(), part)).collect())
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn path(path: &Path) -> Part {
    Part::Text(path.display().to_string())
}

fn whole(number: u64) -> Part {
    Part::Number(number.into())
}

fn seconds(duration: Duration) -> Part {
    if duration.subsec_nanos() == 0 {
        return whole(duration.as_secs());
    }
    serde_json::Number::from_f64(duration.as_secs_f64())
        .map_or_else(|| whole(duration.as_secs()), Part::Number)
}

fn amount(amount: Amount) -> Part {
    match amount {
        Amount::Count(count) => whole(count),
        Amount::Percent(share) => Part::Text(format!("{share}%")),
    }
}

impl Part {
    /// The configuration as YAML; what is unset stands as a comment.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write_yaml(&mut out, 0);
        out
    }

    fn write_yaml(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Block(keys) => {
                for (key, part) in keys {
                    let key = scalar(key);
                    let _ = match part {
                        Self::Unset(meaning) => writeln!(out, "{indent}#{key}: {meaning}"),
                        Self::Block(inner) if !inner.is_empty() => writeln!(out, "{indent}{key}:"),
                        Self::List(inner) if !inner.is_empty() => writeln!(out, "{indent}{key}:"),
                        single => writeln!(out, "{indent}{key}: {}", single.in_line()),
                    };
                    if matches!(part, Self::Block(_) | Self::List(_)) {
                        part.write_yaml(out, depth + 1);
                    }
                }
            }
            Self::List(items) => {
                for item in items {
                    if !matches!(item, Self::Block(_) | Self::List(_)) {
                        let _ = writeln!(out, "{indent}- {}", item.in_line());
                        continue;
                    }
                    let mut inner = String::new();
                    item.write_yaml(&mut inner, depth + 1);
                    // The first line carries the dash in its indentation.
                    out.push_str(&indent);
                    out.push_str("- ");
                    out.push_str(inner.trim_start());
                }
            }
            single => {
                let _ = writeln!(out, "{indent}{}", single.in_line());
            }
        }
    }

    fn in_line(&self) -> String {
        match self {
            Self::Text(text) => scalar(text),
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Unset(_) => "~".to_owned(),
            Self::List(_) => "[]".to_owned(),
            Self::Block(_) => "{}".to_owned(),
        }
    }
}

/// Plain where every reader of YAML takes it for the same text, else in double quotes, as JSON has them.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(plain)
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
            Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
            Self::Unset(_) => serializer.serialize_none(),
            Self::List(items) => serializer.collect_seq(items),
            Self::Block(keys) => {
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (key, part) in keys {
                    map.serialize_entry(key, part)?;
                }
                map.end()
            }
        }
    }
}
