//! A host's key on first contact: fetched, shown as a fingerprint, and kept only after a yes.
//!
//! ssh itself fetches the key into a file in memory, so that the line is the one ssh would write (hashed where
//! `HashKnownHosts` says so, under its alias, through a jump host), and nothing is sent to the host but the wish to talk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use backup_common::config::SshTarget;
use backup_common::text;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::capture::capture;
use crate::rsync::command::ssh_arguments;

/// Longest time to fetch a key, beside that to connect.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for a fingerprint, which needs no network.
const FINGERPRINT_LIMIT: Duration = Duration::from_secs(10);

/// A host's key as ssh would note it.
#[derive(Debug)]
pub struct HostKey {
    /// Lines for a file of known hosts.
    lines: String,
    /// Such as `ED25519 SHA256:…`.
    pub fingerprint: String,
}

/// What can go wrong on first contact.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// ssh got no key.
    #[error("cannot fetch the host's key: {0}")]
    Fetch(String),
    /// ssh-keygen did not understand it.
    #[error("cannot compute the fingerprint of the host's key: {0}")]
    Fingerprint(String),
    /// A program or a file.
    #[error("cannot {0}")]
    Io(String, #[source] io::Error),
}

impl HostKey {
    /// Asks the host for its key.
    pub fn fetch(
        target: &SshTarget,
        connect_timeout: Duration,
        stop: BorrowedFd<'_>,
    ) -> Result<Self, KeyError> {
        let memory = memfd_create("host-key", MemfdFlags::CLOEXEC)
            .map_err(|error| KeyError::Io("keep the host's key in memory".to_owned(), error.into()))?;
        // The child opens it by our entry in proc(5), as the same user.
        let name = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        let arguments = fetch_arguments(target, connect_timeout, &name);
        let fetched = capture("ssh", &arguments, connect_timeout + FETCH_LIMIT, stop)
            .map_err(|error| KeyError::Io("start ssh".to_owned(), error))?;
        let mut memory = File::from(memory);
        let mut lines = String::new();
        memory
            .seek(SeekFrom::Start(0))
            .and_then(|_| memory.read_to_string(&mut lines))
            .map_err(|error| KeyError::Io("read the host's key".to_owned(), error))?;
        if lines.trim().is_empty() {
            let said = text::clean_bytes(fetched.stderr.trim_ascii(), text::MESSAGE_BYTES);
            return Err(KeyError::Fetch(said));
        }
        let arguments = ["-l".to_owned(), "-f".to_owned(), name];
        let shown = capture("ssh-keygen", &arguments, FINGERPRINT_LIMIT, stop)
            .map_err(|error| KeyError::Io("start ssh-keygen".to_owned(), error))?;
        let fingerprint = read_fingerprint(&shown.text()).ok_or_else(|| {
            KeyError::Fingerprint(text::clean_bytes(shown.stderr.trim_ascii(), text::MESSAGE_BYTES))
        })?;
        Ok(Self { lines, fingerprint })
    }

    /// The kind of the key as sshd's files are named, such as `ed25519`.
    pub fn kind(&self) -> String {
        self.fingerprint.split(' ').next().unwrap_or_default().to_ascii_lowercase()
    }

    /// Appends exactly this key to a file of known hosts, which is made if it is not there.
    pub fn remember(&self, known_hosts: &Path) -> Result<(), KeyError> {
        append(known_hosts, &self.lines)
            .map_err(|error| KeyError::Io(format!("add the host's key to {}", known_hosts.display()), error))
    }
}

/// ssh takes the first value of each option, so that these win over ours and the user's.
fn fetch_arguments(target: &SshTarget, connect_timeout: Duration, file: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    for option in [
        format!("UserKnownHostsFile={file}").as_str(),
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=accept-new",
        // A way in is neither needed nor shown to a host that nobody knows yet.
        "PreferredAuthentications=none",
        "PubkeyAuthentication=no",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "GSSAPIAuthentication=no",
        "HostbasedAuthentication=no",
    ] {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    arguments.extend(ssh_arguments(target, connect_timeout).into_iter().skip(1));
    arguments.extend(["--".to_owned(), target.hostname.clone(), "true".to_owned()]);
    arguments
}

/// `256 SHA256:HASH NAME (ED25519)`, as `ssh-keygen -l` prints it.
fn read_fingerprint(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let hash = line.split_ascii_whitespace().nth(1).filter(|hash| hash.contains(':'))?;
    let kind = line.rsplit_once('(')?.1.strip_suffix(')')?;
    Some(text::clean(&format!("{kind} {hash}"), text::MESSAGE_BYTES))
}

fn append(file: &Path, lines: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    let mut opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut text = String::with_capacity(lines.len() + 1);
    if opened.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        opened.read_exact(&mut last)?;
        // A last line without its end would swallow the new one.
        if last != [b'\n'] {
            text.push('\n');
        }
    }
    text.push_str(lines);
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        for (text, expected) in [
            ("256 SHA256:4mOD3Jt |1|salt=|hash= (ED25519)\n", Some("ED25519 SHA256:4mOD3Jt")),
            ("3072 SHA256:abc [127.0.0.1]:22 (RSA)\nmore\n", Some("RSA SHA256:abc")),
            ("", None),
            ("host-key is not a public key file.\n", None),
        ] {
            assert_eq!(read_fingerprint(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_line_is_appended_and_never_glued() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join(".ssh/known_hosts");
        append(&file, "a ssh-ed25519 X\n").expect("appends");
        assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
        fs::write(&file, "old ssh-rsa Y").expect("writes");
        append(&file, "a ssh-ed25519 X\n").expect("appends");
        assert_eq!(fs::read_to_string(&file).expect("reads"), "old ssh-rsa Y\na ssh-ed25519 X\n");
    }
}
