//! One scan of a volume: finds the directories, brings the trees up to date, and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::files::FileTable;
use super::full;
use super::item::FIRST_NUMBER;
use super::quota;
use super::rescan::{Rescanned, rescan};
use super::resolve::{Place, resolve};
use super::rollup::roll_up;
use super::search::Search;
use super::subvolumes::{self, Subvolumes};
use super::tree::Tree;
use super::volume::{Found, Measured, Method};
use crate::sys::{self, FileSystem};
use crate::totals::Totals;

/// What is known of a volume between two scans.
#[derive(Debug)]
pub struct Known {
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

/// A scan that is under way.
pub struct Scan<'a> {
    pub volume: &'a File,
    pub file_system: FileSystem,
    pub threads: usize,
    pub known: Option<Known>,
}

impl Scan<'_> {
    /// Measures directories, and tells of each when its figures are known.
    pub fn measure(
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
        let totals = if let Some(last) = self.answered.get(&tree).filter(same) {
            last.totals.clone()
        } else {
            let trees = needed.keys().filter_map(|id| Some((*id, self.trees.get(id)?))).collect();
            roll_up(&trees, &self.subvolumes, &places)
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
