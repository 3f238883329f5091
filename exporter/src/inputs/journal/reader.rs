//! Edge: the entries of one unit in an open journal.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use systemd::Journal;
use systemd::id128::Id128;
use systemd::journal::{OpenDirectoryOptions, OpenOptions};

use super::entry::Entry;
use super::{JournalError, Source, access};

/// Longest field that is read whole, in bytes; what matters is far below.
const FIELD_BYTES: usize = 16 * 1024;

/// An open journal that stands at an entry, or before the first one.
pub struct Reader {
    journal: Journal,
    /// The field that the unit's own entries have.
    own: Vec<u8>,
    /// The entry where it stands has not been handed over.
    pending: bool,
    /// The boot of the entry before, which is that of nearly every entry.
    boot: (Id128, Arc<str>),
}

impl Reader {
    /// Opens the journal; only the entries of the unit, and of PID 1 about it, will be seen.
    pub fn open(source: &Source) -> Result<Self, JournalError> {
        access::check(source.directory.as_ref().map_or(&source.system_directories, std::slice::from_ref))?;
        let mut journal = open(source).map_err(JournalError::Open)?;
        // At once: the watch on the directory begins here, and without it files that are deleted
        // later stay open (systemd issues 7998 and 14695).
        journal.fd().map_err(JournalError::Open)?;
        journal.set_data_threshold(FIELD_BYTES).map_err(JournalError::Open)?;
        let unit = source.unit.as_str();
        // That PID 1 wrote it is seen in the entry: as a third match it would be looked up for each one.
        journal
            .match_add("_SYSTEMD_UNIT", unit)
            .and_then(|journal| journal.match_or())
            .and_then(|journal| journal.match_add("UNIT", unit))
            .map_err(JournalError::Open)?;
        let own = format!("_SYSTEMD_UNIT={unit}").into_bytes();
        let boot = Id128::default();
        Ok(Self { journal, own, pending: false, boot: (boot, boot.to_string().into()) })
    }

    /// Will go on after the entry of this cursor; with what follows, if that one is gone.
    pub fn seek_after(&mut self, cursor: &str) -> Result<(), JournalError> {
        self.journal.seek_cursor(cursor).map_err(JournalError::Read)?;
        let there = self.journal.next().map_err(JournalError::Read)? > 0;
        self.pending = there && !self.is_at(cursor);
        Ok(())
    }

    /// Will begin with the entry of this cursor, if it is there; gives its time in microseconds.
    pub fn seek_to(&mut self, cursor: &str) -> Result<Option<u64>, JournalError> {
        self.journal.seek_cursor(cursor).map_err(JournalError::Read)?;
        let there = self.journal.next().map_err(JournalError::Read)? > 0;
        if !there || !self.is_at(cursor) {
            return Ok(None);
        }
        self.pending = true;
        self.journal.timestamp_usec().map(Some).map_err(JournalError::Read)
    }

    /// Will begin with the first entry from this time on, in microseconds since 1970.
    pub fn seek_time(&mut self, micros: u64) -> Result<(), JournalError> {
        self.pending = false;
        self.journal.seek_realtime_usec(micros).map_err(JournalError::Read)
    }

    /// Reads the next entry; false when there is no further one now.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool, JournalError> {
        loop {
            if !std::mem::take(&mut self.pending) && self.journal.next().map_err(JournalError::Read)? == 0 {
                return Ok(false);
            }
            if self.read(entry)? {
                return Ok(true);
            }
        }
    }

    /// The boot of the newest entry of the whole journal, whatever wrote it; ends the reading.
    pub fn newest_boot(mut self) -> Option<String> {
        self.journal.match_flush().ok()?;
        boot_at_tail(&mut self.journal)
    }

    /// The cursor of the entry that was handed over last.
    pub fn cursor(&self) -> Result<String, JournalError> {
        self.journal.cursor().map_err(JournalError::Read)
    }

    /// Waits for something new, no longer than this; takes note of files that came and went.
    pub fn wait(&mut self, time: Duration) -> Result<(), JournalError> {
        self.journal.wait(Some(time)).map(drop).map_err(JournalError::Read)
    }

    fn is_at(&self, cursor: &str) -> bool {
        self.journal.test_cursor(cursor).unwrap_or(false)
    }

    /// Reads the entry where it stands; false if another process than PID 1 claims to speak about the unit.
    fn read(&mut self, entry: &mut Entry) -> Result<bool, JournalError> {
        let realtime = self.journal.timestamp_usec().map_err(JournalError::Entry)?;
        let (monotonic, boot) = self.journal.monotonic_timestamp().map_err(JournalError::Entry)?;
        if boot != self.boot.0 {
            self.boot = (boot, boot.to_string().into());
        }
        entry.begin(realtime, monotonic, Arc::clone(&self.boot.1));
        let mut is_own = false;
        self.journal.restart_data();
        while let Some(field) = self.journal.enumerate_data().map_err(JournalError::Entry)? {
            is_own = is_own || field.data() == self.own;
            entry.set(field.name(), field.value().unwrap_or_default());
        }
        Ok(is_own || entry.from_manager)
    }
}

/// The boot of the newest entry of the whole journal, whatever wrote it.
pub fn newest_boot(source: &Source) -> Option<String> {
    boot_at_tail(&mut open(source).ok()?)
}

fn boot_at_tail(journal: &mut Journal) -> Option<String> {
    journal.seek_tail().ok()?;
    (journal.previous().ok()? > 0).then_some(())?;
    journal.monotonic_timestamp().ok().map(|(_, boot)| boot.to_string())
}

fn open(source: &Source) -> io::Result<Journal> {
    match &source.directory {
        Some(directory) => OpenDirectoryOptions::default().open_directory(directory.as_os_str().as_bytes()),
        None => OpenOptions::default().system(true).local_only(true).open(),
    }
}
