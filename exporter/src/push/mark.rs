//! Up to which record of the stats log the points are in the outbox.
//!
//! The exporter reads the whole log at each start. The mark is the identity of the last record whose point
//! is in the outbox, written after the point is on the disk. Reading again, everything up to the marked
//! record is passed over, everything behind it is new; times play no part in that, so a clock that was set
//! back loses nothing. When the log does not hold the marked record any more, because it was rotated away
//! or emptied, the records with a later time than the mark's are new. Without a mark all are: the first start
//! sends the history that the log has, as far as the outbox's cap allows.

use std::path::{Path, PathBuf};

use backup_common::record::Record;
use jiff::Timestamp;

use super::outbox::replace;

/// Points that are kept in mind while the marked record is looked for. Beyond that they are taken for new:
/// to send one again changes nothing.
const PENDING: usize = 20_000;

/// Which record it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The identity of a record: its time, its type, and a checksum of it.
    pub fn of(record: &Record) -> Self {
        let checksum = crc32fast::hash(record.encode().as_bytes());
        Self(format!("{} {} {checksum:08x}", record.time, record.body.type_name()))
    }

    fn time(&self) -> Option<Timestamp> {
        self.0.split(' ').next()?.parse().ok()
    }
}

/// The file that holds the mark.
#[derive(Debug)]
pub struct MarkFile {
    directory: PathBuf,
}

impl MarkFile {
    const NAME: &str = "last-record";

    /// It is in this directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The mark, if there is one that can be read.
    pub fn read(&self) -> Option<Mark> {
        let text = std::fs::read_to_string(self.directory.join(Self::NAME)).ok()?;
        let mark = Mark(text.strip_suffix('\n')?.to_owned());
        mark.time().is_some().then_some(mark)
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, mark: &Mark) -> std::io::Result<()> {
        replace(&self.directory, Self::NAME, format!("{}\n", mark.0).as_bytes())
    }
}

/// Tells new records from those that were read before; pure.
#[derive(Debug)]
pub struct Sieve {
    mark: Option<Mark>,
    pending: Vec<(Mark, String)>,
}

impl Sieve {
    /// Looks for this record; without one everything is new.
    pub fn new(mark: Option<Mark>) -> Self {
        Self { mark, pending: Vec::new() }
    }

    /// Takes a record's identity and line, and gives what is known to be new.
    pub fn take(&mut self, mark: Mark, line: String) -> Vec<(Mark, String)> {
        let Some(wanted) = &self.mark else { return vec![(mark, line)] };
        if *wanted == mark {
            *self = Self::new(None);
            return Vec::new();
        }
        if mark.time() > wanted.time() {
            self.pending.push((mark, line));
        }
        if self.pending.len() > PENDING { self.end() } else { Vec::new() }
    }

    /// The log was read to its end; what was not decided is new.
    pub fn end(&mut self) -> Vec<(Mark, String)> {
        self.mark = None;
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(second: i64, name: &str) -> Mark {
        Mark(format!("{} {name} 00000000", Timestamp::from_second(second).unwrap()))
    }

    fn sift(wanted: Option<Mark>, log: &[(i64, &str)]) -> Vec<String> {
        let mut sieve = Sieve::new(wanted);
        let mut new: Vec<_> = log
            .iter()
            .flat_map(|(second, name)| sieve.take(mark(*second, name), (*name).to_owned()))
            .collect();
        new.extend(sieve.end());
        new.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn what_is_behind_the_mark_is_new() {
        let log = [(1, "a"), (9, "b"), (3, "c"), (2, "d"), (10, "e")];
        assert_eq!(sift(None, &log), ["a", "b", "c", "d", "e"]);
        // `d` was written while the clock was back.
        assert_eq!(sift(Some(mark(3, "c")), &log), ["d", "e"]);
        assert_eq!(sift(Some(mark(10, "e")), &log), [""; 0]);
        // The log was rotated away: by time.
        assert_eq!(sift(Some(mark(4, "x")), &log), ["b", "e"]);
    }

    #[test]
    fn the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = MarkFile::new(directory.path());
        assert_eq!(file.read(), None);
        file.write(&mark(5, "a")).unwrap();
        assert_eq!(file.read(), Some(mark(5, "a")));
        for damaged in ["", "2026", "rubbish rubbish\n"] {
            std::fs::write(directory.path().join("last-record"), damaged).unwrap();
            assert_eq!(file.read(), None, "{damaged:?}");
        }
    }
}
