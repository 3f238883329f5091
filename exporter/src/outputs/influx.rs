//! What happened as points for InfluxDB.
//!
//! [`points`] decides what a record says, [`line_protocol`] how it is written.

pub mod line_protocol;
pub mod points;
