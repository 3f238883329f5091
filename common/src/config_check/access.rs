//! How a host is reached: this machine, or ssh with a user, a name, a port and a key.

use super::absolute;
use crate::config::{Access, SshTarget};
use crate::config_file::HostBlock;
use crate::names;
use crate::problems::Problems;
use crate::ssh_options;

/// Checks the ssh keys of a host; `None` when they make no sense together.
pub(super) fn check(block: &HostBlock, key: &str, problems: &mut Problems) -> Option<Access> {
    let written = block.ssh_user.as_ref().map_or("", |user| user.value.as_str());
    let about_ssh = [
        ("hostname", block.hostname.as_ref().map(|found| found.line)),
        ("ssh_port", block.ssh_port.as_ref().map(|found| found.line)),
        ("ssh_key", block.ssh_key.as_ref().map(|found| found.line)),
        ("ssh_options", block.ssh_options.as_ref().map(|_| block.line)),
    ];
    if written.is_empty() {
        // Backing up this machine in the name of another would look like success.
        for (name, line) in about_ssh {
            if let Some(line) = line {
                problems.error(
                    line,
                    format!("{key}.{name}"),
                    "is for a host that is reached by ssh, and ssh_user is empty, which means this machine; set ssh_user, or take this key away",
                );
                return None;
            }
        }
        return Some(Access::Local);
    }
    let line = block.ssh_user.as_ref().map_or(block.line, |user| user.line);
    // The last @, because directory accounts hold one themselves.
    let (user, host_in_user) =
        written.rsplit_once('@').map_or((written, None), |(user, host)| (user, Some(host)));
    if let Err(message) = names::check_user(user) {
        problems.error(line, format!("{key}.ssh_user"), message);
    }
    if let (Some(in_user), Some(given)) = (host_in_user, &block.hostname)
        && in_user != given.value
    {
        problems.error(
            given.line,
            format!("{key}.hostname"),
            format!("says {}, but ssh_user says {in_user}; keep one of them", given.value),
        );
    }
    let (hostname, host_key, host_line) = match (host_in_user, &block.hostname) {
        (Some(host), _) => (host, "ssh_user", line),
        (None, Some(given)) => (given.value.as_str(), "hostname", given.line),
        (None, None) => (block.name.text.as_str(), "hostname", block.line),
    };
    let hostname = hostname.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(hostname);
    if let Err(message) = names::check_network_host(hostname) {
        problems.error(host_line, format!("{key}.{host_key}"), message);
    }
    let port = block.ssh_port.as_ref().and_then(|port| {
        let number = u16::try_from(port.value).ok().filter(|number| *number > 0);
        if number.is_none() {
            problems.error(port.line, format!("{key}.ssh_port"), "expected 1 to 65535");
        }
        number
    });
    let mut options = Vec::new();
    for (index, entry) in block.ssh_options.iter().flatten().enumerate() {
        match ssh_options::arguments(&entry.value) {
            Ok(arguments) => options.extend(arguments),
            Err(message) => problems.error(entry.line, format!("{key}.ssh_options[{index}]"), message),
        }
    }
    let key_file =
        block.ssh_key.as_ref().map(|file| absolute(Some(file), &format!("{key}.ssh_key"), "", problems));
    Some(Access::Ssh(SshTarget {
        user: user.to_owned(),
        hostname: hostname.to_owned(),
        port,
        key: key_file,
        options,
    }))
}
