//! Where ssh would go for a host, told by `ssh -G`: its configuration files may say otherwise than ours.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use backup_common::config::SshTarget;
use backup_common::reason::Reason;
use backup_common::text;

use super::Obstacle;
use crate::capture::capture;
use crate::rsync::command::ssh_arguments;

/// Longest time for `ssh -G`; it may look names up where the user's files ask for that.
const LIMIT: Duration = Duration::from_secs(10);

/// The way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name or address that ssh connects to.
    pub hostname: String,
    /// The port.
    pub port: u16,
    /// Which addresses may be used.
    pub family: Family,
    /// The connection goes there without a jump host or a proxy, and from any of our own addresses.
    pub direct: bool,
    /// The first file of known hosts, where a new key belongs.
    pub known_hosts: Option<PathBuf>,
}

/// Which addresses may be used (`AddressFamily` in `ssh_config(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// All.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Asks ssh; no connection is made.
pub fn ask(target: &SshTarget, connect_timeout: Duration, stop: BorrowedFd<'_>) -> Result<Route, Obstacle> {
    let mut arguments = vec!["-G".to_owned()];
    arguments.extend(ssh_arguments(target, connect_timeout).into_iter().skip(1));
    arguments.extend(["--".to_owned(), target.hostname.clone()]);
    let captured = capture("ssh", &arguments, LIMIT, stop)
        .map_err(|error| Obstacle::new(Reason::Other, format!("cannot start ssh: {error}")))?;
    let route = captured.succeeded().then(|| Route::read(&captured.text())).flatten();
    route.ok_or_else(|| {
        let said = text::clean_bytes(captured.stderr.trim_ascii(), text::MESSAGE_BYTES);
        Obstacle::new(Reason::Other, format!("cannot read ssh's own configuration for this host: {said}"))
    })
}

impl Route {
    /// Reads what `ssh -G` prints: one `name value` a line, names in lower case.
    pub fn read(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
        };
        let set = |name: &str| value(name).is_some_and(|value| !value.eq_ignore_ascii_case("none"));
        Some(Self {
            hostname: value("hostname").filter(|name| !name.is_empty())?.to_owned(),
            port: value("port")?.parse().ok()?,
            family: match value("addressfamily") {
                Some("inet") => Family::V4,
                Some("inet6") => Family::V6,
                _ => Family::Any,
            },
            direct: !["proxyjump", "proxycommand", "bindaddress", "bindinterface"].into_iter().any(set),
            known_hosts: value("userknownhostsfile").and_then(first_file),
        })
    }
}

/// The first of several files, if it is one that can be written to.
///
/// A name with a space in it looks like two here; it is then shown to a person before anything is written.
fn first_file(value: &str) -> Option<PathBuf> {
    let first = value.split(' ').next().filter(|file| file.starts_with('/'))?;
    (first != "/dev/null").then(|| PathBuf::from(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of OpenSSH 9.2's `ssh -G`.
    const PLAIN: &str = "user root\nhostname server1.example.com\nport 2222\naddressfamily any\nhashknownhosts yes\n\
                         proxyusefdpass no\nuserknownhostsfile /root/.ssh/known_hosts /root/.ssh/known_hosts2\n";

    #[test]
    fn a_direct_route() {
        let expected = Route {
            hostname: "server1.example.com".to_owned(),
            port: 2222,
            family: Family::Any,
            direct: true,
            known_hosts: Some(PathBuf::from("/root/.ssh/known_hosts")),
        };
        assert_eq!(Route::read(PLAIN), Some(expected));
    }

    #[test]
    fn jumps_and_proxies_are_no_direct_route() {
        for (line, direct) in [
            ("proxyjump jump.example.com", false),
            ("proxycommand nc %h %p", false),
            ("bindaddress 192.0.2.1", false),
            ("bindinterface eth1", false),
            ("proxyjump none", true),
            ("proxycommand none", true),
        ] {
            let route = Route::read(&format!("{PLAIN}{line}\n")).expect("reads");
            assert_eq!(route.direct, direct, "{line}");
        }
    }

    #[test]
    fn what_is_missing_is_no_route() {
        for text in ["", "hostname x\n", "port 22\n", "hostname x\nport 99999\n", "hostname \nport 22\n"] {
            assert_eq!(Route::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String) {
            let _ = Route::read(&text);
        }
    }
}
