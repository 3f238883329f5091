//! Inputs turn what happens outside into [`Event`](crate::event::Event)s; they know neither the state
//! nor the outputs.
//!
//! To add one:
//! 1. give it a name in [`Input`](crate::event::Input) and say whether it is replayed, and give its facts variants of the event;
//! 2. write a thin edge here with a `run(source, events)` that sends `InputUp` or `InputDown` whenever
//!    that changes, `CaughtUp` once, and ends when nobody receives any more; put what it parses into a
//!    pure file beside it;
//! 3. start it in [`crate::serve`].

pub mod config;
pub mod journal;
pub mod older_lines;
pub mod process;
pub mod sizes;
pub mod snapshots;
pub mod stats;
pub mod timer;
