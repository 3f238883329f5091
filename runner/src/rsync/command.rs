//! The argument list for one path. No shell stands between the runner and rsync.

use std::ffi::OsString;
use std::time::Duration;

use backup_common::config::{Access, Host, PathJob, SshTarget};

/// What is asked of rsync besides copying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Most files that may be deleted in the destination; `None` is no limit.
    pub max_delete: Option<u64>,
    /// What of the work is done in this call.
    pub step: Step,
    /// The local rsync escapes the names in its remote command line by itself (from 3.2.4 on).
    pub escapes_names: bool,
}

/// What a call of rsync does; see [`crate::rsync::deletion`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// All at once.
    #[default]
    Whole,
    /// Everything but the deletions, which are only counted.
    Transfer,
    /// The deletions alone.
    Deletion,
}

/// What turns a call into one that only deletes: nothing new is made, nothing that is there is compared or read.
pub const ONLY_DELETES: [&str; 3] = ["--existing", "--ignore-existing", "--no-checksum"];

impl Request {
    /// The second call, where this one is the first of two.
    pub fn deletion(self) -> Option<Self> {
        (self.step == Step::Transfer).then_some(Self { step: Step::Deletion, ..self })
    }
}

/// The arguments behind the program's name. The destination is the directory that rsync is started in.
pub fn arguments(host: &Host, job: &PathJob, request: Request) -> Vec<OsString> {
    let mut arguments: Vec<String> = job.settings.rsync_options.to_vec();
    if request.step == Step::Deletion {
        // It would take the place of the transfer's.
        arguments.retain(|option| !option.starts_with("--write-batch"));
        arguments.extend(ONLY_DELETES.map(str::to_owned));
    }
    arguments.extend(ownership(job.settings.preserve_ownership).iter().map(ToString::to_string));
    if let Some(file) = &job.settings.exclude_file {
        arguments.push(format!("--exclude-from={}", file.display()));
    }
    if let Some(program) = &job.settings.rsync_path {
        arguments.push(format!("--rsync-path={program}"));
    }
    let limit = if request.step == Step::Transfer { Some(0) } else { request.max_delete };
    if let Some(limit) = limit {
        arguments.push(format!("--max-delete={limit}"));
    }
    arguments.push(format!("--timeout={}", whole_seconds(job.settings.io_timeout)));
    if let Access::Ssh(target) = &host.access {
        arguments.extend(connection(target, host.connect_timeout, request.escapes_names));
    }
    let told =
        if request.step == Step::Deletion { "--info=NONE,STATS2" } else { "--info=NONE,STATS2,PROGRESS2" };
    // Last, so that the numbers are exact and the output is bounded whatever the user's options say.
    arguments.extend(
        ["--no-human-readable", "--no-itemize-changes", "--debug=NONE", told, "--stats"].map(str::to_owned),
    );
    arguments.push("--".to_owned());
    arguments.push(source(&host.access, &job.path));
    arguments.push("./".to_owned());
    arguments.into_iter().map(OsString::from).collect()
}

/// The environment of every child: nothing of the user's (`RSYNC_RSH`, `RSYNC_OLD_ARGS`, `LC_ALL`) reaches it.
pub const ENVIRONMENT: [(&str, &str); 2] =
    [("LC_ALL", "C"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];

/// ssh and its arguments, without the host; ssh takes the first value of each option (man page `ssh_config(5)`).
pub fn ssh_arguments(target: &SshTarget, connect_timeout: Duration) -> Vec<String> {
    let mut arguments: Vec<String> = ["ssh", "-a", "-x", "-T"].map(str::to_owned).to_vec();
    let connect_timeout = format!("ConnectTimeout={}", whole_seconds(connect_timeout));
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "PermitLocalCommand=no",
        "ControlMaster=no",
        // A shared connection would hold the lock's descriptor long after the run.
        "ControlPath=none",
        "ControlPersist=no",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        &connect_timeout,
    ] {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    if let Some(key) = &target.key {
        arguments.extend(["-o", "IdentitiesOnly=yes", "-i"].map(str::to_owned));
        arguments.push(key.display().to_string());
    }
    if let Some(port) = target.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(target.options.iter().cloned());
    arguments.extend(["-l".to_owned(), target.user.clone()]);
    arguments
}

/// The options that lead rsync to a host.
///
/// With secluded arguments no file name passes through the remote shell; see rsync(1) -s. Where they are not
/// needed they are left out, because rrsync(1), to which a key may be restricted, refuses the option.
pub(super) fn connection(target: &SshTarget, connect_timeout: Duration, escapes_names: bool) -> Vec<String> {
    let secluded = (!escapes_names).then(|| "--secluded-args".to_owned());
    let shell = format!("--rsh={}", remote_shell(target, connect_timeout));
    secluded.into_iter().chain([shell]).collect()
}

/// The ssh command as rsync's `--rsh` wants it: split at spaces, quotes doubled inside of quotes.
fn remote_shell(target: &SshTarget, connect_timeout: Duration) -> String {
    let words = ssh_arguments(target, connect_timeout);
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    if word.is_empty() || word.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'')) {
        format!("'{}'", word.replace('\'', "''"))
    } else {
        word.to_owned()
    }
}

/// rsync's own options do the work on the fly; a second walk over the files would cost as much as the backup.
fn ownership(preserve: bool) -> &'static [&'static str] {
    if preserve {
        &["--owner", "--group", "--perms", "--chmod=Du+rwx"]
    } else {
        &["--no-owner", "--no-group", "--perms", "--chmod=D755,F644"]
    }
}

/// The source with a slash behind it, so that its content lands in the destination itself.
pub fn source(access: &Access, path: &str) -> String {
    let path = format!("{}/", path.trim_end_matches('/'));
    match access {
        Access::Local => path,
        Access::Ssh(target) if target.hostname.contains(':') => {
            format!("[{}]:{}", target.hostname, literal(&path))
        }
        Access::Ssh(target) => format!("{}:{}", target.hostname, literal(&path)),
    }
}

/// The remote rsync expands wildcards in what it is asked for, also with secluded arguments.
///
/// A backslash escapes only where there is a wildcard; elsewhere rsync takes it as it is.
fn literal(path: &str) -> String {
    if !path.contains(['*', '?', '[']) {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len() + 8);
    for character in path.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// At least one second: 0 would switch the limit off.
pub(super) fn whole_seconds(limit: Duration) -> u64 {
    (limit.as_secs() + u64::from(limit.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use backup_common::config::Config;
    use proptest::prelude::*;

    use super::*;

    /// One argument a line for each path of the golden configuration.
    fn command_lines(config: &Config) -> String {
        let mut out = String::new();
        for host in &config.hosts {
            for job in &host.paths {
                let request = Request { max_delete: Some(50), ..Request::default() };
                let words = arguments(host, job, request);
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                out.push_str(
                    &["# ", host.name.as_str(), " ", &job.path, "\n", &words.join("\n"), "\n\n"].concat(),
                );
            }
        }
        out
    }

    #[test]
    fn argument_lists_are_as_recorded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/argv");
        let text = fs::read_to_string(format!("{folder}/config.yaml")).expect("the golden config is there");
        let config = Config::parse(&text).expect("the golden config is right").config;
        let found = command_lines(&config);
        let golden = format!("{folder}/expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("can write the golden file");
        }
        assert_eq!(found, fs::read_to_string(golden).expect("the golden file is there"));
    }

    #[test]
    fn two_calls_differ_in_what_they_delete_and_transfer() {
        let text = "hosts: {a: {paths: [{path: /x, rsync_options: --write-batch=/b -c}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let words = |request| arguments(&config.hosts[0], &config.hosts[0].paths[0], request);
        let first = Request { max_delete: Some(7), step: Step::Transfer, escapes_names: true };
        let second = first.deletion().expect("is the first of two");
        let only = |a: Request, b: Request| -> Vec<_> {
            words(a).into_iter().filter(|word| !words(b).contains(word)).collect()
        };
        assert_eq!(
            only(first, second),
            ["--write-batch=/b", "--max-delete=0", "--info=NONE,STATS2,PROGRESS2"]
        );
        let more =
            ["--existing", "--ignore-existing", "--no-checksum", "--max-delete=7", "--info=NONE,STATS2"];
        assert_eq!(only(second, first), more);
        assert_eq!(second.deletion(), None);
        assert_eq!(only(Request { step: Step::Whole, ..first }, first), ["--max-delete=7"]);
    }

    #[test]
    fn arguments_are_secluded_unless_rsync_escapes_names() {
        let text = "hosts: {a: {ssh_user: u, paths: [{path: /x}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let secluded = |escapes_names| {
            let request = Request { escapes_names, ..Request::default() };
            let words = arguments(&config.hosts[0], &config.hosts[0].paths[0], request);
            words.iter().any(|word| word == "--secluded-args")
        };
        assert!(secluded(false) && !secluded(true));
    }

    #[test]
    fn the_remote_shell_is_quoted_as_rsync_splits_it() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it''s'");
        assert_eq!(quote("plain"), "plain");
    }

    /// How rsync splits `--rsh` (`do_cmd` in its main.c): at spaces, and a doubled quote inside of quotes is one.
    fn split_as_rsync(command: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut rest = command.chars().peekable();
        while let Some(first) = rest.peek().copied() {
            if first == ' ' {
                rest.next();
                continue;
            }
            let (mut word, mut quote) = (String::new(), None);
            while let Some(c) = rest.next_if(|c| *c != ' ' || quote.is_some()) {
                match (c, quote) {
                    ('\'' | '"', None) => quote = Some(c),
                    (c, Some(open)) if c == open && rest.next_if_eq(&open).is_none() => quote = None,
                    _ => word.push(c),
                }
            }
            words.push(word);
        }
        words
    }

    proptest! {
        #[test]
        fn no_word_of_the_remote_shell_is_split_or_lost(words in proptest::collection::vec("[ -~äß\t]{0,12}", 0..6)) {
            let command = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split_as_rsync(&command), words);
        }
    }

    #[test]
    fn wildcards_are_taken_literally() {
        assert_eq!(literal("/a*[b]?"), "/a\\*\\[b\\]\\?");
        assert_eq!(literal("/a\\b"), "/a\\b");
    }
}
