//! rsync, from a planned path to figures and a verdict.
//!
//! [`command`] builds the argument list, [`output`] reads what it prints to standard output,
//! [`messages`] what it prints to standard error, [`verdict`] says how it ended. All four are pure;
//! the process itself is run by [`crate::process`].

pub mod command;
pub mod verdict;

pub use backup_common::rsync::{messages, output};
