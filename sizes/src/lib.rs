//! What directories take: bytes on disk, apparent bytes, and how many entries they have.
//!
//! Two methods give the same figures as `du` and `find`:
//! - [`walk`] lists directories and asks for each entry; it works on every file system;
//! - [`btrfs`] reads the trees of a btrfs volume, many times faster, and after the first scan only
//!   what changed; the kernel asks for `CAP_SYS_ADMIN`.
//!
//! The second one runs in a process of its own, `backup-sizes`, that can do nothing else
//! ([`confine`]); [`protocol`] is what is spoken with it, [`server`] and [`client`] are its two ends.
//! [`exclusive`] runs the slow `btrfs filesystem du`; quota groups come with the trees where they are on.
//!
//! All `unsafe` code of the crate is in [`sys`].

pub mod btrfs;
pub mod cli;
pub mod client;
pub mod confine;
pub mod exclusive;
pub mod protocol;
pub mod server;
pub mod sys;
pub mod totals;
pub mod walk;
