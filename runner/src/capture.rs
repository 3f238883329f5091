//! Runs a short command to its end and keeps what it printed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Ending, Inherit, Limits, Stream};
use crate::rsync::command::ENVIRONMENT;

/// Most that is kept of each stream; a host that prints more is not worth more.
const KEPT_BYTES: usize = 64 * 1024;

/// A command that has ended.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub ending: Ending,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.ending.code == Some(0) && self.ending.cut.is_none()
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `program` with our fixed environment and no standard input; `limit` is for its whole time.
///
/// # Errors
/// When it can not be started; `NotFound` when it is not installed.
pub fn capture(
    program: &str,
    arguments: &[impl AsRef<OsStr>],
    limit: Duration,
    stop: BorrowedFd<'_>,
) -> io::Result<Captured> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let limits = Limits { total: Some(limit), idle: None };
    let ending = process::run(&command, Inherit::default(), limits, stop, |stream, bytes| {
        let kept = match stream {
            Stream::Output => &mut stdout,
            Stream::Error => &mut stderr,
        };
        let room = KEPT_BYTES.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    })?;
    Ok(Captured { ending, stdout, stderr })
}
