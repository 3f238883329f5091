//! The one place of this crate with `unsafe` code: an ioctl with a buffer of the size that its number states.

#![expect(unsafe_code, reason = "an ioctl reads and writes through a pointer; the sizes are checked below")]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Direction, Opcode, Updater, ioctl, opcode};

/// `BTRFS_IOCTL_MAGIC`
const GROUP: u8 = 0x94;

/// Declares a function for each ioctl. The number is made of the size of the buffer, so the kernel
/// takes no call whose buffer is smaller or larger than the structure of its header.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $direction:ident $number:literal $size:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(file: BorrowedFd<'_>, arguments: &mut [u8; $size]) -> io::Result<()> {
            const OPCODE: Opcode = opcode::from_components(Direction::$direction, GROUP, $number, $size);
            // SAFETY: the kernel copies `$size` bytes from and to the buffer, which has as many and is
            // borrowed until the call returns. None of these structures is used with a pointer inside,
            // and any bytes are a valid value of a byte array.
            unsafe { ioctl(file, Updater::<OPCODE, [u8; $size]>::new(arguments)) }.map_err(io::Error::from)
        }
    )*};
}

calls! {
    /// `BTRFS_IOC_SNAP_CREATE_V2` with `struct btrfs_ioctl_vol_args_v2`
    snap_create Write 23 4096;
    /// `BTRFS_IOC_FS_INFO` with `struct btrfs_ioctl_fs_info_args`
    fs_info Read 31 1024;
    /// `BTRFS_IOC_GET_SUBVOL_INFO` with `struct btrfs_ioctl_get_subvol_info_args` (Linux 4.18)
    get_subvol_info Read 60 504;
    /// `BTRFS_IOC_GET_SUBVOL_ROOTREF` with `struct btrfs_ioctl_get_subvol_rootref_args` (Linux 4.18)
    get_subvol_rootref ReadWrite 61 4096;
    /// `BTRFS_IOC_INO_LOOKUP_USER` with `struct btrfs_ioctl_ino_lookup_user_args` (Linux 4.18)
    ino_lookup_user ReadWrite 62 4096;
    /// `BTRFS_IOC_SNAP_DESTROY_V2` with `struct btrfs_ioctl_vol_args_v2` (Linux 5.7)
    snap_destroy Write 63 4096;
}
