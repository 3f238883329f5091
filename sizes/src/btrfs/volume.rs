//! A volume and what is known of it: decides how it is scanned.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::FileTable;
use super::full;
use super::rescan::{Rescanned, rescan};
use super::resolve::{Place, resolve};
use super::rollup::roll_up;
use super::search::Search;
use super::subvolumes::{self, Subvolumes};
use super::tree::Tree;
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

#[derive(Debug)]
struct Known {
    uuid: [u8; 16],
    generation: u64,
    trees: BTreeMap<u64, Tree>,
    subvolumes: Subvolumes,
    full: Instant,
    /// What was last asked for and answered: nothing has to be added up when nothing changed.
    answered: Option<(Vec<Place>, Vec<Totals>)>,
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
        let known = self.known.take();
        let (volume, file_system) = self.open()?;
        let mut scan = Scan { volume: &volume, file_system, threads: self.threads, known };
        let measured = scan.measure(directories, full, self.full_interval);
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

struct Scan<'a> {
    volume: &'a File,
    file_system: FileSystem,
    threads: usize,
    known: Option<Known>,
}

impl Scan<'_> {
    fn measure(
        &mut self,
        directories: &[PathBuf],
        full: bool,
        full_interval: Duration,
    ) -> io::Result<Measured> {
        // What is committed has all of its changes in the trees.
        let generation = sys::commit(self.volume.as_fd())? + 1;
        let uuid = self.file_system.uuid;
        // A volume that was put back to an earlier state can have other changes with the same numbers.
        self.known = self.known.take().filter(|known| known.uuid == uuid && known.generation <= generation);
        let mut search = Search::new(self.volume.as_fd());
        let begin = (sys::tree_of(self.volume.as_fd())?, self.volume.metadata()?.ino());
        let places = directories.iter().map(|path| resolve(&mut search, begin, path));
        let places = places.collect::<io::Result<Vec<_>>>()?;
        let found: Vec<Place> = places.iter().copied().flatten().collect();

        let full = full || self.known.as_ref().is_none_or(|known| known.full.elapsed() >= full_interval);
        let (method, differences) = if full {
            (Method::Full, self.anew(&mut search, generation, &found)?)
        } else {
            self.update(&mut search, generation, &found)?;
            (Method::Incremental, None)
        };
        let Some(known) = &mut self.known else { return Err(io::ErrorKind::NotFound.into()) };
        let totals = match &known.answered {
            Some((places, totals)) if *places == found => totals.clone(),
            _ => roll_up(&known.trees, &known.subvolumes, &found),
        };
        known.answered = Some((found, totals.clone()));
        let mut totals = totals.into_iter();
        let totals = places.iter().map(|place| place.and_then(|_| totals.next())).collect();
        Ok(Measured { totals, method, differences })
    }

    /// Reads everything, and compares it with what was known.
    fn anew(&mut self, search: &mut Search<'_>, generation: u64, found: &[Place]) -> io::Result<Option<u64>> {
        let mut before = BTreeMap::new();
        if self.known.is_some() {
            self.update(search, generation, found)?;
            before = self.known.take().map(|known| known.trees).unwrap_or_default();
            // The sums of the directories are enough to compare; two tables would take twice the memory.
            for tree in before.values_mut() {
                tree.files = FileTable::default();
            }
        }
        let compared = (!before.is_empty()).then_some(());
        let known = Known {
            uuid: self.file_system.uuid,
            generation,
            trees: BTreeMap::new(),
            subvolumes: Subvolumes::new(),
            full: Instant::now(),
            answered: None,
        };
        self.known = Some(known);
        self.update(search, generation, found)?;
        // No transaction was begun since: both have seen the same.
        let at_rest = sys::file_system(self.volume.as_fd())?.generation + 1 == generation;
        let trees = self.known.iter().flat_map(|known| known.trees.values());
        let differences = trees.filter_map(|tree| Some(before.get(&tree.id)?.differences(tree))).sum();
        Ok(compared.filter(|()| at_rest).map(|()| differences))
    }

    /// Brings every tree that is needed up to date; reads in full what is not known.
    fn update(&mut self, search: &mut Search<'_>, generation: u64, found: &[Place]) -> io::Result<()> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let subvolumes = subvolumes::read(search)?;
        let needed = subvolumes::needed(&subvolumes, found.iter().map(|place| place.0));
        let mut trees = std::mem::take(&mut known.trees);
        let mut same = known.subvolumes.keys().eq(subvolumes.keys());
        for id in needed {
            let Some(subvolume) = subvolumes.get(&id) else { continue };
            let old = trees.remove(&id).filter(|tree| tree.uuid == subvolume.uuid);
            let updated = match old {
                Some(mut tree) if subvolume.generation < tree.known_before => {
                    tree.known_before = generation;
                    Ok((tree, Rescanned::Same))
                }
                Some(mut tree) => rescan(search, &mut tree, generation).map(|how| (tree, how)),
                None => Ok((Tree::default(), Rescanned::TooMuch)),
            };
            let updated = updated.and_then(|(mut tree, how)| {
                if how == Rescanned::TooMuch {
                    let block_bytes = u64::from(self.file_system.block_bytes).max(1);
                    tree = Tree::new(id, subvolume.uuid, generation, block_bytes);
                    full::scan(search.volume(), &mut tree, self.threads)?;
                }
                Ok((tree, how))
            });
            match updated {
                Ok((tree, how)) => {
                    same &= how == Rescanned::Same;
                    known.trees.insert(id, tree);
                }
                // It was deleted a moment ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound => same = false,
                Err(error) => return Err(error),
            }
        }
        // The generation of a subvolume moves on without a change of its place.
        let moved = |id: &u64| {
            known.subvolumes.get(id).map(|old| old.stands_in) != subvolumes.get(id).map(|new| new.stands_in)
        };
        if !same || !trees.is_empty() || subvolumes.keys().any(moved) {
            known.answered = None;
        }
        (known.subvolumes, known.generation) = (subvolumes, generation);
        Ok(())
    }
}
