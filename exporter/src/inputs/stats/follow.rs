//! Follows a log by its name through growth, rotation, truncation and absence.
//!
//! The file that is read is held open. When its name leads to another one, it is read to its end and
//! stays open as the retired one, because a writer that opened it before the rotation may still
//! append to it; then the files after it are read in their order, however many rotations took place
//! since the last look. Where it was compressed or deleted meanwhile, they are told from those before
//! it by their first lines.

use std::path::{Path, PathBuf};

use backup_common::lines::Line;

use super::file::{LogError, LogFile};
use super::older::{self, Held, Passed};
use super::rotation::{self, Successor};

/// What was found in the log, in order.
#[derive(Debug)]
pub enum Step<'a> {
    /// A line came to its end.
    Line(Line<'a>),
    /// A file went away with an unfinished line.
    Torn,
    /// The file was cut or overwritten in place and is read from its beginning.
    Truncated,
    /// An older part that is not read, because there are too many.
    TooOld,
    /// An older part that ends in an error.
    Damaged(&'a Path),
}

/// Where the reading stands.
#[derive(Debug)]
pub struct Follower {
    name: PathBuf,
    current: Option<LogFile>,
    retired: Option<LogFile>,
    passed: Passed,
    /// The older parts are read.
    begun: bool,
}

impl Follower {
    /// Will follow the file of this name from its beginning, after its older parts.
    pub fn new(name: PathBuf) -> Self {
        Self { name, current: None, retired: None, passed: Passed::default(), begun: false }
    }

    /// Hands over everything that is new.
    ///
    /// An error says that the log can not be read now; what was held open is kept, and the next
    /// call tries again.
    pub fn poll(&mut self, mut found: impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let found = &mut found;
        if !self.begun {
            self.begun = true;
            // The youngest part is held open like one that was rotated under us: rotations that
            // happen from now on are followed from there.
            let held = older::read(&self.name, &mut self.passed, found);
            (self.current, self.retired) = (held.current, held.retired);
        }
        self.read_retired(found);
        let Some(current) = &mut self.current else {
            let mut opened = LogFile::open(&self.name)?;
            let result = opened.read_on(found);
            self.current = Some(opened);
            return result;
        };
        loop {
            current.read_on(found)?;
            let successor = rotation::successor(&self.name, current.id())?;
            if matches!(successor, Successor::NotYet) {
                return Ok(());
            }
            // What was written between the last read and the rotation.
            current.read_on(found)?;
            self.passed.add(current);
            let held = match successor {
                Successor::Next(next) => Held { current: Some(next), retired: None },
                _ => older::read(&self.name, &mut self.passed, found),
            };
            let next = match held.current {
                Some(next) => next,
                // Not one of the parts: it has come this moment, or the error tells why it can not be opened.
                None if rotation::id_of(&self.name).is_some() => LogFile::open(&self.name)?,
                None => return Ok(()),
            };
            for file in [Some(std::mem::replace(current, next)), held.retired].into_iter().flatten() {
                if let Some(old) = self.retired.replace(file) {
                    close(&old, found);
                }
            }
        }
    }

    fn read_retired(&mut self, found: &mut impl FnMut(Step<'_>)) {
        let Some(retired) = &mut self.retired else { return };
        let readable = retired.read_on(found).is_ok();
        // Holding a deleted one would keep its space on the disk occupied, and one that can not be
        // read any more must not stand in the way of the current one.
        if !readable || retired.is_deleted() {
            close(retired, found);
            self.retired = None;
        }
    }
}

/// The last word about a file that is not read any more.
fn close(file: &LogFile, found: &mut impl FnMut(Step<'_>)) {
    if file.is_torn() {
        found(Step::Torn);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Append(usize),
        Tear,
        Rotate,
        Poll,
    }

    /// What logrotate(8) does with the parts: `delaycompress` leaves the youngest as it is.
    #[derive(Clone, Copy, Debug)]
    enum Compress {
        Never,
        Delayed,
        AtOnce,
    }

    /// `log.1` is the youngest, or `log-DATE` with the highest date.
    fn rotate(log: &Path, by_date: bool, rotation: usize, compress: Compress) {
        let sibling = |suffix: String| log.with_file_name(format!("log{suffix}"));
        let youngest = if by_date { format!("-2026{rotation:04}") } else { ".1".to_owned() };
        if matches!(compress, Compress::Delayed) {
            compress_rotated(log);
        }
        for age in (1..50).rev().filter(|_| !by_date) {
            for end in ["", ".gz"] {
                let older = sibling(format!(".{}{end}", age + 1));
                fs::rename(sibling(format!(".{age}{end}")), older).unwrap_or_default();
            }
        }
        fs::rename(log, sibling(youngest)).unwrap_or_default();
        if matches!(compress, Compress::AtOnce) {
            compress_rotated(log);
        }
    }

    fn compress_rotated(log: &Path) {
        let entries = fs::read_dir(log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path != log && path.extension().is_none_or(|end| end != "gz")) {
            let packed = File::create(path.with_added_extension("gz")).unwrap();
            let mut packed = GzEncoder::new(packed, Compression::fast());
            packed.write_all(&fs::read(&path).unwrap()).unwrap();
            packed.finish().unwrap();
            fs::remove_file(path).unwrap();
        }
    }

    fn lines(follower: &mut Follower, seen: &mut Vec<String>) {
        // A log that is not there at the moment is no matter: its records come later.
        let _ = follower.poll(|step| match step {
            Step::Line(Line::Complete(line)) => seen.push(String::from_utf8_lossy(line).into_owned()),
            other => panic!("{other:?}"),
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_line_comes_once_and_in_order(
            acts in proptest::collection::vec(prop_oneof![(1usize..4).prop_map(Act::Append), Just(Act::Tear), Just(Act::Rotate), Just(Act::Poll)], 0..40),
            by_date: bool,
            compress in prop_oneof![Just(Compress::Never), Just(Compress::Delayed), Just(Compress::AtOnce)],
        ) {
            let directory = tempfile::tempdir().unwrap();
            let log = directory.path().join("log");
            fs::write(&log, "").unwrap();
            let mut follower = Follower::new(log.clone());
            let mut seen = Vec::new();
            lines(&mut follower, &mut seen);
            let (mut written, mut torn) = (0, false);
            let write = |bytes: String| {
                OpenOptions::new().append(true).create(true).open(&log).unwrap().write_all(bytes.as_bytes()).unwrap();
            };
            for (rotation, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Append(count) => for _ in 0..count {
                        write(if torn { "\n".to_owned() } else { format!("line {written}\n") });
                        (written, torn) = (written + 1, false);
                    },
                    Act::Tear if !torn => {
                        write(format!("line {written}"));
                        torn = true;
                    }
                    // A writer finishes its line before the log is rotated under it.
                    Act::Rotate if !torn => rotate(&log, by_date, rotation, compress),
                    Act::Tear | Act::Rotate => {}
                    Act::Poll => lines(&mut follower, &mut seen),
                }
            }
            if !log.exists() {
                write(String::new());
            }
            lines(&mut follower, &mut seen);
            let expected: Vec<_> = (0..written).map(|number| format!("line {number}")).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
