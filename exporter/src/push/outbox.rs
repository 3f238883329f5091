//! The lines that wait for the server, on disk.
//!
//! The directory holds segments, which are numbered files of `frame`s, and the file `position`, which
//! says up to where the server has them. A line is on the disk before the reader moves on in the stats
//! log, and the server has it before the position moves: what is killed in between sends a line twice,
//! which changes nothing, and loses none.
//!
//! - After a start, new lines go to a new segment, so a torn end is never written behind.
//! - Beyond the cap the oldest segment is dropped and its lines are counted; the directory never holds
//!   more than the cap and one segment.
//! - A damaged line costs itself alone, a damaged position sends from the beginning again; the start never
//!   fails.
//! - While the disk takes nothing, one batch is held in memory, so that points still go out one batch after
//!   the other, and the reader of the stats log waits: the log is the queue then.

mod frame;
mod store;

use std::io;
use std::path::Path;

use frame::Found;
use store::Store;
pub use store::replace;
use tracing::warn;

/// Bytes that are read at once; a batch is not larger. 5000 points have about 3 MB.
const READ_BYTES: usize = 4 << 20;

/// What is passed over where the disk can not be read; the page is the smallest part that can fail.
const BLOCK_BYTES: u64 = 4096;

/// Up to where something was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: u64,
    offset: u64,
}

/// The lines that are next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they came.
    pub lines: Vec<String>,
    start: Position,
    end: End,
    damaged: u64,
}

impl Batch {
    /// Up to where it reaches.
    pub fn end(&self) -> End {
        self.end
    }
}

/// Up to where a batch reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So far in the segments.
    Disk(Position),
    /// To the end of what is held in memory.
    Held,
}

/// What happened to the lines of [`Outbox::append`].
#[derive(Debug)]
pub enum Appended {
    /// They are on the disk.
    Stored,
    /// The disk takes nothing; they are held in memory and will be sent from there.
    Held(io::Error),
    /// The disk takes nothing and other lines are held already; ask again later.
    Refused(io::Error),
}

/// The queue.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    /// Number and size of each segment, in order.
    segments: Vec<(u64, u64)>,
    /// The segment that is written, if one was begun since the start.
    active: Option<u64>,
    position: Position,
    held: Vec<String>,
    cap: u64,
    dropped: u64,
}

impl Outbox {
    /// Opens the queue in a directory, which is made if it is missing, with at most `cap` bytes.
    ///
    /// What is wrong there is said in the log and costs only itself.
    pub fn open(directory: &Path, cap: u64) -> Self {
        let store = Store::new(directory.to_owned());
        let segments = store.segments();
        let position = store.read_position().unwrap_or_default();
        let mut outbox =
            Self { store, segments, active: None, position, held: Vec::new(), cap: cap.max(1), dropped: 0 };
        outbox.forget_sent();
        outbox
    }

    /// Appends lines, which have no newline in them, and waits until they are on the disk.
    pub fn append(&mut self, lines: &[String]) -> Appended {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            if let Err(error) = self.write(&held) {
                self.held = held;
                return Appended::Refused(error);
            }
        }
        match self.write(lines) {
            Ok(()) => Appended::Stored,
            Err(error) => {
                self.held = lines.to_vec();
                Appended::Held(error)
            }
        }
    }

    /// The next lines, at most so many; the same again until they are acknowledged.
    pub fn peek(&self, limit: usize) -> Batch {
        let mut batch = self.read(self.position, limit);
        if batch.lines.is_empty() && !self.held.is_empty() {
            batch.lines.clone_from(&self.held);
            batch.end = End::Held;
        }
        batch
    }

    /// The lines on the disk behind a batch that is being sent; [`Outbox::is_next`] tells whether they still
    /// are the next ones once that batch is acknowledged.
    pub fn peek_behind(&self, end: End, limit: usize) -> Option<Batch> {
        match end {
            End::Disk(position) => Some(self.read(position, limit)).filter(|batch| !batch.lines.is_empty()),
            End::Held => None,
        }
    }

    /// Whether a batch begins where the server is. It does not when the cap has dropped lines meanwhile.
    pub fn is_next(&self, batch: &Batch) -> bool {
        batch.end != End::Held && batch.start == self.position
    }

    fn read(&self, start: Position, limit: usize) -> Batch {
        let mut batch = Batch { lines: Vec::new(), start, end: End::Disk(start), damaged: 0 };
        let mut position = start;
        for &(segment, size) in &self.segments {
            if segment < position.segment {
                continue;
            }
            if segment > position.segment {
                position = Position { segment, offset: 0 };
            }
            while position.offset < size && batch.lines.is_empty() {
                let bytes = match self.store.read(segment, position.offset, READ_BYTES) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        warn!(%error, segment, "cannot read a part of the outbox; it is passed over");
                        batch.damaged += 1;
                        let gone = error.kind() == io::ErrorKind::NotFound;
                        let next = (position.offset / BLOCK_BYTES + 1) * BLOCK_BYTES;
                        position.offset = if gone { size } else { next.min(size) };
                        continue;
                    }
                };
                match take(&bytes, limit, &mut batch) {
                    // A torn end, or more bytes than a frame ever has.
                    0 => position.offset = size,
                    used => position.offset += used as u64,
                }
            }
            batch.end = End::Disk(position);
            if !batch.lines.is_empty() {
                break;
            }
        }
        batch
    }

    /// The server has a batch, or will never take it: the position moves behind it.
    pub fn acknowledge(&mut self, batch: &Batch) {
        self.dropped += batch.damaged;
        match batch.end {
            // It can have been written to the disk meanwhile, and is sent again then.
            End::Held if self.held == batch.lines => self.held.clear(),
            End::Held => {}
            End::Disk(end) => {
                // The oldest segment can have been dropped meanwhile.
                if end > self.position {
                    self.position = end;
                    self.save_position();
                }
                self.forget_sent();
            }
        }
    }

    /// Bytes of the lines that wait.
    pub fn bytes(&self) -> u64 {
        let sent = |segment: u64| if segment == self.position.segment { self.position.offset } else { 0 };
        let stored: u64 = self
            .segments
            .iter()
            .filter(|(segment, _)| *segment >= self.position.segment)
            .map(|(segment, size)| size.saturating_sub(sent(*segment)))
            .sum();
        stored + self.held.iter().map(|line| frame::size(line)).sum::<u64>()
    }

    /// Whether everything that was appended is on the disk or was sent.
    pub fn is_durable(&self) -> bool {
        self.held.is_empty()
    }

    /// Lines that were lost to the cap or to damage since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps a line that the server refuses for good in the file `dead-letters`, as far as there is room.
    pub fn bury(&self, line: &str, why: &str) {
        if let Err(error) = self.store.bury(line, why) {
            warn!(%error, "cannot keep a refused line");
        }
    }

    fn write(&mut self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            frame::push(&mut text, line);
        }
        let limit = (self.cap / 16).max(4096);
        let full = |size: u64| size >= limit;
        let size = self.active.and(self.segments.last()).map_or(0, |(_, size)| *size);
        let segment = match self.active {
            Some(active) if !full(size) => active,
            _ => {
                let next =
                    self.segments.last().map_or(0, |(last, _)| last + 1).max(self.position.segment + 1);
                self.store.create(next)?;
                self.segments.push((next, 0));
                self.active = Some(next);
                next
            }
        };
        let before = self.segments.last().map_or(0, |(_, size)| *size);
        match self.store.append(segment, before, text.as_bytes()) {
            Ok(()) => {
                if let Some((_, size)) = self.segments.last_mut() {
                    *size = before + text.len() as u64;
                }
                self.enforce_cap();
                Ok(())
            }
            Err(error) => {
                // What is there now is not known; nothing is written behind it.
                self.active = None;
                if before == 0 {
                    self.segments.pop();
                    self.store.remove(segment);
                }
                Err(error)
            }
        }
    }

    fn enforce_cap(&mut self) {
        while self.segments.iter().map(|(_, size)| size).sum::<u64>() > self.cap && self.segments.len() > 1 {
            let (segment, size) = self.segments[0];
            if segment >= self.position.segment {
                let from = if segment == self.position.segment { self.position.offset } else { 0 };
                self.dropped += self.store.count(segment, from, size);
                self.position = Position { segment: segment + 1, offset: 0 };
                self.save_position();
            }
            self.store.remove(segment);
            self.segments.remove(0);
        }
    }

    /// Removes segments that the server has wholly; the position was saved before.
    fn forget_sent(&mut self) {
        let Position { segment: at, offset } = self.position;
        let active = self.active;
        let (gone, kept) = std::mem::take(&mut self.segments).into_iter().partition(|(segment, size)| {
            *segment < at || (*segment == at && offset >= *size && active != Some(at))
        });
        self.segments = kept;
        let gone: Vec<(u64, u64)> = gone;
        for (segment, _) in gone {
            self.store.remove(segment);
        }
    }

    fn save_position(&mut self) {
        // An old position sends some lines again, which changes nothing.
        if let Err(error) = self.store.write_position(self.position) {
            warn!(%error, "cannot save the position of the outbox");
        }
    }
}

/// Takes lines from the beginning of some bytes and says how many bytes they were.
fn take(bytes: &[u8], limit: usize, batch: &mut Batch) -> usize {
    let mut used = 0;
    while batch.lines.len() < limit {
        match frame::first(&bytes[used..]) {
            Found::Line(line, size) => {
                batch.lines.push(line.to_owned());
                used += size;
            }
            Found::Damaged(size) => {
                batch.damaged += 1;
                used += size;
            }
            Found::Incomplete => break,
        }
    }
    used
}

#[cfg(test)]
mod tests;
