//! What is new in a tree: the inodes in leaves that are not older than the last scan.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::item::{FIRST_NUMBER, INODE_EXTREF, INODE_ITEM, INODE_REF, Inode, LAST_NUMBER, references};
use super::rescan::names_of;
use super::search::{Search, Skip};
use super::tree::Tree;

/// So many items are looked at by one thread; only where there are more, others help.
const ALONE: usize = 4_000;

/// An inode that changed. There can be very many at a time, so there is no list in it.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    pub inode: Inode,
    /// Names that were seen, and a directory that has one.
    names: u32,
    directory: u64,
}

impl Changed {
    /// The inode with the directories that name it, and the number of names there.
    pub fn named(&self, search: &mut Search<'_>, tree: u64) -> io::Result<(Inode, Vec<(u64, u32)>)> {
        // Some references can be in leaves that did not change; a single one can not be there in part.
        let single = self.inode.is_directory() || self.inode.links == 1;
        let names = if single && self.names == 1 {
            vec![(self.directory, 1)]
        } else {
            names_of(search, tree, self.inode.number)?
        };
        Ok((self.inode, names))
    }
}

/// Every inode that changed, in the order of their numbers; none when it is so much that a full scan
/// is as fast.
pub fn changed(search: &mut Search<'_>, tree: &Tree, threads: usize) -> io::Result<Option<Vec<Changed>>> {
    let budget = Budget {
        left: AtomicUsize::new(20_000 + (tree.files.len() + tree.directories.len()) / 8),
        tree: tree.id,
        known_before: tree.known_before,
    };
    let mut found = Vec::new();
    let Some(next) = budget.read(search, FIRST_NUMBER..=LAST_NUMBER, ALONE, &mut found)? else {
        return Ok(Some(found));
    };
    let mut starts: Vec<u64> = tree.files.cuts(threads).into_iter().filter(|cut| *cut > next).collect();
    starts.insert(0, next);
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([LAST_NUMBER]);
    let ranges: Vec<RangeInclusive<u64>> = starts.iter().copied().zip(ends).map(|(a, b)| a..=b).collect();
    let volume = search.volume();
    let read = |range: RangeInclusive<u64>| {
        let mut part = Vec::new();
        budget.read(&mut Search::new(volume), range, usize::MAX, &mut part).map(|_| part)
    };
    let read = &read;
    let parts = thread::scope(|scope| {
        let parts: Vec<_> = ranges.into_iter().map(|range| scope.spawn(move || read(range))).collect();
        let joined = parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the scan ended"))));
        joined.collect::<io::Result<Vec<_>>>()
    })?;
    if budget.left.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }
    found.reserve_exact(parts.iter().map(Vec::len).sum());
    for part in parts {
        found.extend(part);
    }
    Ok(Some(found))
}

/// How many changed inodes may still be found, and where they are looked for.
struct Budget {
    left: AtomicUsize,
    tree: u64,
    known_before: u64,
}

impl Budget {
    /// Reads inodes until the range, the budget or the number of items is used up; in the last case it says
    /// which inode is the next.
    fn read(
        &self,
        search: &mut Search<'_>,
        numbers: RangeInclusive<u64>,
        items: usize,
        found: &mut Vec<Changed>,
    ) -> io::Result<Option<u64>> {
        let mut seen = 0;
        let mut next = None;
        let mut inode = Inode::default();
        let range = (*numbers.start(), 0, 0)..=(*numbers.end(), u8::MAX, u64::MAX);
        search.each(self.tree, range, self.known_before, Skip::AfterReferences, |item| {
            seen += 1;
            match item.key.1 {
                INODE_ITEM if seen > items => {
                    next = Some(item.key.0);
                    return ControlFlow::Break(());
                }
                INODE_ITEM => {
                    inode = Inode::parse(item).unwrap_or_default();
                    if inode.transid >= self.known_before && inode.links > 0 {
                        found.push(Changed { inode, names: 0, directory: 0 });
                        if !self.take() {
                            return ControlFlow::Break(());
                        }
                    }
                }
                INODE_REF | INODE_EXTREF => {
                    if let Some(last) = found.last_mut().filter(|last| last.inode.number == item.key.0) {
                        references(item, |directory, names| {
                            last.names = last.names.saturating_add(names);
                            last.directory = directory;
                        });
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }

    /// Says whether there was one left.
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}
