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
}

impl Follower {
    /// Will follow the file of this name from its beginning, after its older parts.
    pub fn new(name: PathBuf) -> Self {
        Self { name, current: None, retired: None, passed: Passed::default() }
    }

    /// Hands over everything that is new.
    ///
    /// An error says that the log can not be read now; what was held open is kept, and the next
    /// call tries again.
    pub fn poll(&mut self, mut found: impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let found = &mut found;
        self.read_retired(found);
        if self.current.is_none()
            && let Some(held) = older::read(&self.name, None, &mut self.passed, found)
        {
            // The youngest part is held open like one that was rotated under us: rotations that
            // happen from now on are followed from there.
            self.current = held.current;
            if let Some(file) = held.retired {
                retire(file, &mut self.retired, &mut self.passed, found);
            }
        }
        let current = match &mut self.current {
            Some(current) => current,
            // The error tells why there is nothing to be followed.
            None => self.current.insert(LogFile::open(&self.name)?),
        };
        loop {
            current.read_on(found)?;
            self.passed.learn(current);
            let successor = rotation::successor(&self.name, current.id())?;
            if matches!(successor, Successor::NotYet) {
                return Ok(());
            }
            // What was written between the last read and the rotation.
            current.read_on(found)?;
            self.passed.add(current);
            let held = match successor {
                Successor::Next(next) => Some(Held { current: Some(next), retired: None }),
                _ => older::read(&self.name, Some(current.id()), &mut self.passed, found),
            };
            let held = match held {
                Some(held) => held,
                // The error tells why it can not be opened, if it is not the file that has come back.
                None if rotation::id_of(&self.name).is_some() => {
                    let next = LogFile::open(&self.name)?;
                    if next.id() == current.id() {
                        return Ok(());
                    }
                    Held { current: Some(next), retired: None }
                }
                None => return Ok(()),
            };
            let left = held.current.map(|next| std::mem::replace(current, next));
            for file in [left, held.retired].into_iter().flatten() {
                retire(file, &mut self.retired, &mut self.passed, found);
            }
        }
    }

    fn read_retired(&mut self, found: &mut impl FnMut(Step<'_>)) {
        let Some(retired) = &mut self.retired else { return };
        let readable = retired.read_on(found).is_ok();
        // Holding a deleted one would keep its space on the disk occupied, and one that can not be
        // read any more must not stand in the way of the current one.
        if (!readable || retired.is_deleted())
            && let Some(retired) = self.retired.take()
        {
            close(retired, &mut self.passed, found);
        }
    }
}

/// A file is followed no more; the one that was before it is closed.
fn retire(
    file: LogFile,
    retired: &mut Option<LogFile>,
    passed: &mut Passed,
    found: &mut impl FnMut(Step<'_>),
) {
    if let Some(old) = retired.replace(file) {
        close(old, passed, found);
    }
}

/// The last word about a file that is not read any more.
fn close(mut file: LogFile, passed: &mut Passed, found: &mut impl FnMut(Step<'_>)) {
    let readable = file.read_on(found).is_ok();
    passed.add(&file);
    if !readable || file.is_torn() {
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
        Blank,
        Tear,
        Rotate(Compress),
        /// With a look before and after it: what is cut away unread is lost, as logrotate(8) says.
        CopyTruncate(Compress),
        Remove,
        Restart,
        Poll,
    }

    /// What logrotate(8) does with the parts: `delaycompress` leaves the youngest as it is.
    #[derive(Clone, Copy, Debug)]
    enum Compress {
        Never,
        Delayed,
        AtOnce,
    }

    /// A log, what its follower has told, and what it should have told.
    struct Life {
        log: PathBuf,
        by_date: bool,
        rotations: usize,
        written: usize,
        torn: bool,
        follower: Follower,
        seen: Vec<String>,
    }

    impl Life {
        fn new(directory: &Path, by_date: bool) -> Self {
            let log = directory.join("log");
            let follower = Follower::new(log.clone());
            let mut life =
                Self { log, by_date, rotations: 0, written: 0, torn: false, follower, seen: Vec::new() };
            life.write("");
            life.poll();
            life
        }

        fn act(&mut self, act: Act) {
            match act {
                Act::Append(count) => (0..count).for_each(|_| {
                    let line = if self.torn { "\n".to_owned() } else { format!("line {}\n", self.written) };
                    self.write(&line);
                    (self.written, self.torn) = (self.written + 1, false);
                }),
                Act::Blank if !self.torn => self.write("\n"),
                Act::Tear if !self.torn => {
                    self.write(&format!("line {}", self.written));
                    self.torn = true;
                }
                // A writer finishes its line before the log is rotated under it.
                Act::Rotate(compress) if !self.torn => {
                    self.rotate(compress, |log, part| fs::rename(log, part).unwrap_or_default());
                }
                Act::CopyTruncate(compress) if !self.torn && self.log.exists() => {
                    self.poll();
                    self.rotate(compress, |log, part| {
                        fs::copy(log, part).unwrap();
                        fs::write(log, "").unwrap();
                    });
                    self.poll();
                }
                Act::Remove if !self.torn => {
                    self.poll();
                    fs::remove_file(&self.log).unwrap_or_default();
                }
                Act::Restart => {
                    self.seen.clear();
                    self.follower = Follower::new(self.log.clone());
                    self.poll();
                }
                Act::Poll => self.poll(),
                Act::Blank | Act::Tear | Act::Rotate(_) | Act::CopyTruncate(_) | Act::Remove => {}
            }
        }

        fn write(&self, text: &str) {
            let mut log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
            log.write_all(text.as_bytes()).unwrap();
        }

        /// `log.1` is the youngest, or `log-DATE` with the highest date. What is not compressed stays so.
        fn rotate(&mut self, compress: Compress, leave: impl Fn(&Path, &Path)) {
            let sibling = |suffix: String| self.log.with_file_name(format!("log{suffix}"));
            let youngest = |number| if self.by_date { format!("-2026{number:04}") } else { ".1".to_owned() };
            if matches!(compress, Compress::Delayed) {
                gzip(&sibling(youngest(self.rotations)));
            }
            self.rotations += 1;
            for age in (1..50).rev().filter(|_| !self.by_date) {
                for end in ["", ".gz"] {
                    let older = sibling(format!(".{}{end}", age + 1));
                    fs::rename(sibling(format!(".{age}{end}")), older).unwrap_or_default();
                }
            }
            let part = sibling(youngest(self.rotations));
            leave(&self.log, &part);
            if matches!(compress, Compress::AtOnce) {
                gzip(&part);
            }
        }

        fn poll(&mut self) {
            let seen = &mut self.seen;
            // A log that is not there at the moment is no matter: its records come later.
            let _ = self.follower.poll(|step| match step {
                Step::Line(Line::Complete(b"")) | Step::Truncated => {}
                Step::Line(Line::Complete(line)) => seen.push(String::from_utf8_lossy(line).into_owned()),
                other => panic!("{other:?}"),
            });
        }
    }

    fn gzip(path: &Path) {
        let Ok(text) = fs::read(path) else { return };
        let mut packed =
            GzEncoder::new(File::create(path.with_added_extension("gz")).unwrap(), Compression::fast());
        packed.write_all(&text).unwrap();
        packed.finish().unwrap();
        fs::remove_file(path).unwrap();
    }

    fn any_act() -> impl Strategy<Value = Act> {
        let compress = prop_oneof![Just(Compress::Never), Just(Compress::Delayed), Just(Compress::AtOnce)];
        prop_oneof![
            3 => (1usize..4).prop_map(Act::Append),
            1 => Just(Act::Blank),
            1 => Just(Act::Tear),
            3 => compress.clone().prop_map(Act::Rotate),
            1 => compress.prop_map(Act::CopyTruncate),
            1 => Just(Act::Remove),
            1 => Just(Act::Restart),
            3 => Just(Act::Poll),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_line_comes_once_and_in_order(acts in proptest::collection::vec(any_act(), 0..40), by_date: bool, restarts: bool) {
            let directory = tempfile::tempdir().unwrap();
            let mut life = Life::new(directory.path(), by_date);
            for act in acts {
                match act {
                    // What was removed is not there for another follower.
                    Act::Remove if restarts => {}
                    Act::Restart if !restarts => {}
                    act => life.act(act),
                }
            }
            if !life.log.exists() {
                life.write("");
            }
            life.poll();
            let expected: Vec<_> = (0..life.written).map(|number| format!("line {number}")).collect();
            prop_assert_eq!(life.seen, expected);
        }
    }
}
