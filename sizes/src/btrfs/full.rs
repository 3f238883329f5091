//! The first scan of a tree: every inode item and reference, several ranges at a time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::files::FileRecord;
use super::item::{FIRST_NUMBER, INODE_EXTREF, INODE_ITEM, INODE_REF, Inode, LAST_NUMBER, references};
use super::search::{Search, Skip};
use super::tree::{Aside, Directory, FileSums, Tree, record_of};

/// Inode numbers that a thread takes at a time, at least. They are so few that all threads are at
/// nearly the same place of the tree, and mostly of the disk: what reads ahead there can see one
/// stream in their requests.
const CHUNK: u64 = 128;

/// Chunks that a tree is cut into, at most: numbers are never given twice, so a tree of a few files
/// can have a very high one.
const CHUNKS: u64 = 1 << 14;

/// Fills an empty tree.
pub fn scan(volume: BorrowedFd<'_>, tree: &mut Tree, threads: usize) -> io::Result<()> {
    let (id, block_bytes) = (tree.id, tree.block_bytes);
    let top = highest_number(&mut Search::new(volume), id)?;
    let chunk = CHUNK.max((top - FIRST_NUMBER) / CHUNKS + 1);
    let next = AtomicU64::new(0);
    let gathered = Mutex::new(Gathered::new(tree));
    let read_chunk = |search: &mut Search<'_>, index: u64, first: u64| -> io::Result<()> {
        // What came after `top` was found is in the last range.
        let last = first.saturating_add(chunk - 1);
        let last = if last >= top { LAST_NUMBER } else { last };
        let part = Part::read(search, id, first..=last, block_bytes)?;
        gathered.lock().map_err(|_| thread_ended())?.take(index, part);
        Ok(())
    };
    let work = || -> io::Result<()> {
        let mut search = Search::new(volume);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let first = index.checked_mul(chunk).and_then(|before| FIRST_NUMBER.checked_add(before));
            let Some(first) = first.filter(|first| *first <= top) else { return Ok(()) };
            // After an error the others need not go on.
            read_chunk(&mut search, index, first)
                .inspect_err(|_| next.store(u64::MAX / 2, Ordering::Relaxed))?;
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            let ended = other.join().unwrap_or_else(|_| Err(thread_ended()));
            result = result.and(ended);
        }
        result
    })?;
    gathered.into_inner().map_err(|_| thread_ended())?.finish();
    Ok(())
}

fn thread_ended() -> io::Error {
    io::Error::other("a thread of the scan ended")
}

/// The highest inode number in use, by bisection: a search for what is above tells yes or no.
fn highest_number(search: &mut Search<'_>, tree: u64) -> io::Result<u64> {
    let (mut low, mut high) = (FIRST_NUMBER, LAST_NUMBER);
    while low < high {
        let middle = low + (high - low) / 2;
        match search.first(tree, (middle + 1, 0, 0)..=(LAST_NUMBER, u8::MAX, u64::MAX))? {
            Some((number, ..)) => low = number,
            None => high = middle,
        }
    }
    Ok(low)
}

/// What a range of inode numbers holds, in their order.
#[derive(Default)]
struct Part {
    directories: Vec<(Inode, u64)>,
    /// Files, each with the number of its directory.
    files: Vec<(FileRecord, u64)>,
    aside: Vec<(u64, Aside)>,
}

impl Part {
    fn read(
        search: &mut Search<'_>,
        tree: u64,
        numbers: RangeInclusive<u64>,
        block_bytes: u64,
    ) -> io::Result<Self> {
        let mut part = Self::default();
        let mut inode = Inode::default();
        let range = (*numbers.start(), 0, 0)..=(*numbers.end(), u8::MAX, u64::MAX);
        search.each(tree, range, 0, Skip::AfterReferences, |item| {
            match item.key.1 {
                INODE_ITEM => inode = Inode::parse(item).unwrap_or_default(),
                INODE_REF | INODE_EXTREF if item.key.0 == inode.number && inode.links > 0 => {
                    references(item, |parent, names| part.add(&inode, parent, names, block_bytes));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(part)
    }

    fn add(&mut self, inode: &Inode, parent: u64, names: u32, block_bytes: u64) {
        if inode.is_directory() {
            self.directories.push((*inode, parent));
            return;
        }
        match record_of(inode, block_bytes) {
            Some(record) if inode.links == 1 => {
                // Renamed between two calls of the search, it is met again under its new name.
                self.files.pop_if(|(last, _)| last.number == record.number);
                self.files.push((record, parent));
            }
            _ => {
                if self.aside.last().is_none_or(|(number, _)| *number != inode.number) {
                    let disk_bytes = inode.disk_bytes(block_bytes);
                    self.aside
                        .push((inode.number, Aside { size: inode.size, disk_bytes, names: Vec::new() }));
                }
                if let Some((_, aside)) = self.aside.last_mut() {
                    add_names(&mut aside.names, parent, names);
                }
            }
        }
    }
}

/// Joins the parts of a tree in the order of their numbers, whichever is read first.
struct Gathered<'a> {
    tree: &'a mut Tree,
    /// The directories of files with the sums over them. Until all directories are known, a record
    /// has an index of this list as its directory.
    parents: Vec<(u64, FileSums)>,
    indices: HashMap<u64, u32>,
    /// The part that comes next, and those behind it that are there already.
    next: u64,
    waiting: BTreeMap<u64, Part>,
}

impl<'a> Gathered<'a> {
    fn new(tree: &'a mut Tree) -> Self {
        Self { tree, parents: Vec::new(), indices: HashMap::new(), next: 0, waiting: BTreeMap::new() }
    }

    fn take(&mut self, index: u64, part: Part) {
        self.waiting.insert(index, part);
        while let Some(part) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.append(part);
        }
    }

    fn append(&mut self, part: Part) {
        for (inode, parent) in part.directories {
            if self.tree.directories.contains(inode.number) {
                continue;
            }
            // It changed while the scan was under way: its files may have been read before or after.
            if inode.transid >= self.tree.known_before {
                self.tree.recheck.insert(inode.number);
            }
            let disk_bytes = inode.disk_bytes(self.tree.block_bytes);
            self.tree.directories.add(Directory {
                number: inode.number,
                parent,
                size: inode.size,
                sequence: inode.sequence,
                disk_bytes,
                ..Directory::default()
            });
        }
        // Files of one directory mostly follow each other.
        let mut last = None;
        for (record, parent) in part.files {
            let directory = match last {
                Some((known, index)) if known == parent => index,
                _ => self.index(parent),
            };
            last = Some((parent, directory));
            self.parents[directory as usize].1.add(&record, self.tree.block_bytes);
            self.tree.files.push(FileRecord { directory, ..record });
        }
        self.tree.aside.extend(part.aside);
    }

    fn index(&mut self, parent: u64) -> u32 {
        *self.indices.entry(parent).or_insert_with(|| {
            self.parents.push((parent, FileSums::default()));
            u32::try_from(self.parents.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Gives the files their directories. One that was made after its range was read is new to the next
    /// scan, which lists it; until then its files are left out.
    fn finish(self) {
        let Self { tree, parents, .. } = self;
        let places: Vec<_> = parents.iter().map(|(parent, _)| tree.directories.place(*parent)).collect();
        for (place, (_, sums)) in places.iter().zip(&parents) {
            if let Some(place) = *place {
                tree.directories.at_mut(place).files = *sums;
            }
        }
        tree.files.replace_directories(|index| places[index as usize]);
    }
}

/// Adds names of a file in a directory, in the order of the directories.
pub fn add_names(all: &mut Vec<(u64, u32)>, directory: u64, names: u32) {
    match all.binary_search_by_key(&directory, |known| known.0) {
        Ok(at) => all[at].1 += names,
        Err(at) => {
            // Mostly there are one or two; an ordinary list would make room for four.
            all.reserve_exact(1);
            all.insert(at, (directory, names));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE_DIRECTORY: u32 = 0o040_755;

    /// What a chunk of four numbers holds: a directory, two files in `parent`, and one with two names.
    fn part(first: u64, parent: u64) -> Part {
        let mut part = Part::default();
        let inode = |number, mode, links| Inode {
            number,
            mode,
            links,
            size: number,
            nbytes: 1,
            transid: number,
            ..Inode::default()
        };
        part.add(&inode(first, MODE_DIRECTORY, 1), FIRST_NUMBER, 1, 4096);
        part.add(&inode(first + 1, 0, 1), parent, 1, 4096);
        part.add(&inode(first + 2, 0, 1), parent, 1, 4096);
        part.add(&inode(first + 3, 0, 2), parent, 1, 4096);
        part.add(&inode(first + 3, 0, 2), FIRST_NUMBER, 1, 4096);
        part
    }

    /// The tree of these parts, in the order in which they come; each file lies in the directory of another part.
    fn gathered(order: [u64; 4]) -> Tree {
        let mut tree = Tree::new(5, [0; 16], 265, 4096);
        let mut all = Gathered::new(&mut tree);
        for index in order {
            let parents = [264, 260, 999, 256];
            all.take(index, part(256 + index * 4, parents[usize::try_from(index).unwrap()]));
        }
        assert!(all.waiting.is_empty());
        all.finish();
        tree
    }

    #[test]
    fn parts_may_come_in_any_order() {
        let tree = gathered([0, 1, 2, 3]);
        let sums = |number| tree.directories.get(number).unwrap().files;
        let names = [256, 260, 264, 268].map(|number| sums(number).names);
        assert_eq!(names, [2, 2, 2, 0], "files in a directory that nobody has seen are left out");
        assert_eq!(sums(264), FileSums { disk_bytes: 8192, apparent_bytes: 257 + 258, names: 2 });
        assert_eq!((tree.files.len(), tree.aside.len()), (6, 4));
        assert_eq!(tree.aside[&259].names, [(256, 1), (264, 1)]);
        assert_eq!(tree.recheck, [268].into(), "what changed since the scan began");
        for order in [[3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
            let other = gathered(order);
            assert_eq!((&other.files, other.differences(&tree)), (&tree.files, 0));
        }
    }
}
