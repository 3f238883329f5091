//! Pure: the fields of a journal entry that matter.
//!
//! Field names are those of systemd.journal-fields(7). Only fields that begin with `_` are journald's
//! own word; whatever decides how a session ended is taken from PID 1 alone.

use std::iter;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memchr;

/// An entry of the unit, or one that PID 1 wrote about it. Texts are empty where there are none, so that the memory of
/// one entry serves for all.
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
    pub invocation: String,
    /// `MESSAGE_ID`.
    pub message_id: String,
    /// `MESSAGE`.
    pub message: Vec<u8>,
    /// `PRIORITY`, 6 (info) where there is none.
    pub priority: u8,
    /// `SYSLOG_IDENTIFIER`: for what goes to standard output, systemd writes the program's name here.
    pub identifier: String,
    /// `UNIT_RESULT`.
    pub unit_result: String,
    /// `JOB_RESULT`.
    pub job_result: String,
    /// `EXIT_CODE`: `exited`, `killed` or `dumped`.
    pub exit_code: String,
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
    /// Begins another entry, of this time and boot.
    pub fn begin(&mut self, realtime: u64, monotonic: u64, boot: Arc<str>) {
        (self.realtime, self.monotonic, self.boot) = (realtime, monotonic, boot);
        (self.from_manager, self.is_record, self.priority, self.exit_status) = (false, false, 6, None);
        self.message.clear();
        let Self { invocation, message_id, identifier, unit_result, job_result, exit_code, .. } = self;
        for text in [invocation, message_id, identifier, unit_result, job_result, exit_code] {
            text.clear();
        }
    }

    /// Takes a field.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match name {
            // Journald's own words, more than half of the fields.
            [b'_', name @ ..] => match name {
                b"PID" => self.from_manager = value == b"1",
                b"SYSTEMD_INVOCATION_ID" => take(&mut self.invocation, value),
                _ => {}
            },
            b"MESSAGE" => {
                self.message.clear();
                self.message.extend_from_slice(&value[..value.len().min(MESSAGE_BYTES)]);
            }
            b"MESSAGE_ID" => take(&mut self.message_id, value),
            b"PRIORITY" => {
                self.priority =
                    number(value).and_then(|level| u8::try_from(level).ok()).map_or(6, |level| level.min(7));
            }
            b"SYSLOG_IDENTIFIER" => take(&mut self.identifier, value),
            b"INVOCATION_ID" if self.invocation.is_empty() => take(&mut self.invocation, value),
            b"UNIT_RESULT" => take(&mut self.unit_result, value),
            b"JOB_RESULT" => take(&mut self.job_result, value),
            b"EXIT_CODE" => take(&mut self.exit_code, value),
            b"EXIT_STATUS" => self.exit_status = number(value),
            b"BACKUP_RECORD" => self.is_record = true,
            _ => {}
        }
    }

    /// The lines of its message; nearly every message is one.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.message.as_slice());
        iter::from_fn(move || {
            let text = rest?;
            let Some(end) = memchr(b'\n', text) else { return rest.take() };
            rest = Some(&text[end + 1..]);
            Some(&text[..end])
        })
    }

    /// When it was written, by the clock of that moment.
    pub fn time(&self) -> Timestamp {
        let micros = i64::try_from(self.realtime).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
    }
}

/// A value that is no text, or too long for one that matters, changes nothing.
fn take(field: &mut String, value: &[u8]) {
    if let Ok(text) = std::str::from_utf8(value)
        && !text.is_empty()
        && text.len() <= VALUE_BYTES
    {
        text.clone_into(field);
    }
}

fn number(value: &[u8]) -> Option<i32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_what_stands_between_newlines(message in "[a\n]{0,10}") {
            let entry = Entry { message: message.clone().into_bytes(), ..Entry::default() };
            let lines: Vec<_> = entry.lines().collect();
            prop_assert_eq!(lines, message.split('\n').map(str::as_bytes).collect::<Vec<_>>());
        }
    }
}
