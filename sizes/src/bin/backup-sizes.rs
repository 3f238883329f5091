//! The program: reads the trees of one btrfs volume for the exporter, and can do nothing else.
//! Exit code 2 for errors in the command line, 1 for anything else; it ends by a signal.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use backup_sizes::btrfs::Volume;
use backup_sizes::cli::Cli;
use backup_sizes::confine::{ConfineError, confine};
use backup_sizes::server::{Peers, serve};
use backup_sizes::sys;
use clap::Parser;
use rustix::fs::{Gid, Mode, chown};

/// Why it can not serve.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot listen on {0}")]
    Listen(PathBuf, #[source] io::Error),
    #[error("cannot use the socket of systemd")]
    Inherited(#[source] io::Error),
    #[error("cannot find the group {0}")]
    Group(String),
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("backup-sizes: {}", ErrorChain(&error));
            ExitCode::from(1)
        }
    }
}

fn run(cli: &Cli) -> Result<Infallible, StartError> {
    let (listener, group) = if is_handed_over() {
        let listener = sys::inherited_socket().map_err(StartError::Inherited)?;
        let address = listener.local_addr().map_err(StartError::Inherited)?;
        let group = address.as_pathname().and_then(|path| Some(fs::metadata(path).ok()?.gid()));
        (listener, group)
    } else {
        let group = cli.socket_group.as_deref().map(group_of).transpose()?;
        let listener =
            listen(&cli.socket, group).map_err(|error| StartError::Listen(cli.socket.clone(), error))?;
        (listener, group)
    };
    sys::be_idle();
    confine()?;
    let mut volume = Volume::new(cli.volume.clone(), Duration::from_secs(cli.full_interval));
    match volume.check() {
        Ok(()) => eprintln!("backup-sizes: answering for {}", cli.volume.display()),
        // It may be mounted later, so this is no end.
        Err(error) => eprintln!(
            "backup-sizes: warning: {}; --volume wants the backup_base of backup.yaml",
            ErrorChain(&error)
        ),
    }
    serve(&listener, &mut volume, Peers { group })
}

/// As `sd_listen_fds(3)` says.
fn is_handed_over() -> bool {
    let variable = |name: &str| std::env::var(name).ok();
    variable("LISTEN_PID") == Some(std::process::id().to_string())
        && variable("LISTEN_FDS").as_deref() == Some("1")
}

/// Makes the socket, for its owner and its group only from the first moment on.
fn listen(socket: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(socket)?;
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o117));
    let listener = UnixListener::bind(socket);
    rustix::process::umask(before);
    if let Some(group) = group {
        chown(socket, None, Some(Gid::from_raw(group)))?;
    }
    listener
}

/// From its number, or from `/etc/group` (group(5)).
fn group_of(name: &str) -> Result<u32, StartError> {
    let listed = || {
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
    };
    name.parse().ok().or_else(listed).ok_or_else(|| StartError::Group(name.to_owned()))
}
