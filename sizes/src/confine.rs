//! Gives up everything that measuring does not need.
//!
//! What stays: one capability, reading, and the few system calls of a scan. After this the process can
//! not write a file, make or use another socket, start a program or signal another process, whatever
//! code runs in it. Only the ioctls that read trees pass, which keeps back all that the capability
//! would allow otherwise.

use std::collections::BTreeMap;
use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::sys;

/// The capability that the tree search asks for.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// Why the process is not confined; it must not serve then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A capability can not be given up, or is not there.
    #[error("cannot keep CAP_SYS_ADMIN and nothing else; start it as root or with this capability")]
    Capabilities(#[source] io::Error),
    /// The kernel does not take the filter.
    #[error("cannot restrict the system calls")]
    Filter(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Confines the whole process; call it before there is a second thread.
///
/// # Errors
/// All of [`ConfineError`].
pub fn confine() -> Result<(), ConfineError> {
    drop_capabilities().map_err(|error| ConfineError::Capabilities(error.into()))?;
    let program = filter().map_err(ConfineError::Filter)?;
    seccompiler::apply_filter(&program).map_err(|error| ConfineError::Filter(error.into()))
}

fn drop_capabilities() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    // Without CAP_SETPCAP the bounding set stays; no_new_privs has made it meaningless.
    for capability in CapabilitySet::all().difference(KEPT) {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

/// The system calls of a scan, an answer, memory and threads; everything else is refused with EPERM.
fn filter() -> Result<BpfProgram, Box<dyn std::error::Error + Send + Sync>> {
    let any = [
        libc::SYS_accept4,
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone3,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_getsockopt,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_newfstatat,
        libc::SYS_prctl,
        libc::SYS_prlimit64,
        libc::SYS_read,
        libc::SYS_recvfrom,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sendto,
        libc::SYS_set_robust_list,
        libc::SYS_setsockopt,
        libc::SYS_sigaltstack,
        libc::SYS_statx,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = any.into_iter().map(|call| (call, Vec::new())).collect();
    let requests = [sys::TREE_SEARCH_V2, sys::INO_LOOKUP, sys::START_SYNC, sys::WAIT_SYNC, sys::FS_INFO];
    let rule = |argument, operator, value| -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
    };
    let ioctls = requests.map(|request| rule(1, SeccompCmpOp::Eq, request & u64::from(u32::MAX)));
    rules.insert(libc::SYS_ioctl, ioctls.into_iter().collect::<Result<_, _>>()?);
    // Opening for reading only, and without making anything.
    let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    let writing = u64::from(writing.unsigned_abs());
    rules.insert(libc::SYS_openat, vec![rule(2, SeccompCmpOp::MaskedEq(writing), 0)?]);
    // Threads, and no process. glibc falls back to it where clone3 is kept back, as systemd's
    // RestrictNamespaces= does, because a filter can not see the flags of clone3.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    Ok(SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()?)
}
