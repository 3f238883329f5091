//! The vocabulary that the runner and the exporter share.
//!
//! Text goes in and values come out: nothing in this crate opens a file or a socket, starts a
//! process or asks for the time. The two programs know each other only through what is here:
//!
//! - [`yaml`], [`config_file`], [`config`]: the configuration as written, then checked and inherited;
//! - [`config_keys`], [`config_schema`], [`effective_config`]: its keys as data, their JSON Schema, and a checked
//!   configuration written out;
//! - [`record`]: one JSON line per thing that happened, the only wire format between the two;
//! - [`status`], [`reason`]: how something ended, as closed lists with cause and remedy;
//! - [`lines`]: bytes into complete lines, so that a torn tail is never read as a record;
//! - [`snapshot_name`]: how a snapshot is called;
//! - [`names`], [`units`], [`text`], [`journal_fields`], [`error_chain`]: small shared nouns.

pub mod config;
mod config_check;
pub mod config_file;
pub mod config_keys;
pub mod config_schema;
pub mod destinations;
pub mod effective_config;
pub mod error_chain;
pub mod error_kind;
pub mod journal_fields;
pub mod lines;
pub mod names;
pub mod problems;
pub mod reason;
pub mod record;
mod record_wire;
pub mod rsync;
pub mod rsync_options;
pub mod snapshot_name;
pub mod ssh_options;
pub mod status;
pub mod text;
pub mod units;
pub mod yaml;
pub mod yaml_table;
