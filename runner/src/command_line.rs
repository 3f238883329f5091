//! A command as a line that can be pasted into a shell.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;

use backup_common::config::{Host, PathJob};

use crate::rsync::command::{self, Request};

/// The command of a path: rsync in its destination.
pub fn of_path(base: &Path, host: &Host, job: &PathJob, request: Request) -> String {
    let arguments = command::arguments(host, job, request);
    in_directory(&base.join(&job.destination), &arguments)
}

/// `cd DIRECTORY && rsync ARGUMENTS`, every word quoted where a shell would change it.
fn in_directory(directory: &Path, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| word.to_string_lossy());
    let mut line = format!("cd {} && rsync", quote(&directory.to_string_lossy()));
    for word in words {
        line.push(' ');
        line.push_str(&quote(&word));
    }
    line
}

/// A word as it stands where no shell changes it, else in single quotes; the rule of Python's shlex.quote.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '%' | '+' | '=' | ':' | ',' | '.' | '/' | '-')
    };
    let is_plain = !word.is_empty() && word.chars().all(plain);
    if is_plain { Cow::Borrowed(word) } else { Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))) }
}

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    #[test]
    fn a_shell_splits_the_line_into_the_same_words() {
        let text = "hosts: {h: {ssh_user: u, ssh_key: '/root/back up', paths: [{path: \"/we[i]rd* $(id) 'q'\", dest_subdir: \"a b's\"}]}}";
        let config = Config::parse(text).expect("is right").config;
        let (host, job) = (&config.hosts[0], &config.hosts[0].paths[0]);
        let request = Request { max_delete: Some(7), escapes_names: true, ..Request::default() };
        let line = of_path(&config.backup_base, host, job, request);
        let words = shell_words::split(&line).expect("splits");
        assert_eq!(words[..4], ["cd", "/share/backup/h/a b's", "&&", "rsync"]);
        let expected = command::arguments(host, job, request);
        assert_eq!(words[4..].iter().map(OsString::from).collect::<Vec<_>>(), expected);
    }
}
