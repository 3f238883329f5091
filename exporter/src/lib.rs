//! The resident half of the backup system: it follows what the runner records and shows it.
//!
//! ```text
//!  inputs ---> Event ---> State ---> Scrape ---> http
//!            (mpsc)     (one loop)  (watch)
//! ```
//!
//! An input is a thin edge that turns what happens outside into [`event::Event`]s. The loop in
//! [`serve`] applies them to the one [`state::State`] and publishes it; an output renders what was
//! published last. Metrics stand once, as data, in [`catalogue`].
//!
//! What is not here keeps it simple:
//! - [`state`] and [`outputs`] never ask for the time: the same input gives the same bytes;
//! - [`inputs`] name neither state nor outputs, and outputs name no inputs;
//! - a scrape renders memory, at most once for each version of the state, and waits for nothing;
//! - no lock is held while something is rendered: readers have an `Arc` of a state that never changes;
//! - nothing is stored but a position in the journal and the history of sizes: after a restart the state is
//!   rebuilt from the stats log and the journal, counters included.

pub mod catalogue;
pub mod cli;
pub mod event;
pub mod extents;
pub mod history;
pub mod http;
pub mod influx_command;
pub mod inputs;
pub mod log;
pub mod metrics_cli;
pub mod notify;
pub mod outputs;
pub mod progress;
pub mod push;
pub mod schedule;
pub mod serve;
pub mod size_history;
pub mod state;
