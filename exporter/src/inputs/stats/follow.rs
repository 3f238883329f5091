//! Follows a log by its name through growth, rotation, truncation and absence.
//!
//! The file that is read is held open. When its name leads to another one, it is read to its end and
//! stays open as the retired one, because a writer that opened it before the rotation may still
//! append to it; then the files after it are read in their order, however many rotations took place
//! since the last look.

use std::path::{Path, PathBuf};

use backup_common::lines::Line;

use super::file::{LogError, LogFile};
use super::{older, rotation};

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
    /// The older parts are read.
    begun: bool,
}

impl Follower {
    /// Will follow the file of this name from its beginning, after its older parts.
    pub fn new(name: PathBuf) -> Self {
        Self { name, current: None, retired: None, begun: false }
    }

    /// Hands over everything that is new.
    ///
    /// An error says that the log can not be read now; what was held open is kept, and the next
    /// call tries again.
    pub fn poll(&mut self, mut found: impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let mut found = &mut found;
        if !self.begun {
            self.begun = true;
            // The youngest part is held open like one that was rotated under us: rotations that
            // happen from now on are followed from there.
            self.current = older::read(&self.name, &mut found);
        }
        self.read_retired(&mut found);
        let Some(current) = &mut self.current else {
            let mut opened = LogFile::open(&self.name)?;
            let result = opened.read_on(&mut found);
            self.current = Some(opened);
            return result;
        };
        loop {
            current.read_on(&mut found)?;
            let Some(next) = rotation::successor(&self.name, current.id())? else { return Ok(()) };
            // What was written between the last read and the rotation.
            current.read_on(&mut found)?;
            if let Some(old) = self.retired.replace(std::mem::replace(current, next)) {
                close(&old, &mut found);
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
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Append(usize),
        Tear,
        Rotate,
        Poll,
    }

    /// `log.1` is the youngest, or `log-DATE` with the highest date.
    fn rotate(log: &Path, by_date: bool, rotation: usize) {
        let sibling = |suffix: String| log.with_file_name(format!("log{suffix}"));
        if by_date {
            return fs::rename(log, sibling(format!("-2026{rotation:04}"))).unwrap_or_default();
        }
        for age in (1..50).rev() {
            fs::rename(sibling(format!(".{age}")), sibling(format!(".{}", age + 1))).unwrap_or_default();
        }
        fs::rename(log, sibling(".1".to_owned())).unwrap_or_default();
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
                    Act::Rotate if !torn => rotate(&log, by_date, rotation),
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
