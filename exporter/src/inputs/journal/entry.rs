//! Pure: the fields of a journal entry that matter.
//!
//! Field names are those of systemd.journal-fields(7). Only fields that begin with `_` are journald's
//! own word; whatever decides how a session ended is taken from PID 1 alone.

use std::sync::Arc;

use jiff::Timestamp;

/// An entry of the unit, or one that PID 1 wrote about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `__REALTIME_TIMESTAMP`, in microseconds.
    pub realtime: u64,
    /// `__MONOTONIC_TIMESTAMP`, in microseconds since the boot.
    pub monotonic: u64,
    /// `_BOOT_ID`.
    pub boot: Arc<str>,
    /// `_PID` is 1: the service manager speaks.
    pub from_manager: bool,
    /// `_SYSTEMD_INVOCATION_ID` of the unit's own entries, `INVOCATION_ID` of PID 1's.
    pub invocation: Option<String>,
    /// `MESSAGE_ID`.
    pub message_id: Option<String>,
    /// `MESSAGE`.
    pub message: Vec<u8>,
    /// `PRIORITY`, 6 (info) where there is none.
    pub priority: u8,
    /// `SYSLOG_IDENTIFIER`: for what goes to standard output, systemd writes the program's name here.
    pub identifier: Option<String>,
    /// `UNIT_RESULT`.
    pub unit_result: Option<String>,
    /// `JOB_RESULT`.
    pub job_result: Option<String>,
    /// `EXIT_CODE`: `exited`, `killed` or `dumped`.
    pub exit_code: Option<String>,
    /// `EXIT_STATUS`: an exit code or the number of a signal.
    pub exit_status: Option<i32>,
    /// `BACKUP_RECORD` is there: our runner wrote it.
    pub is_record: bool,
}

/// Longest value of a field other than the message that is taken.
const VALUE_BYTES: usize = 64;
/// Longest message that is taken; the lines that matter are shorter.
const MESSAGE_BYTES: usize = 4096;

impl Entry {
    /// Takes a field.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"MESSAGE" => self.message = value[..value.len().min(MESSAGE_BYTES)].to_vec(),
            b"MESSAGE_ID" => self.message_id = text(value),
            b"PRIORITY" => {
                self.priority =
                    number(value).and_then(|level| u8::try_from(level).ok()).map_or(6, |level| level.min(7));
            }
            b"SYSLOG_IDENTIFIER" => self.identifier = text(value),
            b"_PID" => self.from_manager = value == b"1",
            b"_SYSTEMD_INVOCATION_ID" => self.invocation = text(value).or(self.invocation.take()),
            b"INVOCATION_ID" => self.invocation = self.invocation.take().or_else(|| text(value)),
            b"UNIT_RESULT" => self.unit_result = text(value),
            b"JOB_RESULT" => self.job_result = text(value),
            b"EXIT_CODE" => self.exit_code = text(value),
            b"EXIT_STATUS" => self.exit_status = number(value),
            b"BACKUP_RECORD" => self.is_record = true,
            _ => {}
        }
    }

    /// When it was written, by the clock of that moment.
    pub fn time(&self) -> Timestamp {
        let micros = i64::try_from(self.realtime).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
    }
}

fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty() && text.len() <= VALUE_BYTES).then(|| text.to_owned())
}

fn number(value: &[u8]) -> Option<i32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
