//! Starts a child: the one place of this crate with `unsafe` code, between clone and exec.
//!
//! fork(2) copies the page tables of the runner, and every page that its threads touch meanwhile, for each child: the
//! more hosts a configuration has, the more each rsync costs. So the child shares the memory until it calls exec, as
//! that of `posix_spawn(3)` does, which is not used because it knows no `PR_SET_PDEATHSIG`.

#![expect(unsafe_code, reason = "clone(2) is unsafe; what the child does is listed in `in_child`")]

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::ptr;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Bytes that the child needs until it calls exec; it makes system calls only.
const STACK_BYTES: usize = 64 * 1024;
/// Bytes that a pipe holds, so that a child which prints much need not wait for its reader.
const PIPE_BYTES: usize = 256 * 1024;
/// Signals that the runner handles, or that Rust ignores (SIGPIPE): a program finds them as they are by default.
const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGXFSZ, libc::SIGPIPE];

/// What a child gets besides its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inherit<'a> {
    /// The directory it is started in, held open so that nobody can swap it.
    pub directory: Option<BorrowedFd<'a>>,
    /// The lock, held by the child as well so that no second run can overlap an orphan.
    pub lock: Option<BorrowedFd<'a>>,
}

/// A child that was started and is not waited for yet.
#[derive(Debug)]
pub struct Child {
    /// Its process id, which is that of its group.
    pub pid: Pid,
    /// Ready when it has ended (`pidfd_open(2)`).
    pub ended: OwnedFd,
    /// The other end of its standard output.
    pub output: OwnedFd,
    /// The other end of its standard error.
    pub error: OwnedFd,
}

impl Child {
    /// Waits for its end: its exit code, or the signal that ended it.
    pub fn wait(&self) -> io::Result<(Option<i32>, Option<i32>)> {
        let ended = loop {
            match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                ended => break ended?,
            }
        };
        Ok(ended.map_or((None, None), |status| (status.exit_status(), status.terminating_signal())))
    }

    /// Ends it and its group at once.
    pub fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

/// Starts a command with this standard input, with both outputs piped, in a process group of its own.
///
/// Its environment is what the command sets and nothing else. `text`, where given, is open in the child under its own
/// number. The kernel sends the child SIGTERM when the runner dies (prctl(2), `PR_SET_PDEATHSIG`).
///
/// # Errors
/// When it can not be started; `NotFound` when it is not installed.
pub fn spawn(
    command: &Command,
    inherit: Inherit<'_>,
    input: BorrowedFd<'_>,
    text: Option<BorrowedFd<'_>>,
) -> io::Result<Child> {
    let (output, their_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (error, their_error) = pipe_with(PipeFlags::CLOEXEC)?;
    // A smaller pipe only makes more work.
    let _ = fcntl_setpipe_size(&output, PIPE_BYTES);
    let strings = Strings::of(command)?;
    let mut orders = Orders {
        programs: strings.programs.iter().map(|program| program.as_ptr()).collect(),
        arguments: pointers(&strings.arguments),
        environment: pointers(&strings.environment),
        folder: strings.folder.as_ref().map_or(ptr::null(), |folder| folder.as_ptr()),
        directory: inherit.directory.map_or(-1, |fd| fd.as_raw_fd()),
        kept: [inherit.lock, text].map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd())),
        streams: [input.as_raw_fd(), their_output.as_raw_fd(), their_error.as_raw_fd()],
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        failure: 0,
    };
    let (pid, ended) = start(&mut orders)?;
    let child = Child { pid, ended, output, error };
    if orders.failure != 0 {
        let _ = child.wait();
        return Err(io::Error::from_raw_os_error(orders.failure));
    }
    Ok(child)
}

/// The words of a command as the kernel takes them.
struct Strings {
    programs: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    folder: Option<CString>,
}

impl Strings {
    fn of(command: &Command) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let program = command.get_program().as_bytes();
        let variables = || command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let path = variables().find(|(name, _)| *name == "PATH").map_or(OsStr::new(""), |(_, value)| value);
        let programs = if program.contains(&b'/') {
            vec![text(program)?]
        } else {
            let folders = path.as_bytes().split(|byte| *byte == b':').filter(|folder| !folder.is_empty());
            folders.map(|folder| text(&[folder, b"/", program].concat())).collect::<io::Result<_>>()?
        };
        let words = std::iter::once(program).chain(command.get_args().map(OsStr::as_bytes));
        let assignment =
            |(name, value): (&OsStr, &OsStr)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        Ok(Self {
            programs,
            arguments: words.map(text).collect::<io::Result<_>>()?,
            environment: variables().map(assignment).collect::<io::Result<_>>()?,
            folder: command
                .get_current_dir()
                .map(|folder| text(folder.as_os_str().as_bytes()))
                .transpose()?,
        })
    }
}

/// A list that ends with a null pointer, as execve(2) wants it; it points into `words`.
fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
}

/// All that the child needs, made before it is there, and what it leaves behind where it fails.
struct Orders {
    programs: Vec<*const libc::c_char>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    folder: *const libc::c_char,
    directory: RawFd,
    kept: [RawFd; 2],
    streams: [RawFd; 3],
    parent: libc::pid_t,
    failure: libc::c_int,
}

/// Starts the child and waits until it has called exec or failed.
fn start(orders: &mut Orders) -> io::Result<(Pid, OwnedFd)> {
    let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK_BYTES);
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the stack grows downwards from its aligned end, and both it and the orders live until the child has
    // called exec or ended, because CLONE_VFORK holds this thread until then. With all signals blocked, no handler
    // of ours runs in the child, where it would change our memory. The descriptor is the kernel's, and nobody else's.
    unsafe {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        let end = stack.as_mut_ptr().add(STACK_BYTES);
        let top = end.sub(end.addr() % 16);
        let argument = ptr::from_mut(orders).cast();
        let pid = libc::clone(in_child, top.cast(), flags, argument, ptr::from_mut(&mut pidfd));
        let failure = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        let pid = Pid::from_raw(pid.max(0)).ok_or(failure)?;
        Ok((pid, OwnedFd::from_raw_fd(pidfd)))
    }
}

/// What happens in the child: system calls only, no allocation and no lock, since its memory is the runner's.
extern "C" fn in_child(orders: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` hands over its orders, and does not touch them before this process has called exec or ended.
    let orders = unsafe { &mut *orders.cast::<Orders>() };
    // SAFETY: the descriptors are the caller's until `spawn` returns; the strings and lists end as execve(2) wants it.
    unsafe {
        let done = obey(orders);
        if done.is_some() {
            for program in &orders.programs {
                libc::execve(*program, orders.arguments.as_ptr(), orders.environment.as_ptr());
                // The next directory of PATH may have it, as execvp(3) looks for it.
                if !matches!(*libc::__errno_location(), libc::ENOENT | libc::ENOTDIR | libc::EACCES) {
                    break;
                }
            }
        }
        orders.failure = match *libc::__errno_location() {
            0 => libc::ENOENT,
            error => error,
        };
        libc::_exit(127)
    }
}

/// Makes everything ready for exec; `None` leaves the error in errno.
unsafe fn obey(orders: &Orders) -> Option<()> {
    let good = |result: libc::c_int| (result >= 0).then_some(());
    // SAFETY: as in `in_child`.
    unsafe {
        *libc::__errno_location() = 0;
        good(libc::setpgid(0, 0))?;
        for (number, fd) in (0..).zip(orders.streams) {
            good(libc::dup2(fd, number))?;
        }
        if orders.directory >= 0 {
            good(libc::fchdir(orders.directory))?;
        }
        if !orders.folder.is_null() {
            good(libc::chdir(orders.folder))?;
        }
        for fd in orders.kept.into_iter().filter(|fd| *fd >= 0) {
            good(libc::fcntl(fd, libc::F_SETFD, 0))?;
        }
        good(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
        // The runner may have died before the signal was asked for.
        if libc::getppid() != orders.parent {
            *libc::__errno_location() = libc::EINTR;
            return None;
        }
        for signal in SIGNALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        good(libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()))
    }
}
