//! What the end-to-end tests share.
//!
//! A test waits for a state with a deadline, never for a time; takes port 0 or a free port; works
//! in a temporary directory of its own; and leaves nothing running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that can not go on fails"
)]

pub mod btrfs;
pub mod chromium;
pub mod http;
pub mod influxdb;
pub mod machine;
pub mod noise;
pub mod process;
pub mod prometheus;
pub mod sshd;
pub mod victoriametrics;
pub mod wait;
