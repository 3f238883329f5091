//! A volume, what it is asked for, and what it answers.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::quota::Quota;
use super::scan::{Known, Scan};
use crate::sys::{self, FileSystem};
use crate::totals::Totals;

/// Ranges that are read at a time: more than there are cores, so that requests to the disk overlap.
const THREADS: usize = 16;

/// A volume, given by a directory on it. Between two scans nothing of it is open, so that it can be
/// unmounted.
#[derive(Debug)]
pub struct Volume {
    directory: PathBuf,
    threads: usize,
    full_interval: Duration,
    known: Option<Known>,
}

/// The figures of one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place among those that were asked for.
    pub index: usize,
    /// None where there is no such directory.
    pub totals: Option<Totals>,
    /// Of a directory that is a subvolume of its own, where quotas are on.
    pub quota: Option<Quota>,
}

/// How a scan was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Every tree was read.
    Full,
    /// Only what had changed.
    Incremental,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// For each directory that was asked for, in order; none where there is no such directory.
    pub totals: Vec<Option<Totals>>,
    /// How.
    pub method: Method,
    /// Directories of which the incremental scans had known something else than the full scan now
    /// shows; none when the two could not be compared.
    pub differences: Option<u64>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The directory can not be opened.
    #[error("cannot open the volume {0}")]
    Open(PathBuf, #[source] io::Error),
    /// It is on another file system.
    #[error("cannot scan {0}: it is not on btrfs")]
    NotBtrfs(PathBuf),
    /// The kernel refuses, or the volume went away.
    #[error("cannot read the trees of {0}")]
    Read(PathBuf, #[source] io::Error),
}

impl Volume {
    /// Nothing is opened before the first scan. `full_interval` is the time after which a full scan
    /// takes the place of an incremental one.
    pub fn new(directory: PathBuf, full_interval: Duration) -> Self {
        Self { directory, threads: THREADS, full_interval, known: None }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Measures directories, given by their path below the volume's.
    ///
    /// # Errors
    /// When the volume can not be read; what was known is forgotten then.
    pub fn measure(&mut self, directories: &[PathBuf], full: bool) -> Result<Measured, ScanError> {
        self.measure_each(directories, full, &mut |_| {})
    }

    /// The same, and tells of each directory as soon as its figures are known: when all trees that reach
    /// below it have been read, whatever others have still to be.
    ///
    /// # Errors
    /// Those of [`Self::measure`]. What was told is right all the same.
    pub fn measure_each(
        &mut self,
        directories: &[PathBuf],
        full: bool,
        each: &mut dyn FnMut(Found),
    ) -> Result<Measured, ScanError> {
        let known = self.known.take();
        let (volume, file_system) = self.open()?;
        let mut scan = Scan { volume: &volume, file_system, threads: self.threads, known };
        let measured = scan.measure(directories, full, self.full_interval, each);
        let measured = measured.map_err(|error| ScanError::Read(self.directory.clone(), error))?;
        self.known = scan.known;
        Ok(measured)
    }

    /// Whether there is a directory on btrfs, for a word at the start.
    ///
    /// # Errors
    /// [`ScanError::Open`] and [`ScanError::NotBtrfs`].
    pub fn check(&self) -> Result<(), ScanError> {
        self.open().map(|_| ())
    }

    fn open(&self) -> Result<(File, FileSystem), ScanError> {
        let volume =
            File::open(&self.directory).map_err(|error| ScanError::Open(self.directory.clone(), error))?;
        let file_system =
            sys::file_system(volume.as_fd()).map_err(|_| ScanError::NotBtrfs(self.directory.clone()))?;
        Ok((volume, file_system))
    }
}
