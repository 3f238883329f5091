//! Adds up what is below each wanted directory, across subvolumes.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::item::FIRST_NUMBER;
use super::resolve::Place;
use super::subvolumes::Subvolumes;
use super::tree::Tree;
use crate::totals::Totals;

/// The totals of each wanted directory, in the same order; one may be below another.
pub fn roll_up(trees: &BTreeMap<u64, &Tree>, subvolumes: &Subvolumes, wanted: &[Place]) -> Vec<Totals> {
    let mut nearest = Nearest::new(trees, subvolumes, wanted);
    let mut totals = vec![Totals::default(); wanted.len()];
    // Files with several names, each with the wanted directories that count it.
    let mut counted: HashSet<(u64, u64, u32)> = HashSet::new();
    let outer: Vec<Option<u32>> = wanted.iter().map(|&place| nearest.above(place)).collect();
    let upwards = |first: Option<u32>| std::iter::successors(first, |&index| outer[index as usize]);
    for tree in trees.values() {
        for (_, directory) in tree.directories.iter() {
            let Some(index) = nearest.find((tree.id, directory.number)) else { continue };
            totals[index as usize] += Totals {
                disk_bytes: directory.disk_bytes + directory.files.disk_bytes,
                apparent_bytes: directory.files.apparent_bytes,
                directory_bytes: directory.size,
                names: directory.files.names,
                directories: 1,
            };
        }
    }
    let own = totals.clone();
    for (index, own) in own.into_iter().enumerate() {
        upwards(outer[index]).for_each(|above| totals[above as usize] += own);
    }
    for tree in trees.values() {
        for (&number, aside) in &tree.aside {
            for &(directory, names) in &aside.names {
                for index in upwards(nearest.find((tree.id, directory))) {
                    let total = &mut totals[index as usize];
                    total.names += u64::from(names);
                    if counted.insert((tree.id, number, index)) {
                        total.disk_bytes += aside.disk_bytes;
                        total.apparent_bytes += aside.size;
                    }
                }
            }
        }
    }
    totals
}

/// For each directory the wanted one that is nearest at or above it, found once.
struct Nearest<'a> {
    trees: &'a BTreeMap<u64, &'a Tree>,
    subvolumes: &'a Subvolumes,
    wanted: HashMap<Place, u32>,
    known: BTreeMap<u64, Vec<Known>>,
}

#[derive(Clone, Copy)]
enum Known {
    NotYet,
    /// On the way that is being gone: a ring, which only a scan during a rename can see.
    OnTheWay,
    Is(Option<u32>),
}

impl<'a> Nearest<'a> {
    fn new(trees: &'a BTreeMap<u64, &'a Tree>, subvolumes: &'a Subvolumes, wanted: &[Place]) -> Self {
        let known = trees.iter().map(|(&id, tree)| (id, vec![Known::NotYet; tree.directories.places()]));
        let wanted = wanted.iter().zip(0..).map(|(&place, index)| (place, index));
        Self { trees, subvolumes, known: known.collect(), wanted: wanted.collect() }
    }

    fn find(&mut self, place: Place) -> Option<u32> {
        let mut way = Vec::new();
        let mut here = Some(place);
        let result = loop {
            let Some(place) = here else { break None };
            let Some(at) = self.trees.get(&place.0).and_then(|tree| tree.directories.place(place.1)) else {
                break None;
            };
            let Some(known) = self.known.get_mut(&place.0).and_then(|known| known.get_mut(at as usize))
            else {
                break None;
            };
            match *known {
                Known::Is(index) => break index,
                Known::OnTheWay => break None,
                Known::NotYet => *known = Known::OnTheWay,
            }
            way.push((place.0, at));
            if let Some(&index) = self.wanted.get(&place) {
                break Some(index);
            }
            here = self.parent(place);
        };
        for (tree, at) in way {
            if let Some(known) = self.known.get_mut(&tree) {
                known[at as usize] = Known::Is(result);
            }
        }
        result
    }

    fn above(&mut self, place: Place) -> Option<u32> {
        self.parent(place).and_then(|parent| self.find(parent))
    }

    fn parent(&self, (tree, number): Place) -> Option<Place> {
        if number == FIRST_NUMBER {
            return self.subvolumes.get(&tree)?.stands_in;
        }
        Some((tree, self.trees.get(&tree)?.directories.get(number)?.parent))
    }
}
