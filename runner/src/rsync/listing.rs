//! Looks at the source before anything is transferred: is a file there, is there anything at all?
//!
//! rsync itself is asked, because a key on the source may be allowed to run nothing else.

use std::ffi::OsString;

use backup_common::config::{Access, Host, PathJob};

use super::command;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing<'a> {
    /// What stands directly below the source.
    Source,
    /// One file below the source.
    File(&'a str),
}

/// Whether the source can be listed with the user's options: rsync lists nothing for a list of files.
pub fn can_list_source(job: &PathJob) -> bool {
    !job.rsync_options.iter().any(|option| option.starts_with("--files-from"))
}

/// The arguments behind the program's name; `secluded` as in the transfer itself.
pub fn arguments(host: &Host, job: &PathJob, listing: Listing<'_>, secluded: bool) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let source = match listing {
        Listing::Source => {
            // The user's options and patterns, so that what they leave out does not count.
            let writes = |option: &&String| {
                ["--write-batch", "--log-file"].iter().any(|name| option.starts_with(name))
            };
            arguments.extend(job.rsync_options.iter().filter(|option| !writes(option)).cloned());
            if let Some(file) = &job.exclude_file {
                arguments.push(format!("--exclude-from={}", file.display()));
            }
            command::source(&host.access, &job.path)
        }
        Listing::File(name) => {
            let path = format!("{}/{name}", job.path.trim_end_matches('/'));
            let source = command::source(&host.access, &path);
            source.trim_end_matches('/').to_owned()
        }
    };
    if let Some(program) = &job.rsync_path {
        arguments.push(format!("--rsync-path={program}"));
    }
    arguments.push(format!("--timeout={}", command::whole_seconds(job.io_timeout)));
    if let Access::Ssh(target) = &host.access {
        if secluded {
            arguments.push("--secluded-args".to_owned());
        }
        arguments.push(format!("--rsh={}", command::remote_shell(target, host.connect_timeout)));
    }
    // Without recursion, and without dropping directories because nothing below them was listed.
    arguments.extend(
        ["--no-recursive", "--dirs", "--no-prune-empty-dirs", "--list-only", "--info=NONE", "--"]
            .map(str::to_owned),
    );
    arguments.push(source);
    arguments.into_iter().map(OsString::from).collect()
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
fn name(line: &str) -> Option<&str> {
    let mut rest = line.starts_with(['-', 'd', 'l', 'c', 'b', 's', 'p']).then_some(line)?;
    for _ in 0..4 {
        rest = rest.trim_start_matches(' ').split_once(' ')?.1;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    fn words(listing: Listing<'_>) -> Vec<String> {
        let text = "hosts: {a: {ssh_user: u, paths: [{path: '/x [1]/', exclude_file: /e, rsync_path: sudo rsync, rsync_options: --write-batch=/w --log-file=/l -m}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let host = &config.hosts[0];
        let words = arguments(host, &host.paths[0], listing, false);
        words.into_iter().map(|word| word.into_string().expect("is text")).collect()
    }

    #[test]
    fn the_source_is_listed_with_the_users_patterns_and_nothing_is_written() {
        let words = words(Listing::Source);
        assert_eq!(words[..5], ["-a", "--delete", "--numeric-ids", "-m", "--exclude-from=/e"]);
        assert_eq!(words[5], "--rsync-path=sudo rsync");
        let last: Vec<&str> = words.iter().rev().take(4).map(String::as_str).collect();
        assert_eq!(last, ["a:/x \\[1\\]/", "--", "--info=NONE", "--list-only"]);
    }

    #[test]
    fn a_file_is_asked_for_by_its_own_name() {
        let words = words(Listing::File("sub/.backup me"));
        assert_eq!(words.last().expect("has words"), "a:/x \\[1\\]/sub/.backup me");
        assert!(!words.iter().any(|word| word.starts_with("--exclude") || word == "--delete"));
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
    }
}
