//! From the file as written to the checked configuration: defaults, inheritance, and every rule
//! that can be told from the text alone.

mod access;
mod overlap;
mod snapshots;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Host, MaxDelete, PathJob, PathSettings, Scripts};
use crate::config_file::{Amount, ConfigFile, HostBlock, Located, PathBlock, ScriptKeys, SharedKeys};
use crate::names::{self, HostName};
use crate::problems::Problems;
use crate::rsync_options;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DEFAULT_RSYNC_OPTIONS: &str = "-a --delete --numeric-ids";

/// Reads and checks the whole file; the result is usable only when neither `problems` nor the file has errors.
pub fn check(file: &mut ConfigFile<'_>, problems: &mut Problems) -> Config {
    let global = &std::mem::take(&mut file.config);
    let lock_file =
        absolute(global.lock_file.as_ref(), "config.lock_file", "/run/backup-runner.lock", problems);
    let everybodys = [Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/dev/shm")];
    if let Some(lock) = global.lock_file.as_ref()
        && lock_file.parent().is_some_and(|folder| everybodys.contains(&folder))
    {
        problems.warning(
            lock.line,
            "config.lock_file",
            "any user of this machine can hold a lock in this directory and stop all backups; leave the key out to use /run/backup-runner.lock",
        );
    }
    let global_options =
        rsync_words(global.shared.rsync_options.as_deref(), "config.rsync_options", problems)
            .unwrap_or_else(|| rsync_options::split(DEFAULT_RSYNC_OPTIONS).unwrap_or_default());
    let parallel = global.parallel.as_ref().and_then(|parallel| {
        let count = usize::try_from(parallel.value)
            .ok()
            .and_then(NonZeroUsize::new)
            .filter(|count| count.get() <= 1024);
        if count.is_none() {
            problems.error(parallel.line, "config.parallel", "expected 1 to 1024 hosts at a time");
        }
        count
    });
    let (mut hosts, mut is_empty) = (Vec::new(), true);
    let mut neighbours = Neighbours::default();
    while let Some(block) = file.next_host(problems) {
        is_empty = false;
        hosts.extend(host(&block, &global.shared, &global_options, &mut neighbours, problems));
    }
    if is_empty && problems.errors.is_empty() && file.is_right() {
        problems.error(1, "hosts", "no host is configured; add one with its ssh_user and paths");
    }
    hosts.shrink_to_fit();
    overlap::check(&hosts, problems);
    let snapshots = file.snapshots.as_ref().and_then(|block| snapshots::check(block, problems));
    let backup_base = absolute(global.backup_base.as_ref(), "config.backup_base", "/share/backup/", problems);
    if let (Some(block), Some(snapshots)) = (&file.snapshots, &snapshots) {
        snapshots::check_apart(block, snapshots, &backup_base, &hosts, problems);
    }
    Config {
        backup_base,
        lock_file,
        stats_file: absolute(
            global.stats_file.as_ref(),
            "config.stats_file",
            "/var/log/backup-stats.log",
            problems,
        ),
        scripts_dir: absolute(
            global.scripts_dir.as_ref(),
            "config.scripts_dir",
            "/etc/backup/scripts",
            problems,
        ),
        parallel,
        retry_wait: value_or(global.retry_wait.as_ref(), MINUTE),
        min_free: global
            .min_free
            .as_ref()
            .map(|amount| amount.value)
            .filter(|amount| *amount != Amount::Count(0)),
        require_mount: value_or(global.require_mount.as_ref(), snapshots.is_some()),
        hosts,
        snapshots,
    }
}

fn host(
    block: &HostBlock,
    global: &SharedKeys,
    global_options: &[String],
    neighbours: &mut Neighbours,
    problems: &mut Problems,
) -> Option<Host> {
    let key = format!("hosts.{}", block.name.text);
    let name = HostName::new(&block.name.text)
        .map_err(|message| problems.error(block.line, key.clone(), message))
        .ok();
    let access = access::check(block, &key, problems);
    if block.paths.is_empty() {
        problems.error(
            block.line,
            format!("{key}.paths"),
            "a host needs at least one path: paths: [{path: /etc}]",
        );
    }
    let name = name?;
    let mut options = global_options.to_vec();
    options.extend(
        rsync_words(block.shared.rsync_options.as_deref(), &format!("{key}.rsync_options"), problems)
            .unwrap_or_default(),
    );
    let inherited = Inherited { name: &name, block, global, options: options.into() };
    let mut paths: Vec<PathJob> = block
        .paths
        .iter()
        .enumerate()
        .filter_map(|(index, path)| path_job(index, path, &inherited, neighbours, problems))
        .collect();
    // They stay as long as the run, and there can be ten thousands of them.
    paths.shrink_to_fit();
    check_repeated_paths(&block.paths, problems);
    let retries = block.shared.retries.as_ref().or(global.retries.as_ref());
    Some(Host {
        access: access?,
        ignore_ping: value_or(block.ignore_ping.as_ref(), false),
        optional: value_or(block.optional.as_ref(), false),
        enabled: value_or(block.enabled.as_ref(), true),
        connect_timeout: inherit(
            [&block.shared.connect_timeout, &global.connect_timeout],
            Duration::from_secs(10),
        ),
        retries: retries.map_or(0, |retries| u32::try_from(retries.value).unwrap_or(u32::MAX)),
        scripts: scripts(&block.scripts, &key, problems),
        hook_timeout: inherit([&block.shared.hook_timeout, &global.hook_timeout], HOUR),
        paths,
        name,
    })
}

/// What a path takes over from its host and the global block.
struct Inherited<'a> {
    name: &'a HostName,
    block: &'a HostBlock,
    global: &'a SharedKeys,
    options: Arc<[String]>,
}

/// Most paths are backed up as the one before them: then they share its settings.
#[derive(Default)]
struct Neighbours {
    last: Option<Arc<PathSettings>>,
}

impl Neighbours {
    fn share(&mut self, settings: PathSettings) -> Arc<PathSettings> {
        match &self.last {
            Some(last) if **last == settings => Arc::clone(last),
            _ => Arc::clone(self.last.insert(Arc::new(settings))),
        }
    }
}

fn path_job(
    index: usize,
    block: &PathBlock,
    from: &Inherited<'_>,
    neighbours: &mut Neighbours,
    problems: &mut Problems,
) -> Option<PathJob> {
    let Some(path) = &block.path else {
        problems.error(block.line, block.key.clone(), "path is missing: say which directory to back up");
        return None;
    };
    if let Err(message) = names::check_source_path(&path.value) {
        problems.error(path.line, format!("{}.path", block.key), message);
        return None;
    }
    let subdir =
        block.dest_subdir.as_ref().map_or(path.value.trim_start_matches('/'), |subdir| subdir.value.as_str());
    let line = block.dest_subdir.as_ref().map_or(path.line, |subdir| subdir.line);
    let parts = names::relative_parts(subdir)
        .map_err(|message| problems.error(line, format!("{}.dest_subdir", block.key), message))
        .ok()?;
    let destination = Path::new(from.name.as_str()).join(parts.iter().collect::<PathBuf>());
    let settings = neighbours.share(path_settings(block, from, problems));
    Some(PathJob {
        index,
        line,
        path: path.value.as_str().into(),
        destination: destination.into_boxed_path(),
        settings,
    })
}

fn path_settings(block: &PathBlock, from: &Inherited<'_>, problems: &mut Problems) -> PathSettings {
    let require = block.require.as_ref().and_then(|require| match names::relative_parts(&require.value) {
        Ok(parts) if !parts.is_empty() => Some(parts.join("/")),
        Ok(_) => None,
        Err(message) => {
            problems.error(require.line, format!("{}.require", block.key), message);
            None
        }
    });

    let (own, host, global) = (&block.shared, &from.block.shared, from.global);
    let options_key = format!("{}.rsync_options", block.key);
    let options = match rsync_words(own.rsync_options.as_deref(), &options_key, problems) {
        Some(more) if !more.is_empty() => from.options.iter().cloned().chain(more).collect(),
        _ => Arc::clone(&from.options),
    };
    let exclude_file = own.exclude_file.as_ref().or(host.exclude_file.as_ref());
    let rsync_path = own.rsync_path.as_ref().or(host.rsync_path.as_ref());
    if let Some(rsync_path) =
        rsync_path.filter(|found| found.value.starts_with('-') || found.value.chars().any(char::is_control))
    {
        problems.error(
            rsync_path.line,
            format!("{}.rsync_path", block.key),
            "expected a program such as /usr/bin/rsync or sudo rsync",
        );
    }
    let max_delete = own.max_delete.as_ref().or(host.max_delete.as_ref()).or(global.max_delete.as_ref());
    let path_timeout = [&own.path_timeout, &host.path_timeout, &global.path_timeout];
    PathSettings {
        rsync_options: options,
        exclude_file: exclude_file
            .map(|file| absolute(Some(file), &format!("{}.exclude_file", block.key), "", problems)),
        rsync_path: rsync_path.map(|found| found.value.clone()),
        preserve_ownership: value_or(from.block.preserve_ownership.as_ref(), false),
        require,
        io_timeout: inherit([&own.io_timeout, &host.io_timeout, &global.io_timeout], 10 * MINUTE),
        path_timeout: path_timeout
            .into_iter()
            .flatten()
            .next()
            .map(|found| found.value)
            .filter(|limit| !limit.is_zero()),
        hook_timeout: inherit([&own.hook_timeout, &host.hook_timeout, &global.hook_timeout], HOUR),
        max_delete: match max_delete.map(|found| found.value) {
            None => MaxDelete::Default,
            Some(Amount::Count(0)) => MaxDelete::Off,
            Some(Amount::Count(files)) => MaxDelete::Files(files),
            Some(Amount::Percent(share)) => MaxDelete::Percent(share),
        },
        scripts: scripts(&block.scripts, &block.key, problems),
    }
}

fn scripts(keys: &ScriptKeys, key: &str, problems: &mut Problems) -> Scripts {
    let mut name = |script: &Option<Located<String>>, which: &str| {
        let script = script.as_ref()?;
        let name = script.value.strip_suffix(".sh").unwrap_or(&script.value);
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !plain || name.is_empty() || name.starts_with(['.', '-']) {
            problems.error(
                script.line,
                format!("{key}.{which}"),
                "expected the plain name of a script in scripts_dir: letters, digits, _ - and . only",
            );
            return None;
        }
        Some(name.to_owned())
    };
    Scripts {
        pre: name(&keys.pre_script, "pre_script"),
        post: name(&keys.post_script, "post_script"),
        pre_local: name(&keys.pre_script_local, "pre_script_local"),
        post_local: name(&keys.post_script_local, "post_script_local"),
    }
}

/// A series is named by host and path, so one path stands once in a host.
fn check_repeated_paths(paths: &[PathBlock], problems: &mut Problems) {
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for (block, path) in paths.iter().filter_map(|block| Some((block, block.path.as_ref()?))) {
        if let Some(first) = lines.insert(path.value.trim_end_matches('/'), path.line) {
            problems.error(
                path.line,
                format!("{}.path", block.key),
                format!("{} stands already on line {first}", path.value),
            );
        }
    }
}

/// Splits and checks the options of one level.
fn rsync_words(
    entries: Option<&[Located<String>]>,
    key: &str,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let entries = entries?;
    // An empty list asks for no options, where no key asks for the default ones.
    let line = entries.first().map_or(0, |entry| entry.line);
    let mut words = Vec::new();
    for entry in entries {
        match rsync_options::split(&entry.value) {
            Ok(split) => words.extend(split),
            Err(error) => problems.error(entry.line, key, error.to_string()),
        }
    }
    match rsync_options::check(&words) {
        Ok(kept) => Some(kept),
        Err(errors) => {
            for error in errors {
                problems.error(line, key, error.to_string());
            }
            None
        }
    }
}

fn absolute(found: Option<&Located<String>>, key: &str, default: &str, problems: &mut Problems) -> PathBuf {
    let Some(found) = found else {
        return PathBuf::from(default);
    };
    if !found.value.starts_with('/') || found.value.contains('\0') {
        problems.error(found.line, key, format!("expected an absolute path, found \"{}\"", found.value));
    }
    PathBuf::from(&found.value)
}

fn value_or<T: Copy>(found: Option<&Located<T>>, default: T) -> T {
    found.map_or(default, |found| found.value)
}

/// The value of the narrowest level that has one.
fn inherit<T: Copy, const N: usize>(levels: [&Option<Located<T>>; N], default: T) -> T {
    levels.into_iter().flatten().next().map_or(default, |found| found.value)
}
