//! Directories of a walk, and how they are opened.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;

/// A directory that was listed and has some below it.
///
/// The descriptor lives as long as something holds it; after that, [`Directory::open`] finds it again.
#[derive(Debug)]
pub struct Directory {
    above: Option<Arc<Directory>>,
    name: CString,
    descriptor: Mutex<Weak<Descriptor>>,
}

impl Directory {
    /// Remembers an opened directory by the one above and its name there.
    pub fn new(above: Option<Arc<Self>>, name: CString, descriptor: &Arc<Descriptor>) -> Self {
        Self { above, name, descriptor: Mutex::new(Arc::downgrade(descriptor)) }
    }

    /// Its descriptor, opened again if it was given up: down from the nearest one that is still open.
    pub fn open(&self, budget: &Arc<Budget>) -> Result<Arc<Descriptor>, Errno> {
        let mut closed = Vec::new();
        let mut here = Some(self);
        let mut found = None;
        while let Some(directory) = here {
            found = directory.slot().upgrade();
            if found.is_some() {
                break;
            }
            closed.push(directory);
            here = directory.above.as_deref();
        }
        // The walk itself holds the uppermost directory.
        let mut descriptor = found.ok_or(Errno::BADF)?;
        for directory in closed.into_iter().rev() {
            descriptor = Descriptor::open(descriptor.as_fd(), &directory.name, budget)?;
            *directory.slot() = Arc::downgrade(&descriptor);
        }
        Ok(descriptor)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Weak<Descriptor>> {
        self.descriptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not by recursion, which a deep tree would let overflow the stack.
impl Drop for Directory {
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut directory) = above.and_then(Arc::into_inner) {
            above = directory.above.take();
        }
    }
}

/// Open directories, which the system has only so many of.
#[derive(Debug)]
pub struct Budget {
    open: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// Half of what the process may have open, so that others are left enough.
    pub fn new() -> Arc<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024);
        Arc::new(Self { open: AtomicUsize::new(0), limit: usize::try_from(limit / 2).unwrap_or(512) })
    }

    /// Whether a directory may stay open for what waits below it.
    pub fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.limit.min(16 * 1024)
    }
}

/// An open directory.
#[derive(Debug)]
pub struct Descriptor {
    file: OwnedFd,
    budget: Arc<Budget>,
}

impl Descriptor {
    /// Opens a directory by its name in another: no symlink, and on the same mount.
    pub fn open(above: BorrowedFd<'_>, name: &CStr, budget: &Arc<Budget>) -> Result<Arc<Self>, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        Ok(Self::held(open_quietly(above, name, resolve)?, budget))
    }

    /// Opens the directory that the walk begins with; it may be a mount of its own.
    pub fn open_root(base: &Path, relative: &Path, budget: &Arc<Budget>) -> io::Result<Arc<Self>> {
        let base = File::open(base)?;
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let name = CString::new(relative.as_os_str().as_encoded_bytes())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(Self::held(open_quietly(base.as_fd(), &name, resolve)?, budget))
    }

    fn held(file: OwnedFd, budget: &Arc<Budget>) -> Arc<Self> {
        budget.open.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { file, budget: Arc::clone(budget) })
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.budget.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Without a new access time, which only the owner may ask for, so that reading writes nothing.
fn open_quietly(above: BorrowedFd<'_>, name: &CStr, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat2(above, name, flags | OFlags::NOATIME, Mode::empty(), resolve) {
        Err(Errno::PERM) => openat2(above, name, flags, Mode::empty(), resolve),
        Err(Errno::NOSYS) => open_by_names(above, name, flags, resolve),
        opened => opened,
    }
}

/// The same where openat2(2) is kept back: a filter of system calls can not see what it is asked to do, so
/// that systemd's `RestrictSUIDSGID=` and some containers refuse it whole. One name after the other, none of
/// them a link or `..`.
fn open_by_names(
    above: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let open = |from: BorrowedFd<'_>, name: &[u8]| match openat(
        from,
        name,
        flags | OFlags::NOATIME,
        Mode::empty(),
    ) {
        Err(Errno::PERM) => openat(from, name, flags, Mode::empty()),
        opened => opened,
    };
    let mut here = None;
    for part in name.to_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        let opened = open(here.as_ref().map_or(above, OwnedFd::as_fd), part)?;
        here = Some(opened);
    }
    let opened = here.map_or_else(|| open(above, b"."), Ok)?;
    if resolve.contains(ResolveFlags::NO_XDEV) && mount(above)? != mount(opened.as_fd())? {
        return Err(Errno::XDEV);
    }
    Ok(opened)
}

/// The mount that an open directory is on, statx(2) since Linux 5.8.
fn mount(directory: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// Both ways of opening find the same directories and refuse the same names.
    #[test]
    fn by_names_as_by_openat2() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/file"), "").unwrap();
        symlink("b", folder.path().join("a/link")).unwrap();
        let base = File::open(folder.path()).unwrap();
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inode =
            |opened: Result<OwnedFd, Errno>| opened.map(|found| File::from(found).metadata().unwrap().ino());
        for name in [c"a", c"a/b", c".", c"./a//b/"] {
            let found = inode(open_by_names(base.as_fd(), name, flags, resolve)).unwrap();
            let path = folder.path().join(OsStr::from_bytes(name.to_bytes()));
            assert_eq!(found, fs::metadata(path).unwrap().ino(), "{name:?}");
            assert_eq!(
                found,
                inode(openat2(&base, name, flags, Mode::empty(), resolve)).unwrap(),
                "{name:?}"
            );
        }
        for name in [c"a/file", c"a/link", c"a/link/x", c"..", c"a/../..", c"none"] {
            assert!(open_by_names(base.as_fd(), name, flags, resolve).is_err(), "{name:?}");
            assert!(openat2(&base, name, flags, Mode::empty(), resolve).is_err(), "{name:?}");
        }
        // A mount point is another file system's.
        let root = File::open("/").unwrap();
        assert_eq!(open_by_names(root.as_fd(), c"proc", flags, resolve).unwrap_err(), Errno::XDEV);
        assert!(open_by_names(root.as_fd(), c"proc", flags, ResolveFlags::BENEATH).is_ok());
    }
}
