//! Whether the hosts can be reached: quickly before a backup, thoroughly for `--verify-hosts`.
//!
//! [`route`] asks ssh where a host really is, [`tcp`] and [`ping`] whether it is there, [`remote`] whether
//! it lets us in and has what is to be backed up. [`checks`] puts them in order, [`table`] shows what came
//! out, and [`key_setup`] helps a person with first contact.

mod checks;
mod key_setup;
mod known_hosts;
mod ping;
mod remote;
mod route;
mod ssh_keys;
mod table;
mod tcp;

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backup_common::config::{Config, Host};
use backup_common::reason::Reason;

use crate::cli::Cli;
use crate::console::Console;
use crate::programs::{self, Program, Programs};
use crate::report::wants_colours;
use crate::stop::Stop;
use crate::{exit_code, print};

pub use checks::obstacle;

/// Hosts that are checked at a time: each one waits for the network nearly all of its time.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Enough for a thread that waits for a child and reads its output.
const STACK_BYTES: usize = 256 * 1024;

/// Why a host can not be backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason, for records and people.
    pub reason: Reason,
    /// What was seen.
    pub messages: Vec<String>,
}

impl Obstacle {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, messages: vec![message.into()] }
    }
}

/// `--verify-hosts`: checks every host and shows a line for each; on a terminal it helps with keys.
pub fn verify_hosts(cli: &Cli, config: &Config) -> ExitCode {
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => {
            print::error_line(&format!("cannot listen for signals: {error}"));
            return exit_code::REFUSED.into();
        }
    };
    let chosen = match choose(config, &cli.host) {
        Ok(chosen) => chosen,
        Err(message) => {
            print::error_line(&message);
            return exit_code::CONFIG.into();
        }
    };
    if chosen.is_empty() {
        print::line("no host is switched on; nothing to verify");
        return exit_code::NOTHING.into();
    }
    let console = Console::find(stop.as_fd());
    let programs = programs::look_and_offer(chosen.iter().copied(), console, &Program::ALL, stop.as_fd());
    for complaint in programs.complaints() {
        print::error_line(&format!("warning: {complaint}"));
    }
    if let Some(advice) = programs.rsync.and_then(crate::rsync::version::Version::advice) {
        print::error_line(&format!("warning: {advice}"));
    }
    let mut findings = check_all(&chosen, &programs, stop.as_fd());
    let colours = console.is_some() && wants_colours();
    print::line(table::render(&findings, colours).trim_end());
    if let Some(console) = console {
        key_setup::help(&chosen, &mut findings, &programs, console);
    }
    let good = findings.iter().all(checks::Finding::is_good);
    match stop.signal().and_then(|signal| u8::try_from(128 + signal).ok()) {
        Some(code) => code.into(),
        None if good => exit_code::SUCCESS.into(),
        None => exit_code::FAILED.into(),
    }
}

/// The hosts that are switched on, or those of them that are named.
fn choose<'a>(config: &'a Config, only: &[String]) -> Result<Vec<&'a Host>, String> {
    let known = |name: &&String| config.hosts.iter().any(|host| host.name.as_str() == name.as_str());
    if let Some(name) = only.iter().find(|name| !known(name)) {
        let names: Vec<_> = config.hosts.iter().map(|host| host.name.as_str()).collect();
        return Err(format!(
            "cannot verify {name}: no such host in the configuration; it has {}",
            names.join(", ")
        ));
    }
    let wanted = |host: &&Host| only.is_empty() || only.iter().any(|name| name == host.name.as_str());
    Ok(config.hosts.iter().filter(|host| host.enabled).filter(wanted).collect())
}

/// Checks all hosts, several at a time; the findings are in the order of the hosts.
fn check_all(hosts: &[&Host], programs: &Programs, stop: BorrowedFd<'_>) -> Vec<checks::Finding> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(host) = hosts.get(index) else { break found };
            found.push((index, checks::check(host, programs, stop)));
        }
    };
    let mut found: Vec<(usize, checks::Finding)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..AT_A_TIME.get().min(hosts.len()))
            .map_while(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).ok())
            .collect();
        // This thread works as well, so that there is one even where none can be started.
        let mut found = work();
        found.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
        found
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, finding)| finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_chosen_by_name_and_switch() {
        let text = "hosts: {a: {paths: [{path: /x}]}, b: {enabled: false, paths: [{path: /x}]}, c: {paths: [{path: /x}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            choose(&config, &only)
                .map(|hosts| hosts.iter().map(|host| host.name.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Ok(vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(names(&["b"]), Ok(vec![]));
        assert!(names(&["d"]).is_err_and(|message| message.contains("it has a, b, c")));
    }
}
