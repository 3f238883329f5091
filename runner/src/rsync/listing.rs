//! Calls of rsync that list and transfer nothing: is a file there, is there anything at all, can it be read?
//!
//! rsync itself is asked, because a key on the source may be allowed to run nothing else. So no path of the
//! configuration meets a remote shell that a backup would not show it to.

use std::ffi::OsString;
use std::time::Duration;

use backup_common::config::{Access, Host, PathJob};

use super::command;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Listing<'a> {
    /// What stands directly below the source of a path.
    Source(&'a PathJob),
    /// One file below the source of a path.
    File(&'a PathJob, &'a str),
    /// The sources themselves, opened and not shown; all have the same `rsync_path`.
    Directories(&'a [&'a PathJob]),
}

/// Whether the source can be listed with the user's options: rsync lists nothing for a list of files.
pub fn can_list_source(job: &PathJob) -> bool {
    !job.settings.rsync_options.iter().any(|option| option.starts_with("--files-from"))
}

/// The arguments behind the program's name, all of which `rrsync` lets through; `timeout` is rsync's own, and
/// `escapes_names` as in the transfer itself.
pub fn arguments(host: &Host, listing: Listing<'_>, timeout: Duration, escapes_names: bool) -> Vec<OsString> {
    let mut arguments = listing.patterns();
    arguments.extend(listing.rsync_path().map(|program| format!("--rsync-path={program}")));
    arguments.push(format!("--timeout={}", command::whole_seconds(timeout)));
    if let Access::Ssh(target) = &host.access {
        arguments.extend(command::connection(target, host.connect_timeout, escapes_names));
    }
    // Without recursion, and without dropping directories because nothing below them was listed.
    arguments.extend(["--no-recursive", "--dirs", "--no-prune-empty-dirs", "--list-only"].map(str::to_owned));
    arguments.extend(["--no-human-readable", "--info=NONE,STATS2", "--stats", "--"].map(str::to_owned));
    arguments.extend(listing.sources(&host.access));
    if matches!(listing, Listing::Directories(_)) {
        // The last of several arguments is the destination; nothing is written to it.
        arguments.push("./".to_owned());
    }
    arguments.into_iter().map(OsString::from).collect()
}

impl Listing<'_> {
    fn rsync_path(&self) -> Option<&str> {
        match self {
            Self::Source(job) | Self::File(job, _) => job.settings.rsync_path.as_deref(),
            Self::Directories(jobs) => jobs.first()?.settings.rsync_path.as_deref(),
        }
    }

    /// What of it is listed.
    fn patterns(&self) -> Vec<String> {
        match self {
            Self::Source(job) => {
                // The user's options and patterns, so that what they leave out does not count.
                let writes = |option: &&String| {
                    ["--write-batch", "--log-file"].iter().any(|name| option.starts_with(name))
                };
                let mut patterns: Vec<String> =
                    job.settings.rsync_options.iter().filter(|option| !writes(option)).cloned().collect();
                patterns.extend(
                    job.settings.exclude_file.iter().map(|file| format!("--exclude-from={}", file.display())),
                );
                patterns
            }
            Self::File(..) => Vec::new(),
            Self::Directories(_) => vec!["--exclude=*".to_owned()],
        }
    }

    fn sources(&self, access: &Access) -> Vec<String> {
        match self {
            Self::Source(job) => vec![command::source(access, &job.path)],
            Self::File(job, name) => {
                let path = format!("{}/{name}", job.path.trim_end_matches('/'));
                // A slash behind it would ask for a directory.
                vec![command::source(access, &path).trim_end_matches('/').to_owned()]
            }
            Self::Directories(jobs) => jobs.iter().map(|job| command::source(access, &job.path)).collect(),
        }
    }
}

/// Counts the entries of a listing as it comes, without the listed directory itself.
#[derive(Debug, Default)]
pub struct Entries {
    line: Vec<u8>,
    /// Entries so far.
    pub count: u64,
}

impl Entries {
    /// As much of a line as is looked at.
    const LINE_BYTES: usize = 128;

    /// Takes a piece of standard output.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < Self::LINE_BYTES {
                self.line.push(byte);
            }
        }
    }

    /// Takes what is left of a line without its end.
    pub fn finish(&mut self) {
        self.end_line();
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if name(&line).is_some_and(|name| name != ".") {
            self.count += 1;
        }
        self.line.clear();
    }
}

/// The name in `drwxr-xr-x          4,096 2026/11/23 12:45:24 name`, which may begin with a space.
///
/// Only the first field tells an entry from the figures at the end, of which one begins with `sent`.
fn name(line: &str) -> Option<&str> {
    let mode = line.get(..10)?;
    let is_mode = mode.starts_with(['-', 'd', 'l', 'c', 'b', 's', 'p'])
        && mode[1..].chars().all(|c| matches!(c, '-' | 'r' | 'w' | 'x' | 's' | 'S' | 't' | 'T'));
    let mut rest = is_mode.then_some(line)?;
    for _ in 0..4 {
        rest = rest.trim_start_matches(' ').split_once(' ')?.1;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    const HOST: &str = "hosts: {a: {ssh_user: u, hostname: h, rsync_path: sudo rsync, paths: [{path: '/x [1]/', exclude_file: /e, rsync_options: --write-batch=/w --log-file=/l -m}, {path: '/y z*'}]}}";

    /// The words of the listing that is asked for, without the ssh command.
    fn words(
        listing: impl for<'a> Fn(&'a [PathJob]) -> (Vec<&'a PathJob>, Option<Listing<'a>>),
    ) -> Vec<String> {
        let config = Config::parse(HOST).expect("the config is right").config;
        let host = &config.hosts[0];
        let (jobs, one) = listing(&host.paths);
        let listing = one.unwrap_or(Listing::Directories(&jobs));
        let words = arguments(host, listing, Duration::from_millis(59_001), true);
        let words = words.into_iter().map(|word| word.into_string().expect("is text"));
        words.filter(|word| !word.starts_with("--rsh=")).collect()
    }

    const END: [&str; 8] = [
        "--no-recursive",
        "--dirs",
        "--no-prune-empty-dirs",
        "--list-only",
        "--no-human-readable",
        "--info=NONE,STATS2",
        "--stats",
        "--",
    ];

    #[test]
    fn the_source_is_listed_with_the_users_patterns_and_nothing_is_written() {
        let words = words(|jobs| (Vec::new(), Some(Listing::Source(&jobs[0]))));
        let begin = ["-a", "--delete", "--numeric-ids", "-m", "--exclude-from=/e"];
        let middle = ["--rsync-path=sudo rsync", "--timeout=60"];
        assert_eq!(words, [&begin[..], &middle, &END, &["h:/x \\[1\\]/"]].concat());
    }

    #[test]
    fn a_file_is_asked_for_by_its_own_name() {
        let words = words(|jobs| (Vec::new(), Some(Listing::File(&jobs[0], "sub/.backup me"))));
        let begin = ["--rsync-path=sudo rsync", "--timeout=60"];
        assert_eq!(words, [&begin[..], &END, &["h:/x \\[1\\]/sub/.backup me"]].concat());
    }

    #[test]
    fn several_directories_are_one_command() {
        let words = words(|jobs| (jobs.iter().collect(), None));
        let begin = ["--exclude=*", "--rsync-path=sudo rsync", "--timeout=60"];
        assert_eq!(words, [&begin[..], &END, &["h:/x \\[1\\]/", "h:/y z\\*/", "./"]].concat());
    }

    fn count(text: &str) -> u64 {
        let mut entries = Entries::default();
        entries.push(text.as_bytes());
        entries.finish();
        entries.count
    }

    /// Captured from rsync 3.5.0.
    #[test]
    fn the_directory_itself_is_no_entry() {
        assert_eq!(count("drwxr-xr-x          4,096 2026/11/23 12:45:24 .\n"), 0);
        assert_eq!(
            count(
                "drwxr-xr-x          4,096 2026/11/23 12:45:24 .\ndrwxr-xr-x          4,096 2026/11/23 12:45:24 d\n"
            ),
            1
        );
        assert_eq!(count("-rw-r--r--              0 2026/11/23 12:39:20 .backup-me\n"), 1);
        assert_eq!(count("-rw-r--r--              0 2026/11/23 12:39:20 ends with .\n"), 1);
        assert_eq!(count("drwxr-xr-x          4,096 2026/11/23 12:45:24  .\n"), 1);
        assert_eq!(count(""), 0);
        let figures = "\nNumber of files: 1 (dir: 1)\nsent 20 bytes  received 88 bytes  216.00 bytes/sec\ntotal size is 0  speedup is 0.00 (DRY RUN)\n";
        assert_eq!(count(figures), 0);
    }
}
