//! Edge: everything that the journal has of a unit from a time on, read ahead of what is made of it.
//!
//! Most of the time goes into the library that looks the fields up in the files, so a thread does just that.

use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use jiff::Timestamp;

use super::entry::Entry;
use super::reader::Reader;
use super::{JournalError, Source, micros};

/// Entries that are handed over together.
const BATCH: usize = 256;

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// Entries in the order of the journal; nothing stands for one that can not be read.
pub type Batch = Vec<Option<Entry>>;

/// Hands over what there is; the answer is the boot of the newest entry.
///
/// There is one batch at least, though it be empty, if the journal can be opened.
pub fn read(
    source: &Source,
    since: Timestamp,
    take: impl FnMut(Batch),
) -> Result<Option<String>, JournalError> {
    let (sender, batches) = sync_channel(AHEAD);
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name("journal".to_owned())
            .spawn_scoped(scope, move || read_ahead(source, since, &sender))
            .map_err(JournalError::Open)?;
        batches.into_iter().for_each(take);
        reading.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// The journal is opened, read and closed by one thread, as `sd_journal_open(3)` asks for.
fn read_ahead(
    source: &Source,
    since: Timestamp,
    sender: &SyncSender<Batch>,
) -> Result<Option<String>, JournalError> {
    let mut reader = Reader::open(source)?;
    reader.seek_time(micros(since))?;
    let mut batch = Batch::with_capacity(BATCH);
    let ended = loop {
        match reader.next() {
            Ok(Some(entry)) => batch.push(Some(entry)),
            Err(JournalError::Entry(_)) => batch.push(None),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if batch.len() >= BATCH {
            // Whoever takes them is there until the last one.
            let _ = sender.send(std::mem::replace(&mut batch, Batch::with_capacity(BATCH)));
        }
    };
    let _ = sender.send(batch);
    ended.map(|()| reader.newest_boot())
}
