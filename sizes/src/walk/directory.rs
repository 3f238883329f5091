//! Directories of a walk, and how they are opened.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
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
        opened => opened,
    }
}
