//! Names of the journal fields that the runner writes and the exporter reads.

/// Type of the record, such as `path_finished`.
pub const RECORD: &str = "BACKUP_RECORD";
/// Id of the run that the entry belongs to.
pub const RUN_ID: &str = "BACKUP_RUN_ID";
/// Host as named in the configuration.
pub const HOST: &str = "BACKUP_HOST";
/// Path as written in the configuration.
pub const PATH: &str = "BACKUP_PATH";
/// One of the names of [`crate::status::Status`].
pub const STATUS: &str = "BACKUP_STATUS";
/// One of the names of [`crate::reason::Reason`].
pub const REASON: &str = "BACKUP_REASON";
/// The whole record as JSON, where the stats log could not take it.
pub const RECORD_JSON: &str = "BACKUP_RECORD_JSON";
