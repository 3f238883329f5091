//! rsync, from a planned path to figures and a verdict.
//!
//! [`command`] builds the argument list, [`listing`] that of a look beforehand, [`output`] reads what it
//! prints to standard output, [`messages`] what it prints to standard error, [`verdict`] says how it ended,
//! [`deletion`] whether a second call deletes, [`version`] knows which versions are to be wary of. All are pure; the process itself is run by
//! [`crate::process`].

pub mod command;
pub mod deletion;
pub mod listing;
pub mod verdict;
pub mod version;

pub use backup_common::rsync::{messages, output};
