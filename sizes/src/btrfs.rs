//! The trees of a btrfs volume: inode items and their references, read with the ioctl
//! `BTRFS_IOC_TREE_SEARCH_V2`, which asks for `CAP_SYS_ADMIN`.
//!
//! The first scan reads every tree that holds a wanted directory, several ranges of inode numbers at a
//! time (`full`). What it keeps (`tree`) is 16 bytes for a file, so that the next scan
//! (`rescan`, `changes`) reads no more than the leaves that are newer than the last one and lists the
//! directories that changed. `rollup` adds up what is below each wanted directory, across
//! subvolumes; read-only snapshots are left out. `scan` decides which of the two it takes.
//!
//! The formats are those of `include/uapi/linux/btrfs_tree.h`.

mod changes;
mod files;
mod full;
mod item;
mod quota;
mod rescan;
mod resolve;
mod rollup;
mod scan;
mod search;
mod subvolumes;
mod tree;
mod volume;

pub use quota::Quota;
pub use volume::{Found, Measured, Method, ScanError, Volume};
