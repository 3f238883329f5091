//! The checks of one host in their order: name, port, ping, then ssh and rsync.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use backup_common::config::{Access, Host, SshTarget};
use backup_common::reason::Reason;
use backup_common::status::Status;
use rustix::io::Errno;

use super::Obstacle;
use super::ping::{self, Answer};
use super::remote::{self, VersionAnswer};
use super::route::{self, Route};
use super::tcp::{self, Connecting, Progress, ResolveError};
use crate::backup;
use crate::programs::{Program, Programs};
use crate::rsync::version::Version;

/// Time that a host has for the connection before it is pinged; a good host never is.
const BEFORE_PING: Duration = Duration::from_millis(500);

/// What is known of a host after its checks.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Name in the configuration.
    pub host: String,
    /// `user@host:port`, or this machine.
    pub place: String,
    /// What the reason means for this host.
    pub status: Status,
    /// The worst that was found, or `ok`.
    pub reason: Reason,
    /// What was seen of it.
    pub messages: Vec<String>,
    /// What is good to know, and no fault.
    pub notes: Vec<String>,
    /// Version of its rsync.
    pub rsync: Option<Version>,
    /// Whether the key runs other commands than rsync's own; none for this machine.
    pub restricted: Option<bool>,
    /// Each path with what was found.
    pub paths: Vec<(String, Obstacle)>,
}

impl Finding {
    /// Whether a backup of this host would work, or need not.
    pub fn is_good(&self) -> bool {
        self.status != Status::Failed
    }
}

/// The quick check before a backup: what keeps this host from being backed up at all.
///
/// A good host costs `ssh -G` and one TCP connection. A host that does not take the connection within half a second
/// is pinged, unless `ignore_ping`: without an answer it is given up at once, with one it has all of `connect_timeout`.
/// Behind a jump host or a proxy nothing can be seen from here, and ssh itself has to find out.
pub fn obstacle(host: &Host, programs: &Programs, stop: BorrowedFd<'_>) -> Option<Obstacle> {
    let target = host.access.ssh()?;
    if let Some(obstacle) = without_ssh(programs) {
        return Some(obstacle);
    }
    // Where ssh does not understand its own configuration, its complaint becomes that of the paths.
    let route = route::ask(target, host.connect_timeout, stop).ok()?;
    reach(host, &route, programs, stop).err()
}

fn without_ssh(programs: &Programs) -> Option<Obstacle> {
    let missing = !programs.has(Program::Ssh);
    missing.then(|| {
        Obstacle::new(Reason::Other, format!("cannot start ssh: {}", Programs::remedy(Program::Ssh)))
    })
}

/// All checks of a host.
pub fn check(host: &Host, programs: &Programs, stop: BorrowedFd<'_>) -> Finding {
    let mut finding = Finding {
        host: host.name.to_string(),
        place: place(&host.access),
        status: Status::Success,
        reason: Reason::Ok,
        messages: Vec::new(),
        notes: Vec::new(),
        rsync: None,
        restricted: None,
        paths: Vec::new(),
    };
    if let Err(obstacle) = look(host, programs, stop, &mut finding) {
        finding.reason = obstacle.reason;
        finding.messages = obstacle.messages;
    }
    finding.status = backup::status(host, finding.reason);
    finding
}

fn look(
    host: &Host,
    programs: &Programs,
    stop: BorrowedFd<'_>,
    finding: &mut Finding,
) -> Result<(), Obstacle> {
    if !programs.has(Program::Rsync) {
        let message = format!("cannot start rsync: {}", Programs::remedy(Program::Rsync));
        return Err(Obstacle::new(Reason::RsyncMissing, message));
    }
    match host.access.ssh() {
        None => finding.rsync = programs.rsync,
        Some(target) => {
            if let Some(obstacle) = without_ssh(programs) {
                return Err(obstacle);
            }
            let route = route::ask(target, host.connect_timeout, stop)?;
            finding.place = place_on(target, &route);
            finding.notes.extend(reach(host, &route, programs, stop)?.notes(host, programs, stop));
            match remote::version(host, target, stop)? {
                VersionAnswer::Is(version) => {
                    finding.rsync = Some(version);
                    finding.restricted = Some(false);
                }
                VersionAnswer::Unknown => finding.restricted = Some(true),
            }
        }
    }
    let answers = remote::list(host, programs.escapes_names(), stop);
    let worst = answers.iter().find(|answer| answer.reason != Reason::Ok).cloned();
    finding.paths = host.paths.iter().map(|job| job.path.to_string()).zip(answers).collect();
    if let Some(worst) = worst {
        return Err(Obstacle { reason: worst.reason, messages: Vec::new() });
    }
    if finding.restricted == Some(true) {
        finding.notes.push(
            "rsync --version is not allowed there (a restricted key or a sudo rule), so its version is not known"
                .to_owned(),
        );
    }
    Ok(())
}

/// That a host can be reached, or that it can not be known from here.
#[derive(Debug)]
enum Reached {
    /// This address family answers, or another of these.
    Open(Vec<std::net::SocketAddr>),
    /// Only ssh itself can tell.
    Indirect,
}

impl Reached {
    /// What a person should know about the ping of a host that is there.
    fn notes(&self, host: &Host, programs: &Programs, stop: BorrowedFd<'_>) -> Option<String> {
        match self {
            Self::Indirect => Some(
                "reached by way of a proxy or from an address of its own, so neither ping nor port was tried"
                    .to_owned(),
            ),
            Self::Open(addresses) => {
                let pings = !host.ignore_ping && programs.has(Program::Ping);
                (pings && is_silent(addresses, stop)).then(|| {
                    "the host does not answer a ping, though its ssh port is open; set ignore_ping: true"
                        .to_owned()
                })
            }
        }
    }
}

/// Name, port and ping.
fn reach(host: &Host, route: &Route, programs: &Programs, stop: BorrowedFd<'_>) -> Result<Reached, Obstacle> {
    if !route.direct {
        return Ok(Reached::Indirect);
    }
    let begun = Instant::now();
    let until = begun + host.connect_timeout;
    let addresses = match tcp::resolve(&route.hostname, route.port, route.family, host.connect_timeout, stop)
    {
        Ok(addresses) => addresses,
        Err(ResolveError::Stopped) => return Err(stopped()),
        Err(error) => {
            let message = format!("cannot find the address of {}: {error}", route.hostname);
            return Err(Obstacle::new(Reason::NameNotFound, message));
        }
    };
    let mut connecting = Connecting::begin(&addresses);
    let pings = !host.ignore_ping && programs.has(Program::Ping);
    let mut progress = connecting.wait(until.min(Instant::now() + BEFORE_PING), stop);
    if progress == Progress::Silent && pings && is_silent(&addresses, stop) {
        progress = connecting.wait(Instant::now(), stop);
        if progress == Progress::Silent {
            let message = format!(
                "{} answers neither a ping nor a connection to port {}; with ignore_ping: true it would have all of connect_timeout",
                route.hostname, route.port
            );
            return Err(Obstacle::new(Reason::Unreachable, message));
        }
    }
    if progress == Progress::Silent {
        progress = connecting.wait(until, stop);
    }
    match progress {
        Progress::Open => Ok(Reached::Open(addresses)),
        Progress::Stopped => Err(stopped()),
        Progress::Silent => {
            let seconds = host.connect_timeout.as_secs_f64();
            let message = format!("no answer from {} port {} within {seconds} s", route.hostname, route.port);
            Err(Obstacle::new(Reason::Unreachable, message))
        }
        Progress::Failed(failed) => Err(refused(&failed)),
    }
}

fn stopped() -> Obstacle {
    Obstacle::new(Reason::Interrupted, "stopped before the host was checked")
}

/// One refusal shows that the host is there; without any, the first error counts.
fn refused(failed: &[(std::net::SocketAddr, Errno)]) -> Obstacle {
    let refusal = failed.iter().any(|(_, error)| *error == Errno::CONNREFUSED);
    let messages = failed
        .iter()
        .map(|(address, error)| format!("cannot connect to {address}: {}", words(*error)))
        .collect();
    Obstacle { reason: if refusal { Reason::ConnectionRefused } else { Reason::Unreachable }, messages }
}

/// strerror(3) without the number that std adds.
fn words(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Whether neither the first IPv4 nor the first IPv6 address answers a ping.
fn is_silent(addresses: &[std::net::SocketAddr], stop: BorrowedFd<'_>) -> bool {
    let first = |v4: bool| addresses.iter().find(|address| address.is_ipv4() == v4);
    [first(true), first(false)]
        .into_iter()
        .flatten()
        .all(|address| ping::ping(*address, stop) == Answer::Silent)
}

fn place(access: &Access) -> String {
    match access {
        Access::Local => "this machine".to_owned(),
        Access::Ssh(target) => format!("{}@{}", target.user, target.hostname),
    }
}

fn place_on(target: &SshTarget, route: &Route) -> String {
    let hostname =
        if route.hostname.contains(':') { format!("[{}]", route.hostname) } else { route.hostname.clone() };
    format!("{}@{hostname}:{}", target.user, route.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_shows_that_the_host_is_there() {
        let address = |text: &str| text.parse().expect("an address");
        let (v4, v6) = (address("192.0.2.1:22"), address("[2001:db8::1]:22"));
        let both = refused(&[(v6, Errno::NETUNREACH), (v4, Errno::CONNREFUSED)]);
        assert_eq!(both.reason, Reason::ConnectionRefused);
        assert_eq!(both.messages.len(), 2);
        assert_eq!(refused(&[(v6, Errno::NETUNREACH)]).reason, Reason::Unreachable);
    }
}
