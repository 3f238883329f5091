//! What rsync and ssh print, and what their ends mean; all pure.
//!
//! [`output`] reads standard output, [`messages`] standard error, and [`exit`] says what an exit code
//! means with both of them at hand. The runner reads its own children with it, the exporter the
//! journal of any unit that runs rsync.

pub mod exit;
pub mod messages;
pub mod output;
