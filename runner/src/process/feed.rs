//! Gives a child a text that only it can read: no file with a name, no pipe that could fill up.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::spawn::{self, Inherit};
use super::{Ending, Limits, Stream, finish, nothing};

/// How a text reaches a child.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// As its standard input.
    Input(&'a [u8]),
    /// As the last argument, the name of a file; standard input is empty.
    Argument(&'a [u8]),
}

/// Runs a command as [`super::run`] does, with a text for it; it gets neither lock nor directory.
///
/// Without `stop` only the limits end it.
///
/// # Errors
/// When the command can not be started, or the kernel refuses to wait for it.
pub fn run_fed(
    command: &mut Command,
    feed: Feed<'_>,
    limits: Limits,
    stop: Option<BorrowedFd<'_>>,
    mut heard: impl FnMut(Stream, &[u8]),
) -> io::Result<Ending> {
    let child = match feed {
        Feed::Input(text) => spawn::spawn(command, Inherit::default(), in_memory(text)?.as_fd(), None)?,
        Feed::Argument(text) => {
            let file = in_memory(text)?;
            command.arg(format!("/proc/self/fd/{}", file.as_raw_fd()));
            spawn::spawn(command, Inherit::default(), nothing()?.as_fd(), Some(file.as_fd()))?
        }
    };
    finish(&child, limits, stop, &mut heard)
}

/// A file without a name that nobody can change any more (`memfd_create(2)`, File sealing).
fn in_memory(text: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("script", flags)?);
    file.write_all(text)?;
    file.rewind()?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}
