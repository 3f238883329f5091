//! The exit codes of the runner, one place for all.

use std::process::ExitCode;

use backup_common::reason::Reason;
use backup_common::status::Status;

/// Everything was backed up.
pub const SUCCESS: u8 = 0;
/// Wrong usage or configuration; clap uses the same.
pub const CONFIG: u8 = 2;
/// Finished with warnings.
pub const WARNING: u8 = 3;
/// At least one host or path failed.
pub const FAILED: u8 = 10;
/// Another run holds the lock.
pub const LOCKED: u8 = 11;
/// Refused: the backup directory or rsync is missing, or there is no space.
pub const REFUSED: u8 = 12;
/// Nothing to do: every host is skipped.
pub const NOTHING: u8 = 75;

/// The code of a run that ended with this status.
pub fn of_run(status: Status, signal: Option<i32>) -> ExitCode {
    if let Some(signal) = signal.and_then(|signal| u8::try_from(128 + signal).ok()) {
        return signal.into();
    }
    match status {
        Status::Success => SUCCESS,
        Status::Skipped => NOTHING,
        Status::Warning => WARNING,
        Status::Failed => FAILED,
    }
    .into()
}

/// The code of a run that was refused.
pub fn of_refusal(reason: Reason) -> ExitCode {
    match reason {
        Reason::Locked => LOCKED,
        Reason::ConfigInvalid => CONFIG,
        _ => REFUSED,
    }
    .into()
}
