//! Follows a log by its name through growth, rotation, truncation and absence.
//!
//! The file that is read is held open. When its name leads to another one, it is read to its end and
//! stays open as the retired one, because a writer that opened it before the rotation may still
//! append to it; then the files after it are read in their order, however many rotations took place
//! since the last look.

use std::path::PathBuf;

use backup_common::lines::Line;

use super::file::{LogError, LogFile};
use super::rotation;

/// What was found in the log, in order.
#[derive(Debug)]
pub enum Step<'a> {
    /// A line came to its end.
    Line(Line<'a>),
    /// A file went away with an unfinished line.
    Torn,
    /// The file was cut or overwritten in place and is read from its beginning.
    Truncated,
}

/// Where the reading stands.
#[derive(Debug)]
pub struct Follower {
    name: PathBuf,
    current: Option<LogFile>,
    retired: Option<LogFile>,
}

impl Follower {
    /// Will follow the file of this name from its beginning.
    pub fn new(name: PathBuf) -> Self {
        Self { name, current: None, retired: None }
    }

    /// Hands over everything that is new.
    ///
    /// An error says that the log can not be read now; what was held open is kept, and the next
    /// call tries again.
    pub fn poll(&mut self, mut found: impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let mut found = &mut found;
        self.read_retired(&mut found)?;
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

    fn read_retired(&mut self, found: &mut impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let Some(retired) = &mut self.retired else { return Ok(()) };
        retired.read_on(found)?;
        // Holding it longer would keep its space on the disk occupied.
        if retired.is_deleted() {
            close(retired, found);
            self.retired = None;
        }
        Ok(())
    }
}

/// The last word about a file that is not read any more.
fn close(file: &LogFile, found: &mut impl FnMut(Step<'_>)) {
    if file.is_torn() {
        found(Step::Torn);
    }
}
