//! The boards and alerts in `dashboards/`: their form, their names, and each query against the real databases,
//! filled by the real exporter.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod board;
mod fixture;
mod form;
mod influxdb;
mod names;
mod prometheus;
#[path = "../support/mod.rs"]
mod support;
