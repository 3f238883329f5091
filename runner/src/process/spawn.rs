//! Starts a child: the one place of this crate with `unsafe` code, between fork and exec.

#![expect(unsafe_code, reason = "CommandExt::pre_exec is unsafe; what runs there is listed below")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::io::FdFlags;
use rustix::process::Signal;

/// What a child gets besides its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inherit<'a> {
    /// The directory it is started in, held open so that nobody can swap it.
    pub directory: Option<BorrowedFd<'a>>,
    /// The lock, held by the child as well so that no second run can overlap an orphan.
    pub lock: Option<BorrowedFd<'a>>,
}

/// Starts a command with this standard input, with both outputs piped, in a process group of its own.
///
/// `text`, where given, is open in the child under its own number. The kernel sends the child SIGTERM when the
/// runner dies (prctl(2), `PR_SET_PDEATHSIG`).
pub fn spawn(
    command: &mut Command,
    inherit: Inherit<'_>,
    input: Stdio,
    text: Option<BorrowedFd<'_>>,
) -> io::Result<Child> {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let directory = inherit.directory.map(|fd| fd.as_raw_fd());
    let kept = [inherit.lock, text].map(|fd| fd.map(|fd| fd.as_raw_fd()));
    let parent = rustix::process::getpid();
    let prepare = move || {
        // SAFETY: the descriptors are borrowed by the caller until `spawn` returns, and the child
        // has copies of them until it calls exec.
        let borrow = |fd| unsafe { BorrowedFd::borrow_raw(fd) };
        if let Some(fd) = directory {
            rustix::process::fchdir(borrow(fd))?;
        }
        for fd in kept.into_iter().flatten() {
            rustix::io::fcntl_setfd(borrow(fd), FdFlags::empty())?;
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The runner may have died before the signal was asked for.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        Ok(())
    };
    // SAFETY: `prepare` makes system calls only; it neither allocates nor takes a lock, as fork(2)
    // in a program with threads demands.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
