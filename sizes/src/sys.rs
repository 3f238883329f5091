//! The only `unsafe` code of the crate: ioctls of btrfs, the idle classes of the schedulers, and the
//! socket that systemd hands over.
//!
//! Each function is a safe wrapper of one system call with buffers that it owns, so nothing that the
//! kernel, a file system or another process hands over can reach outside of them. Layouts and numbers
//! are those of `include/uapi/linux/btrfs.h`, which never change once released.
#![expect(unsafe_code, reason = "ioctl(2), ioprio_set(2) and sched_setscheduler(2) have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use libc::{Ioctl, c_int, c_long};

/// `BTRFS_IOC_TREE_SEARCH_V2`.
pub const TREE_SEARCH_V2: Ioctl = request(READ | WRITE, 17, 112);
/// `BTRFS_IOC_INO_LOOKUP`.
pub const INO_LOOKUP: Ioctl = request(READ | WRITE, 18, 4096);
/// `BTRFS_IOC_WAIT_SYNC`.
pub const WAIT_SYNC: Ioctl = request(WRITE, 22, 8);
/// `BTRFS_IOC_START_SYNC`.
pub const START_SYNC: Ioctl = request(READ, 24, 8);
/// `BTRFS_IOC_FS_INFO`.
pub const FS_INFO: Ioctl = request(READ, 31, 1024);
/// `BTRFS_IOC_GET_SUBVOL_INFO`.
pub const GET_SUBVOL_INFO: Ioctl = request(READ, 60, 504);

const WRITE: u32 = 1;
const READ: u32 = 2;

/// The number of a btrfs ioctl, `_IOC(direction, 0x94, number, size)` of `asm-generic/ioctl.h`.
const fn request(direction: u32, number: u32, size: u32) -> Ioctl {
    ((direction << 30) | (size << 16) | (0x94 << 8) | number) as Ioctl
}

/// Words before the items in the buffer of a tree search: `struct btrfs_ioctl_search_args_v2`.
const SEARCH_HEADER_WORDS: usize = 14;

/// What a tree search looks for: `struct btrfs_ioctl_search_key`.
#[derive(Clone, Copy, Debug)]
pub struct SearchKey {
    /// Tree.
    pub tree: u64,
    /// First key: object, type, offset.
    pub min: (u64, u8, u64),
    /// Last key. Keys are compared as a whole, so items of other types stand between the two.
    pub max: (u64, u8, u64),
    /// Leaves of older generations are passed over.
    pub min_transid: u64,
    /// So many items at most.
    pub items: u32,
}

/// Room for the items that a tree search finds.
#[derive(Debug)]
pub struct SearchBuffer(Vec<u64>);

impl SearchBuffer {
    /// Room for so many bytes of items, each with a header of 32 bytes.
    pub fn new(bytes: usize) -> Self {
        Self(vec![0; SEARCH_HEADER_WORDS + bytes.div_ceil(8)])
    }

    /// Fills the buffer; the items follow each other, as many as are returned.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`, `ENOENT` when there is no such tree. An item that is larger
    /// than the buffer makes the buffer grow.
    pub fn search(&mut self, volume: BorrowedFd<'_>, key: &SearchKey) -> io::Result<(usize, &[u8])> {
        loop {
            let room = (self.0.len() - SEARCH_HEADER_WORDS) * 8;
            let types = u64::from(key.min.1) | (u64::from(key.max.1) << 32);
            self.0[..SEARCH_HEADER_WORDS].copy_from_slice(&[
                key.tree,
                key.min.0,
                key.max.0,
                key.min.2,
                key.max.2,
                key.min_transid,
                u64::MAX,
                types,
                u64::from(key.items),
                0,
                0,
                0,
                0,
                room as u64,
            ]);
            // SAFETY: the kernel writes the header and at most `room` bytes after it, which is the
            // length of the buffer; it lives longer than the call.
            let result = unsafe { libc::ioctl(volume.as_raw_fd(), TREE_SEARCH_V2, self.0.as_mut_ptr()) };
            if result >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            let needed = usize::try_from(self.0[SEARCH_HEADER_WORDS - 1]).unwrap_or(usize::MAX);
            // An item is smaller than a node, and nodes have at most 64 KiB.
            if error.raw_os_error() != Some(libc::EOVERFLOW) || needed <= room || needed > 1 << 20 {
                return Err(error);
            }
            *self = Self::new(needed);
        }
        let found = usize::try_from(self.0[8] & u64::from(u32::MAX)).unwrap_or_default();
        let items = &self.0[SEARCH_HEADER_WORDS..];
        // SAFETY: the memory of words is that of eight times as many bytes, all of them initialised.
        let bytes = unsafe { std::slice::from_raw_parts(items.as_ptr().cast::<u8>(), items.len() * 8) };
        Ok((found, bytes))
    }
}

/// The tree (subvolume) that a directory is in; needs no privilege.
///
/// # Errors
/// `ENOTTY` when it is not on btrfs.
pub fn tree_of(directory: BorrowedFd<'_>) -> io::Result<u64> {
    const FIRST_FREE_OBJECTID: u64 = 256;
    let mut args = [0u64; 512];
    args[1] = FIRST_FREE_OBJECTID;
    ioctl(directory, INO_LOOKUP, &mut args)?;
    Ok(args[0])
}

/// Commits what is under way and waits for it; gives the generation that was committed.
///
/// # Errors
/// Those of ioctl(2).
pub fn commit(volume: BorrowedFd<'_>) -> io::Result<u64> {
    let mut generation = [0u64; 1];
    ioctl(volume, START_SYNC, &mut generation)?;
    ioctl(volume, WAIT_SYNC, &mut generation)?;
    Ok(generation[0])
}

/// A file system: `struct btrfs_ioctl_fs_info_args`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Size of a block, to which sizes on disk are rounded.
    pub block_bytes: u32,
    /// The generation that runs.
    pub generation: u64,
}

/// Which file system a directory is on; the generation is told since Linux 5.11 and 0 before.
///
/// # Errors
/// `ENOTTY` when it is not btrfs.
pub fn file_system(volume: BorrowedFd<'_>) -> io::Result<FileSystem> {
    const FLAG_GENERATION: u64 = 1 << 1;
    let mut args = [0u64; 128];
    args[6] = FLAG_GENERATION;
    ioctl(volume, FS_INFO, &mut args)?;
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&args[2].to_ne_bytes());
    uuid[8..].copy_from_slice(&args[3].to_ne_bytes());
    let block_bytes = u32::from_ne_bytes([4, 5, 6, 7].map(|at| args[4].to_ne_bytes()[at]));
    Ok(FileSystem { uuid, block_bytes, generation: args[7] })
}

/// Whether a subvolume is a read-only snapshot; needs no privilege.
///
/// # Errors
/// `ENOTTY` when the directory is not on btrfs.
pub fn is_read_only_snapshot(subvolume: BorrowedFd<'_>) -> io::Result<bool> {
    // struct btrfs_ioctl_get_subvol_info_args: treeid, name[256], parent_id, dirid, generation,
    // flags, uuid[16], parent_uuid[16], …
    const FLAGS: usize = 1 + 32 + 3;
    const PARENT_UUID: usize = FLAGS + 1 + 2;
    // BTRFS_ROOT_SUBVOL_RDONLY: the flag as it stands on the disk.
    const READ_ONLY: u64 = 1 << 0;
    let mut args = [0u64; 63];
    ioctl(subvolume, GET_SUBVOL_INFO, &mut args)?;
    Ok(args[FLAGS] & READ_ONLY != 0 && args[PARENT_UUID..PARENT_UUID + 2] != [0, 0])
}

/// `args` is at least as long as the request says.
fn ioctl<const WORDS: usize>(
    descriptor: BorrowedFd<'_>,
    request: Ioctl,
    args: &mut [u64; WORDS],
) -> io::Result<()> {
    debug_assert!(size_of_val(args) as u64 >= (request >> 16) & 0x3fff);
    // SAFETY: the kernel reads and writes as many bytes as the request's number says, and `args` has
    // as many; none of the requests above holds a pointer.
    let result = unsafe { libc::ioctl(descriptor.as_raw_fd(), request, args.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The listening socket that systemd hands over as descriptor 3 (`sd_listen_fds(3)`).
///
/// # Errors
/// When descriptor 3 is not open.
pub fn inherited_socket() -> io::Result<UnixListener> {
    const FIRST: RawFd = 3;
    // SAFETY: asks about a number only.
    if unsafe { libc::fcntl(FIRST, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and `$LISTEN_FDS` says that it is ours; it is asked for once, at
    // the start, before the program has opened anything itself.
    Ok(UnixListener::from(unsafe { OwnedFd::from_raw_fd(FIRST) }))
}

/// Puts the calling thread, and those that it starts, behind everything else that wants the
/// processor or a disk. Where the kernel refuses, the thread goes on as it was.
pub fn be_idle() {
    const IOPRIO_WHO_PROCESS: c_int = 1;
    const IOPRIO_CLASS_IDLE: c_long = 3 << 13;
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: both take numbers and a pointer to a value that lives longer than the call; 0 is the
    // calling thread.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const priority);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers as `btrfs.h` gives them on the usual architectures.
    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn request_numbers() {
        assert_eq!(TREE_SEARCH_V2, 0xc070_9411);
        assert_eq!(INO_LOOKUP, 0xd000_9412);
        assert_eq!(WAIT_SYNC, 0x4008_9416);
        assert_eq!(START_SYNC, 0x8008_9418);
        assert_eq!(FS_INFO, 0x8400_941f);
        assert_eq!(GET_SUBVOL_INFO, 0x81f8_943c);
    }

    #[test]
    fn other_file_systems_say_so() {
        use std::os::fd::AsFd;
        let directory = std::fs::File::open("/proc").unwrap();
        assert!(file_system(directory.as_fd()).is_err());
        assert!(tree_of(directory.as_fd()).is_err());
    }
}
