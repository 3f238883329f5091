//! A volume and what is known of it: decides how it is scanned.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::FileTable;
use super::full;
use super::item::FIRST_NUMBER;
use super::quota::{self, Quota};
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
    /// What was last answered for the directories of each tree: nothing has to be added up when
    /// nothing changed.
    answered: BTreeMap<u64, Answered>,
}

/// Figures, and what they were added up from.
#[derive(Debug)]
struct Answered {
    places: Vec<Place>,
    /// The trees with the directory that each stands in.
    needed: BTreeMap<u64, Option<Place>>,
    totals: Vec<Totals>,
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
        each: &mut dyn FnMut(Found),
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
        let mut wanted: BTreeMap<u64, Vec<(usize, Place)>> = BTreeMap::new();
        let mut totals = vec![None; places.len()];
        for (index, place) in places.into_iter().enumerate() {
            match place {
                Some(place) => wanted.entry(place.0).or_default().push((index, place)),
                None => each(Found { index, totals: None, quota: None }),
            }
        }
        let mut tell = |found: Found| {
            totals[found.index] = found.totals;
            each(found);
        };

        let full = full || self.known.as_ref().is_none_or(|known| known.full.elapsed() >= full_interval);
        let (method, differences) = if full {
            (Method::Full, self.anew(&mut search, generation, &wanted, &mut tell)?)
        } else {
            self.update(&mut search, generation, &wanted, &mut tell)?;
            (Method::Incremental, None)
        };
        Ok(Measured { totals, method, differences })
    }

    /// Reads everything, and compares it with what was known.
    fn anew(
        &mut self,
        search: &mut Search<'_>,
        generation: u64,
        wanted: &Wanted,
        tell: &mut dyn FnMut(Found),
    ) -> io::Result<Option<u64>> {
        let mut before = BTreeMap::new();
        if self.known.is_some() {
            self.update(search, generation, wanted, &mut |_| {})?;
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
            answered: BTreeMap::new(),
        };
        self.known = Some(known);
        self.update(search, generation, wanted, tell)?;
        // No transaction was begun since: both have seen the same.
        let at_rest = sys::file_system(self.volume.as_fd())?.generation + 1 == generation;
        let trees = self.known.iter().flat_map(|known| known.trees.values());
        let differences = trees.filter_map(|tree| Some(before.get(&tree.id)?.differences(tree))).sum();
        Ok(compared.filter(|()| at_rest).map(|()| differences))
    }

    /// Brings every tree that is needed up to date, reads in full what is not known, and tells of the
    /// directories of a tree as soon as it is done with all that reach below it.
    fn update(
        &mut self,
        search: &mut Search<'_>,
        generation: u64,
        wanted: &Wanted,
        tell: &mut dyn FnMut(Found),
    ) -> io::Result<()> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let subvolumes = subvolumes::read(search)?;
        // Those that need few trees come first.
        let mut groups: Vec<_> = wanted
            .iter()
            .map(|(&tree, found)| (subvolumes::needed(&subvolumes, [tree]), tree, found))
            .collect();
        groups.sort_by_key(|(needed, tree, _)| (needed.len(), *tree));
        let mut old = std::mem::take(&mut known.trees);
        (known.subvolumes, known.generation) = (subvolumes, generation);
        let mut changed = BTreeSet::new();
        for (needed, tree, found) in groups {
            for id in &needed {
                if changed.contains(id) || known.trees.contains_key(id) {
                    continue;
                }
                let Some(&subvolume) = known.subvolumes.get(id) else { continue };
                let last = old.remove(id).filter(|tree| tree.uuid == subvolume.uuid);
                let scan =
                    Tree::new(*id, subvolume.uuid, generation, self.file_system.block_bytes.max(1).into());
                match up_to_date(search, last, scan, subvolume.generation, self.threads) {
                    Ok((tree, how)) => {
                        if how != Rescanned::Same {
                            changed.insert(*id);
                        }
                        known.trees.insert(*id, tree);
                    }
                    // It was deleted a moment ago.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => _ = changed.insert(*id),
                    Err(error) => return Err(error),
                }
            }
            known.answer(search, tree, &needed, &changed, found, tell)?;
        }
        known.answered.retain(|tree, _| wanted.contains_key(tree));
        Ok(())
    }
}

/// The directories that are asked for in each tree, with their places in the request.
type Wanted = BTreeMap<u64, Vec<(usize, Place)>>;

/// A tree as it is now, from what was known of it or anew.
fn up_to_date(
    search: &mut Search<'_>,
    last: Option<Tree>,
    mut anew: Tree,
    subvolume_generation: u64,
    threads: usize,
) -> io::Result<(Tree, Rescanned)> {
    if let Some(mut tree) = last {
        if subvolume_generation < tree.known_before {
            tree.known_before = anew.known_before;
            return Ok((tree, Rescanned::Same));
        }
        let how = rescan(search, &mut tree, anew.known_before, threads)?;
        if how != Rescanned::TooMuch {
            return Ok((tree, how));
        }
    }
    full::scan(search.volume(), &mut anew, threads)?;
    Ok((anew, Rescanned::Changed))
}

impl Known {
    /// Tells of the directories of a tree.
    fn answer(
        &mut self,
        search: &mut Search<'_>,
        tree: u64,
        needed: &BTreeSet<u64>,
        changed: &BTreeSet<u64>,
        found: &[(usize, Place)],
        tell: &mut dyn FnMut(Found),
    ) -> io::Result<()> {
        let places: Vec<Place> = found.iter().map(|(_, place)| *place).collect();
        // The generation of a subvolume moves on without a change of its place.
        let stands = |id: &u64| Some((*id, self.subvolumes.get(id)?.stands_in));
        let needed: BTreeMap<u64, Option<Place>> = needed.iter().filter_map(stands).collect();
        let same = |last: &&Answered| {
            last.places == places && last.needed == needed && !needed.keys().any(|id| changed.contains(id))
        };
        let totals = match self.answered.get(&tree).filter(same) {
            Some(last) => last.totals.clone(),
            None => {
                let trees = needed.keys().filter_map(|id| Some((*id, self.trees.get(id)?))).collect();
                roll_up(&trees, &self.subvolumes, &places)
            }
        };
        for ((index, place), totals) in found.iter().zip(&totals) {
            let is_subvolume = place.1 == FIRST_NUMBER;
            let quota = if is_subvolume { quota::read(search, place.0)? } else { None };
            tell(Found { index: *index, totals: Some(*totals), quota });
        }
        self.answered.insert(tree, Answered { places, needed, totals });
        Ok(())
    }
}
