//! First contact, with a person at a terminal: confirm the host's key, make our own, install it, test again.
//!
//! Nothing happens without a yes, and a key that has *changed* is never taken: that is for the person to find out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backup_common::config::{Host, SshTarget};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::text;

use super::checks::{self, Finding};
use super::known_hosts::HostKey;
use super::{route, ssh_keys, table};
use crate::capture::capture;
use crate::console::Console;
use crate::print;
use crate::programs::Programs;
use crate::rsync::command::ENVIRONMENT;

/// Longest time to make a key.
const KEYGEN_LIMIT: Duration = Duration::from_secs(60);
/// An unknown host key, then a refused key; a third problem is not one of these two.
const STEPS: usize = 2;

/// Goes through the hosts that can be helped, and checks each one again that was.
pub fn help(hosts: &[&Host], findings: &mut [Finding], programs: &Programs, console: Console<'_>) {
    for (host, finding) in hosts.iter().zip(findings) {
        let Some(target) = host.access.ssh() else { continue };
        for _ in 0..STEPS {
            if console.is_stopped() {
                return;
            }
            let helped = match finding.reason {
                Reason::HostKeyUnknown => confirm_host_key(host, target, finding, console),
                Reason::AuthFailed => install_key(host, target, console),
                _ => false,
            };
            if !helped {
                break;
            }
            *finding = checks::check(host, programs, console.stop());
            print::line(&table::line(finding));
            print::line(table::details(finding).trim_end());
        }
    }
}

/// Shows the fingerprint and keeps the key after a yes; true when there is something new to test.
fn confirm_host_key(host: &Host, target: &SshTarget, finding: &Finding, console: Console<'_>) -> bool {
    let route = match route::ask(target, host.connect_timeout, console.stop()) {
        Ok(route) => route,
        Err(obstacle) => return failed(&obstacle.messages.join("; ")),
    };
    let Some(file) = route.known_hosts else {
        return failed("cannot keep the host's key: ssh is told to use no file of known hosts");
    };
    let key = match HostKey::fetch(target, host.connect_timeout, console.stop()) {
        Ok(key) => key,
        Err(error) => return failed(&ErrorChain(&error).to_string()),
    };
    print::line(&format!(
        "\n{}: the key of {} has never been confirmed. Its fingerprint is\n    {}\nCompare it with the one that the host shows: ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub",
        host.name,
        finding.place,
        key.fingerprint,
        key.kind()
    ));
    if !console.agrees(&format!("Trust this key and add it to {}?", file.display())) {
        return false;
    }
    match key.remember(&file) {
        Ok(()) => true,
        Err(error) => failed(&ErrorChain(&error).to_string()),
    }
}

/// Makes a key if there is none and installs it; true when there is something new to test.
fn install_key(host: &Host, target: &SshTarget, console: Console<'_>) -> bool {
    let Some(private) = ssh_keys::private_key(target) else {
        return failed("cannot find the home directory of this user; set ssh_key");
    };
    print::line(&format!("\n{}: the host refused the key {}.", host.name, private.display()));
    if !private.exists() && !make_key(&private, console) {
        return false;
    }
    let public = ssh_keys::public_key(&private);
    if !public.exists() {
        return failed(&format!(
            "cannot find the public key {public}; make it with: ssh-keygen -y -f {private} > {public}",
            public = public.display(),
            private = private.display()
        ));
    }
    let question = format!(
        "Install {} for {}@{} with ssh-copy-id? It may ask for a password.",
        public.display(),
        target.user,
        target.hostname
    );
    console.agrees(&question) && copy_key(target, &public)
}

fn make_key(private: &Path, console: Console<'_>) -> bool {
    let question =
        format!("There is no such file. Make a new ed25519 key {} without a passphrase?", private.display());
    if !console.agrees(&question) {
        return false;
    }
    let made = make_folder(private).and_then(|()| {
        capture("ssh-keygen", &ssh_keys::keygen_arguments(private), KEYGEN_LIMIT, console.stop())
    });
    match made {
        Ok(made) if made.succeeded() => true,
        Ok(made) => failed(&format!(
            "cannot make the key {}: {}",
            private.display(),
            text::clean_bytes(made.stderr.trim_ascii(), text::MESSAGE_BYTES)
        )),
        Err(error) => failed(&format!("cannot make the key {}: {error}", private.display())),
    }
}

/// The directory of the key, closed to others, as ssh wants it.
fn make_folder(private: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = private.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// It talks to the person itself, so it keeps the terminal, the person's environment (an agent) and has no time limit.
fn copy_key(target: &SshTarget, public: &Path) -> bool {
    let mut command = Command::new("ssh-copy-id");
    command.args(ssh_keys::copy_arguments(target, public)).envs(ENVIRONMENT);
    // It keeps its temporary files in ~/.ssh and does not make that directory.
    let own = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    if let Some(home) = own.or_else(ssh_keys::home) {
        if let Err(error) = make_folder(&home.join(".ssh/x")) {
            return failed(&format!("cannot make {}/.ssh: {error}", home.display()));
        }
        command.env("HOME", home);
    }
    match command.status() {
        Ok(status) if status.success() => true,
        Ok(status) => failed(&format!("cannot install the key: ssh-copy-id ended with {status}")),
        Err(error) => failed(&format!("cannot start ssh-copy-id: {error}")),
    }
}

fn failed(message: &str) -> bool {
    print::error_line(message);
    false
}
