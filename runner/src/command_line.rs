//! A command as a line that can be pasted into a shell.

use std::ffi::OsString;
use std::path::Path;

use backup_common::config::{Config, Host, PathJob};

use crate::rsync::command::{self, Request};

/// The command of a path: rsync in its destination.
pub fn of_path(config: &Config, host: &Host, job: &PathJob, max_delete: Option<u64>) -> String {
    let arguments = command::arguments(host, job, Request { max_delete });
    in_directory(&config.backup_base.join(&job.destination), &arguments)
}

/// `cd DIRECTORY && rsync ARGUMENTS`, every word quoted where a shell would change it.
fn in_directory(directory: &Path, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| word.to_string_lossy());
    let mut line = format!("cd {} && rsync", shell_words::quote(&directory.to_string_lossy()));
    for word in words {
        line.push(' ');
        line.push_str(&shell_words::quote(&word));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_splits_the_line_into_the_same_words() {
        let text = "hosts: {h: {ssh_user: u, ssh_key: '/root/back up', paths: [{path: \"/we[i]rd* $(id) 'q'\", dest_subdir: \"a b's\"}]}}";
        let config = Config::parse(text).expect("is right").config;
        let (host, job) = (&config.hosts[0], &config.hosts[0].paths[0]);
        let line = of_path(&config, host, job, Some(7));
        let words = shell_words::split(&line).expect("splits");
        assert_eq!(words[..4], ["cd", "/share/backup/h/a b's", "&&", "rsync"]);
        let expected = command::arguments(host, job, Request { max_delete: Some(7) });
        assert_eq!(words[4..].iter().map(OsString::from).collect::<Vec<_>>(), expected);
    }
}
