//! Edge: follows what systemd's journal tells of a unit, and sends its sessions.
//!
//! The state is in memory, so that the last [`WINDOW`] of the journal is read again at each start, and
//! more of it where the saved position says so. After that an entry is sent once: through rotation, vacuum and
//! restarts of journald reading goes on behind the last one.

mod access;
mod cursor;
pub mod entry;
mod reader;
pub mod session;
pub mod text;
pub mod verdict;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backup_common::error_chain::ErrorChain;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::event::{Event, Input, Skip};
use entry::Entry;
use reader::Reader;
use session::Sessions;

/// How far back the journal is read at the start.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Longest wait for something new, so that the input can be stopped.
const WAIT: Duration = Duration::from_millis(500);
/// First and longest pause after an error.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Errors at one place before it is passed over.
const TRIES: u32 = 3;
/// The exporter is ready after this, though the journal may still be read.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that are sent together.
const BATCH: usize = 512;

/// Which entries of which journal.
#[derive(Clone, Debug)]
pub struct Source {
    /// The unit, such as `backup.service`.
    pub unit: String,
    /// Directory of journal files, if not the journal of this machine.
    pub directory: Option<PathBuf>,
    /// Where the journal of this machine can be.
    pub system_directories: Vec<PathBuf>,
    /// Where the position is kept, if anywhere.
    pub state_directory: Option<PathBuf>,
}

/// Why the journal can not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There are no journal files.
    #[error("cannot find a journal in {0}")]
    Missing(String),
    /// They may not be read.
    #[error("cannot read {0}; the exporter's user must be in the group systemd-journal")]
    Denied(PathBuf, #[source] io::Error),
    /// The library refuses it.
    #[error("cannot open the journal")]
    Open(#[source] io::Error),
    /// It can not be read on from here.
    #[error("cannot read the journal")]
    Read(#[source] io::Error),
    /// This entry can not be read.
    #[error("cannot read an entry of the journal")]
    Entry(#[source] io::Error),
}

/// Follows the journal until nobody receives its events any more.
///
/// It blocks, so it wants a thread of its own.
pub fn run(source: &Source, events: &mpsc::Sender<Vec<Event>>) {
    Follower::new(source, events).run();
}

/// Hands over everything that the journal tells from a time on, and ends.
///
/// It goes before [`stats::collect`](crate::inputs::stats::collect), whose end settles it.
pub fn collect(source: &Source, since: Timestamp, mut events: impl FnMut(Event)) -> Result<(), JournalError> {
    let mut reader = Reader::open(source)?;
    reader.seek_time(micros(since))?;
    let mut sessions = Sessions::new(TimeZone::system);
    let mut entry = Entry::default();
    events(Event::InputUp(Input::Journal));
    loop {
        match reader.next(&mut entry) {
            Ok(true) => {
                sessions.push(&entry, &mut events);
            }
            Ok(false) => break,
            Err(JournalError::Entry(_)) => events(Event::Skipped(Input::Journal, Skip::Damaged)),
            Err(error) => return Err(error),
        }
    }
    if let Some(boot) = reader.newest_boot() {
        sessions.booted(&boot, &mut events);
    }
    events(Event::CaughtUp(Input::Journal));
    Ok(())
}

/// Where the reading stands.
struct Follower<'a> {
    source: &'a Source,
    events: &'a mpsc::Sender<Vec<Event>>,
    batch: Vec<Event>,
    sessions: Sessions,
    /// The last entry that was read.
    last: Option<(String, u64)>,
    /// Errors since an entry was read.
    errors: u32,
    begun: Instant,
    caught_up: bool,
    up: Option<bool>,
    trouble: String,
}

impl<'a> Follower<'a> {
    fn new(source: &'a Source, events: &'a mpsc::Sender<Vec<Event>>) -> Self {
        Self {
            source,
            events,
            batch: Vec::new(),
            sessions: Sessions::new(TimeZone::system),
            last: None,
            errors: 0,
            begun: Instant::now(),
            caught_up: false,
            up: None,
            trouble: String::new(),
        }
    }

    fn run(&mut self) {
        let mut pause = PAUSES.0;
        while !self.events.is_closed() {
            let before = self.last.as_ref().map(|(cursor, _)| cursor.clone());
            if let Err(error) = self.follow() {
                self.down(&error);
            }
            self.catch_up();
            self.flush();
            let moved = before != self.last.as_ref().map(|(cursor, _)| cursor.clone());
            pause = if moved { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
            self.sleep(pause);
        }
    }

    /// Opens the journal and reads on until an error.
    fn follow(&mut self) -> Result<(), JournalError> {
        let mut reader = Reader::open(self.source)?;
        self.seek(&mut reader)?;
        let mut entry = Entry::default();
        loop {
            match reader.next(&mut entry) {
                Ok(true) => {
                    let cursor = reader.cursor()?;
                    self.last = Some((cursor, entry.realtime));
                    self.errors = 0;
                    let batch = &mut self.batch;
                    if self.sessions.push(&entry, &mut |event| batch.push(event)) {
                        self.save();
                    }
                    if self.batch.len() >= BATCH {
                        self.flush();
                    }
                    if self.begun.elapsed() > PATIENCE {
                        self.catch_up();
                    }
                    if self.events.is_closed() {
                        return Ok(());
                    }
                }
                Ok(false) => {
                    self.at_end();
                    if self.events.is_closed() {
                        return Ok(());
                    }
                    reader.wait(WAIT)?;
                }
                Err(JournalError::Entry(error)) => {
                    debug!(%error, "journal entry skipped");
                    self.batch.push(Event::Skipped(Input::Journal, Skip::Damaged));
                }
                Err(error) => {
                    self.errors += 1;
                    return Err(error);
                }
            }
        }
    }

    /// Behind the last entry; at the beginning of the window, if there was none yet.
    fn seek(&mut self, reader: &mut Reader) -> Result<(), JournalError> {
        match &self.last {
            // The same place fails again and again: go on behind it.
            Some((_, time)) if self.errors >= TRIES => {
                self.batch.push(Event::Skipped(Input::Journal, Skip::Damaged));
                self.errors = 0;
                reader.seek_time(time + 1)
            }
            Some((cursor, _)) => reader.seek_after(cursor),
            None => {
                let window = micros(Timestamp::now() - WINDOW);
                if self.saved_position(reader).is_none_or(|time| time > window) {
                    reader.seek_time(window)?;
                }
                Ok(())
            }
        }
    }

    /// Goes to the saved position and gives its time; says so if it is of no use.
    fn saved_position(&self, reader: &mut Reader) -> Option<u64> {
        let directory = self.source.state_directory.as_ref()?;
        let cursor = match cursor::load(directory) {
            Ok(Some(cursor)) => cursor,
            Ok(None) => return None,
            Err(error) => {
                warn!(error = %ErrorChain(&error), "reading the last 7 days of the journal");
                return None;
            }
        };
        let found = reader.seek_to(&cursor).unwrap_or(None);
        if found.is_none() {
            warn!("the saved journal position is not in this journal; reading the last 7 days");
        }
        found
    }

    /// A session has begun: its events are handed over first, then the position is saved.
    fn save(&mut self) {
        self.flush();
        let (Some(directory), Some((cursor, _))) = (&self.source.state_directory, &self.last) else { return };
        if let Err(error) = cursor::save(directory, cursor) {
            let trouble = ErrorChain(&error).to_string();
            if self.trouble != trouble {
                warn!(error = %trouble, "going on without it");
                self.trouble = trouble;
            }
        }
    }

    fn at_end(&mut self) {
        if self.up != Some(true) {
            info!(unit = %self.source.unit, "following the journal");
            self.up = Some(true);
            self.batch.push(Event::InputUp(Input::Journal));
            // A session of an earlier boot has no end any more, whatever comes.
            if let Some(boot) = reader::newest_boot(self.source) {
                let batch = &mut self.batch;
                self.sessions.booted(&boot, &mut |event| batch.push(event));
            }
        }
        self.catch_up();
        self.flush();
    }

    fn down(&mut self, error: &JournalError) {
        if self.up != Some(false) {
            self.up = Some(false);
            self.batch.push(Event::InputDown(Input::Journal));
        }
        let trouble = ErrorChain(error).to_string();
        if self.trouble != trouble {
            warn!(error = %trouble, "waiting for the journal");
            self.trouble = trouble;
        }
    }

    fn catch_up(&mut self) {
        if !self.caught_up {
            self.caught_up = true;
            self.batch.push(Event::CaughtUp(Input::Journal));
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            // A closed channel ends the loop at its next turn.
            let _ = self.events.blocking_send(std::mem::take(&mut self.batch));
        }
    }

    /// Sleeps in pieces, so that the input can be stopped.
    fn sleep(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time && !self.events.is_closed() {
            std::thread::sleep(WAIT.min(time.saturating_sub(begun.elapsed())));
        }
    }
}

fn micros(time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}
