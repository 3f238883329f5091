//! Edge: one open log file, read as far as it goes.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backup_common::lines::LineBuffer;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::follow::Step;

/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Bytes of the first line that tell whether a file is still the same; a record's time and run stand
/// within them.
pub const HEAD: usize = 256;

/// Which file this is, while it is held open: the kernel gives its inode to no other file before it
/// is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// Why a log can not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It can not be opened; most often it is not there yet.
    #[error("cannot open {0}")]
    Open(PathBuf, #[source] io::Error),
    /// It is not a regular file.
    #[error("cannot follow {0}: it is not a regular file")]
    Kind(PathBuf),
    /// It can not be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
}

/// A log that is held open, with how far it was read.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    id: FileId,
    offset: u64,
    lines: LineBuffer,
    head: Option<u64>,
    /// Its beginning was handed over.
    is_known: bool,
}

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Opens a regular file. A symbolic link, directory, pipe or device is refused without waiting:
/// opening a pipe for reading would block until somebody writes, see open(2).
pub fn open_regular(path: &Path) -> Result<File, LogError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let error = |error: rustix::io::Errno| LogError::Open(path.to_owned(), error.into());
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(error)?);
    let stat = rustix::fs::fstat(&file).map_err(error)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(LogError::Kind(path.to_owned()));
    }
    Ok(file)
}

impl LogFile {
    /// Opens a regular file, see [`open_regular`].
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = open_regular(path)?;
        let stat = rustix::fs::fstat(&file).map_err(|error| LogError::Open(path.to_owned(), error.into()))?;
        let id = FileId::from(&stat);
        Ok(Self {
            file,
            path: path.to_owned(),
            id,
            offset: 0,
            lines: LineBuffer::default(),
            head: None,
            is_known: false,
        })
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// The name by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first bytes, at most [`HEAD`].
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        let count = self.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(count);
        head
    }

    /// Its first bytes, once when a line of them, or [`HEAD`] bytes, were read; and anew when it was cut.
    pub fn new_head(&mut self) -> Option<Vec<u8>> {
        if self.is_known || self.offset == 0 {
            return None;
        }
        let head = self.head();
        let text = head.trim_ascii_start();
        self.is_known = head.len() == HEAD || text.contains(&b'\n');
        self.is_known.then_some(head)
    }

    /// Whether no name leads to it any more.
    pub fn is_deleted(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Whether its last line is unfinished.
    pub fn is_torn(&self) -> bool {
        self.lines.is_torn()
    }

    /// Reads on from where it stopped to the end, after a look at whether it was cut in between.
    pub fn read_on(&mut self, found: &mut impl FnMut(Step<'_>)) -> Result<(), LogError> {
        let size = self.file.metadata().map_err(|error| self.read_error(error))?.len();
        if size == self.offset {
            return Ok(());
        }
        if size < self.offset || self.is_overwritten()? {
            found(Step::Truncated);
            self.lines.clear();
            (self.offset, self.head, self.is_known) = (0, None, false);
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = self.read_at(&mut chunk, self.offset)?;
            if count == 0 {
                break;
            }
            self.lines.push(&chunk[..count], |line| found(Step::Line(line)));
            self.offset += count as u64;
        }
        if self.head.is_none() {
            self.head = self.head_hash()?;
        }
        Ok(())
    }

    /// Whether the file begins with other bytes than it did: it was cut, and has grown beyond the
    /// old position since.
    fn is_overwritten(&self) -> Result<bool, LogError> {
        Ok(self.head.is_some() && self.head != self.head_hash()?)
    }

    /// Hash of the file's first bytes, once so many have been read.
    fn head_hash(&self) -> Result<Option<u64>, LogError> {
        let mut head = [0; HEAD];
        if self.offset < HEAD as u64 || self.read_at(&mut head, 0)? < HEAD {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&head);
        Ok(Some(hasher.finish()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, LogError> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.read_error(error)),
            }
        }
    }

    fn read_error(&self, error: io::Error) -> LogError {
        LogError::Read(self.path.clone(), error)
    }
}
