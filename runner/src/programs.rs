//! The programs that the runner starts: whether they are there, and which rsync it is.

mod distribution;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backup_common::config::Host;

use crate::capture::capture;
use crate::console::Console;
use crate::print;
use crate::rsync::command::ENVIRONMENT;
use crate::rsync::version::Version;
use distribution::Manager;

/// Longest time for `rsync --version`, which reads no file.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// A program that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// Transfers the files.
    Rsync,
    /// Reaches other hosts.
    Ssh,
    /// Tells quickly that a host is away.
    Ping,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rsync, Self::Ssh, Self::Ping];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsync => "rsync",
            Self::Ssh => "ssh",
            Self::Ping => "ping",
        }
    }
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    missing: BTreeSet<Program>,
    /// The local rsync's version, if it could be read.
    pub rsync: Option<Version>,
}

impl Programs {
    /// Looks for what these hosts need; `stop` becomes readable when the run is to stop.
    pub fn look<'a>(hosts: impl Iterator<Item = &'a Host>, stop: BorrowedFd<'_>) -> Self {
        let missing = needed(hosts).into_iter().filter(|program| !is_installed(program.name())).collect();
        let mut programs = Self { missing, rsync: None };
        if programs.has(Program::Rsync) {
            programs.rsync = rsync_version(stop);
        }
        programs
    }

    /// Whether a program can be started.
    pub fn has(&self, program: Program) -> bool {
        !self.missing.contains(&program)
    }

    /// Whether the local rsync escapes the names in its remote command line by itself, as far as is known.
    pub fn escapes_names(&self) -> bool {
        self.rsync.is_some_and(Version::escapes_names)
    }

    /// How a missing program comes here, as the end of a message.
    pub fn remedy(program: Program) -> String {
        let command = Manager::of_this_machine().install(&[program]);
        match command {
            Some(command) => {
                format!("it is not installed on this machine; install it with: {}", command.join(" "))
            }
            None => format!(
                "it is not installed on this machine; install the package that holds {}",
                program.name()
            ),
        }
    }

    /// What is missing, in words, the worst first.
    pub fn complaints(&self) -> Vec<String> {
        let consequence = |program| match program {
            Program::Rsync => "nothing can be backed up",
            Program::Ssh => "hosts with ssh_user fail",
            Program::Ping => "hosts are not pinged, as if ignore_ping were set",
        };
        let complaint = |program: &Program| {
            format!("cannot find {}: {}; {}", program.name(), Self::remedy(*program), consequence(*program))
        };
        self.missing.iter().map(complaint).collect()
    }

    /// Offers a person to install what is missing; tells whether the package manager was started.
    pub fn offer(&self, console: Console<'_>) -> bool {
        let missing: Vec<_> = self.missing.iter().copied().collect();
        let Some(command) = Manager::of_this_machine().install(&missing) else { return false };
        let names: Vec<_> = missing.iter().map(|program| program.name()).collect();
        print::line(&format!("Missing on this machine: {}", names.join(", ")));
        if !console.agrees(&format!("Run {}?", command.join(" "))) {
            return false;
        }
        // It may ask questions of its own, so it keeps the terminal and has no time limit.
        let status = Command::new(&command[0])
            .args(&command[1..])
            .env("PATH", path_variable())
            .stdin(Stdio::inherit())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => print::error_line(&format!(
                "cannot install {}: {} ended with {status}",
                names.join(", "),
                command[0]
            )),
            Err(error) => print::error_line(&format!("cannot start {}: {error}", command[0])),
        }
        true
    }

    fn lacks_one_of(&self, programs: &[Program]) -> bool {
        programs.iter().any(|program| !self.has(*program))
    }
}

/// Looks for the programs, and once more after a person let them be installed.
///
/// The person is asked when one of `important` is missing: a backup need not wait for an answer about ping.
pub fn look_and_offer<'a>(
    hosts: impl Iterator<Item = &'a Host> + Clone,
    console: Option<Console<'_>>,
    important: &[Program],
    stop: BorrowedFd<'_>,
) -> Programs {
    let programs = Programs::look(hosts.clone(), stop);
    if programs.lacks_one_of(important) && console.is_some_and(|console| programs.offer(console)) {
        return Programs::look(hosts, stop);
    }
    programs
}

/// What these hosts need: ssh only where one is reached by it, ping only where one may be pinged.
fn needed<'a>(hosts: impl Iterator<Item = &'a Host>) -> BTreeSet<Program> {
    let mut needed = BTreeSet::from([Program::Rsync]);
    for host in hosts.filter(|host| host.enabled && host.access.ssh().is_some()) {
        needed.insert(Program::Ssh);
        if !host.ignore_ping {
            needed.insert(Program::Ping);
        }
    }
    needed
}

fn path_variable() -> &'static str {
    ENVIRONMENT.iter().find(|(name, _)| *name == "PATH").map_or("", |(_, value)| value)
}

/// Whether an executable file of this name is in the fixed `PATH` of every child.
fn is_installed(name: &str) -> bool {
    path_variable().split(':').any(|folder| {
        fs::metadata(Path::new(folder).join(name))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn rsync_version(stop: BorrowedFd<'_>) -> Option<Version> {
    let captured = capture("rsync", &["--version".to_owned()], VERSION_LIMIT, stop).ok()?;
    Version::find(&captured.text())
}

#[cfg(test)]
mod tests {
    use backup_common::config::Config;

    use super::*;

    #[test]
    fn only_what_a_host_needs_is_looked_for() {
        let needs = |hosts: &str| -> Vec<_> {
            let config = Config::parse(&format!("hosts: {{{hosts}}}")).expect("the config is right").config;
            needed(config.hosts.iter()).into_iter().collect()
        };
        let paths = "paths: [{path: /x}]";
        assert_eq!(needs(&format!("a: {{{paths}}}")), [Program::Rsync]);
        assert_eq!(
            needs(&format!("a: {{ssh_user: u, ignore_ping: true, {paths}}}")),
            [Program::Rsync, Program::Ssh]
        );
        assert_eq!(
            needs(&format!("a: {{ssh_user: u, {paths}}}")),
            [Program::Rsync, Program::Ssh, Program::Ping]
        );
        assert_eq!(needs(&format!("a: {{ssh_user: u, enabled: false, {paths}}}")), [Program::Rsync]);
    }

    #[test]
    fn a_name_that_nothing_has_is_missing() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-4711"));
    }

    #[test]
    fn complaints_name_the_program_and_what_follows() {
        let programs = Programs { missing: BTreeSet::from([Program::Ping, Program::Rsync]), rsync: None };
        let complaints = programs.complaints();
        assert!(complaints[0].starts_with("cannot find rsync: it is not installed"), "{complaints:?}");
        assert!(complaints[1].ends_with("as if ignore_ping were set"), "{complaints:?}");
    }
}
