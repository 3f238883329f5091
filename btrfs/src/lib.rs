//! The few btrfs ioctls that snapshots need, as safe functions over descriptors.
//!
//! The kernel is asked itself, and not the program `btrfs`: a snapshot is made read-only and under its
//! final name in one transaction, what was checked by descriptor is what is deleted (by its id, not by a
//! path), and no text of a program has to be understood. The numbers and layouts are those of
//! `include/uapi/linux/btrfs.h`; the newest call needs Linux 5.7.

mod call;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::fs::{fstat, fstatfs};

/// `BTRFS_SUPER_MAGIC` of `linux/magic.h`.
const MAGIC: u64 = 0x9123_683e;
/// `BTRFS_FIRST_FREE_OBJECTID`: the inode of the root directory of every subvolume.
const ROOT_INODE: u64 = 256;
/// `BTRFS_SUBVOL_RDONLY`, asked for when a snapshot is made.
const READ_ONLY: u64 = 1 << 1;
/// `BTRFS_ROOT_SUBVOL_RDONLY`, the bit on the disk (`linux/btrfs_tree.h`), which is another one.
const IS_READ_ONLY: u64 = 1;
/// `BTRFS_SUBVOL_SPEC_BY_ID`
const BY_ID: u64 = 1 << 4;
/// `BTRFS_SUBVOL_NAME_MAX`, and at the same time more than a directory entry can have.
const NAME_BYTES: usize = 255;

/// A subvolume, as `BTRFS_IOC_GET_SUBVOL_INFO` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subvolume {
    /// Number of its tree, never used twice in a file system.
    pub id: u64,
    /// Its own name for life; zero for the top of a file system that an old mkfs has made.
    pub uuid: [u8; 16],
    /// The subvolume that it is a snapshot of, zero if it is none.
    pub parent_uuid: [u8; 16],
    /// Nothing can be changed in it.
    pub read_only: bool,
    /// The transaction that made it: a later snapshot has a larger one, whatever the clock said.
    pub transaction: u64,
    /// Seconds since 1970 when it was made, by the clock of that time.
    pub created: u64,
}

/// Whether something is on btrfs.
pub fn is_btrfs(file: impl AsFd) -> io::Result<bool> {
    Ok(u64::try_from(fstatfs(file)?.f_type).is_ok_and(|magic| magic & 0xffff_ffff == MAGIC))
}

/// Whether a directory is a subvolume, and not one inside of it.
pub fn is_subvolume(directory: impl AsFd) -> io::Result<bool> {
    Ok(fstat(&directory)?.st_ino == ROOT_INODE && is_btrfs(directory)?)
}

/// The file system's uuid, which all its subvolumes share.
pub fn filesystem(file: impl AsFd) -> io::Result<[u8; 16]> {
    let mut arguments = [0; 1024];
    call::fs_info(file.as_fd(), &mut arguments)?;
    Ok(bytes(&arguments, 16))
}

/// The subvolume that a file or directory is in.
pub fn subvolume(file: impl AsFd) -> io::Result<Subvolume> {
    let mut arguments = [0; 504];
    call::get_subvol_info(file.as_fd(), &mut arguments)?;
    Ok(Subvolume {
        id: number(&arguments, 0),
        uuid: bytes(&arguments, 296),
        parent_uuid: bytes(&arguments, 312),
        read_only: number(&arguments, 288) & IS_READ_ONLY != 0,
        transaction: number(&arguments, 352),
        created: number(&arguments, 392),
    })
}

/// Makes a read-only snapshot of a subvolume under `name` in a directory of the same file system.
///
/// It is there, whole and on the disk, when this returns; before that there is nothing.
///
/// # Errors
/// Those of the kernel: `AlreadyExists` when the name is taken, `ReadOnlyFilesystem`, `StorageFull`, …
pub fn create_snapshot(directory: impl AsFd, source: impl AsFd, name: &str) -> io::Result<()> {
    let mut arguments = [0; 4096];
    if name.is_empty() || name.len() > NAME_BYTES || name.contains(['/', '\0']) {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    arguments[..8].copy_from_slice(&i64::from(source.as_fd().as_raw_fd()).to_ne_bytes());
    arguments[16..24].copy_from_slice(&READ_ONLY.to_ne_bytes());
    arguments[56..56 + name.len()].copy_from_slice(name.as_bytes());
    call::snap_create(directory.as_fd(), &mut arguments)
}

/// Deletes the subvolume of this id from the file system that `file` is on.
///
/// Its name is gone at once; the space comes back little by little, and the name too if the power fails
/// before the next transaction is on the disk.
pub fn delete_subvolume(file: impl AsFd, id: u64) -> io::Result<()> {
    let mut arguments = [0; 4096];
    arguments[16..24].copy_from_slice(&BY_ID.to_ne_bytes());
    arguments[56..64].copy_from_slice(&id.to_ne_bytes());
    call::snap_destroy(file.as_fd(), &mut arguments)
}

/// The subvolumes directly below a subvolume, as paths relative to it, but for those that are entries of
/// the directory with the inode `except`.
///
/// A snapshot of the subvolume holds an empty directory in the place of each.
pub fn nested(subvolume: impl AsFd, except: Option<u64>) -> io::Result<Vec<PathBuf>> {
    let subvolume = subvolume.as_fd();
    let mut paths = Vec::new();
    let mut arguments = [0; 4096];
    loop {
        let whole = match call::get_subvol_rootref(subvolume, &mut arguments) {
            Ok(()) => true,
            // There are more, and the next call begins where this one ended.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OVERFLOW.raw_os_error()) => false,
            Err(error) => return Err(error),
        };
        for index in 0..usize::from(arguments[4088]) {
            let (id, directory) = (number(&arguments, 8 + 16 * index), number(&arguments, 16 + 16 * index));
            if Some(directory) != except {
                paths.extend(path_of(subvolume, id, directory)?);
            }
        }
        if whole {
            paths.sort();
            return Ok(paths);
        }
    }
}

/// Path of a nested subvolume; `None` when it has been deleted in between.
fn path_of(subvolume: impl AsFd, id: u64, directory: u64) -> io::Result<Option<PathBuf>> {
    let mut arguments = [0; 4096];
    arguments[..8].copy_from_slice(&directory.to_ne_bytes());
    arguments[8..16].copy_from_slice(&id.to_ne_bytes());
    match call::ino_lookup_user(subvolume.as_fd(), &mut arguments) {
        Ok(()) => {
            let (name, above) = (text(&arguments[16..272]), text(&arguments[272..]));
            Ok(Some(PathBuf::from(above).join(name)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(bytes: &[u8]) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

fn number(arguments: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes(arguments, at))
}

fn bytes<const SIZE: usize>(arguments: &[u8], at: usize) -> [u8; SIZE] {
    std::array::from_fn(|index| arguments[at + index])
}

#[cfg(test)]
mod tests;
