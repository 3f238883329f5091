//! The subvolumes of a volume, from its root tree.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use super::item::{FIRST_NUMBER, Item, LAST_NUMBER, ROOT_BACKREF, ROOT_ITEM, u32_at, u64_at};
use super::search::{Search, Skip};

/// The tree of tree roots, and the tree of the uppermost subvolume.
const ROOT_TREE: u64 = 1;
const TOP_TREE: u64 = 5;

/// A subvolume that is not deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subvolume {
    /// Generation of its last change.
    pub generation: u64,
    pub uuid: [u8; 16],
    /// It was made from another one.
    is_snapshot: bool,
    read_only: bool,
    /// The directory that it stands in: tree and number. The uppermost stands nowhere.
    pub stands_in: Option<(u64, u64)>,
}

/// All subvolumes by the number of their tree.
pub type Subvolumes = BTreeMap<u64, Subvolume>;

/// Reads the root tree: a few calls for hundreds of subvolumes.
pub fn read(search: &mut Search<'_>) -> io::Result<Subvolumes> {
    let mut found = Subvolumes::new();
    let range = (TOP_TREE, 0, 0)..=(LAST_NUMBER, u8::MAX, u64::MAX);
    search.each(ROOT_TREE, range, 0, Skip::Nothing, |item| {
        let (number, kind, _) = item.key;
        if number == TOP_TREE || number >= FIRST_NUMBER {
            match kind {
                ROOT_ITEM => _ = parse(item).map(|subvolume| found.insert(number, subvolume)),
                ROOT_BACKREF => {
                    if let Some(subvolume) = found.get_mut(&number) {
                        subvolume.stands_in = u64_at(item.data, 0).map(|directory| (item.key.2, directory));
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// From a `struct btrfs_root_item`; none for one that is being deleted.
fn parse(item: &Item<'_>) -> Option<Subvolume> {
    const READ_ONLY: u64 = 1;
    let data = item.data;
    if u32_at(data, 216)? == 0 {
        return None;
    }
    let uuid = |at: usize| data.get(at..at + 16).and_then(|uuid| uuid.try_into().ok()).unwrap_or_default();
    let parent: [u8; 16] = uuid(263);
    Some(Subvolume {
        generation: u64_at(data, 160)?,
        uuid: uuid(247),
        is_snapshot: parent != [0; 16],
        read_only: u64_at(data, 208)? & READ_ONLY != 0,
        stands_in: None,
    })
}

/// The trees that have to be read for directories in `trees`: those, and the ones below them that
/// are no read-only snapshots.
pub fn needed(subvolumes: &Subvolumes, trees: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    let mut needed: BTreeSet<u64> = trees.into_iter().filter(|tree| subvolumes.contains_key(tree)).collect();
    loop {
        let before = needed.len();
        for (number, subvolume) in subvolumes {
            let inside = subvolume.stands_in.is_some_and(|(tree, _)| needed.contains(&tree));
            if inside && !(subvolume.read_only && subvolume.is_snapshot) {
                needed.insert(*number);
            }
        }
        if needed.len() == before {
            return needed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_left_out_with_all_below_them() {
        let at = |tree, is_snapshot| Subvolume {
            is_snapshot,
            read_only: is_snapshot,
            stands_in: Some((tree, 256)),
            ..Subvolume::default()
        };
        let subvolumes = Subvolumes::from([
            (5, Subvolume::default()),
            (300, at(301, false)),
            (301, at(5, false)),
            (302, at(5, true)),
            (303, at(302, false)),
        ]);
        assert_eq!(needed(&subvolumes, [5]), [5, 300, 301].into());
        assert_eq!(needed(&subvolumes, [301, 999]), [300, 301].into());
        assert_eq!(needed(&subvolumes, [302]), [302, 303].into(), "one that is asked for is read");
    }
}
