//! The first scan of a tree: every inode item and reference, several ranges at a time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::files::{FileRecord, Run};
use super::item::{FIRST_NUMBER, INODE_EXTREF, INODE_ITEM, INODE_REF, Inode, LAST_NUMBER, references};
use super::search::{Search, Skip};
use super::tree::{Aside, Directory, Tree, record_of};

/// Inode numbers that a thread takes at a time, at least.
const CHUNK: u64 = 8192;

/// Chunks that a tree is cut into, at most: numbers are never given twice, so a tree of a few files
/// can have a very high one.
const CHUNKS: u64 = 1 << 14;

/// What a range of inode numbers holds, in lists that have no room to spare.
struct Part {
    directories: Vec<(Inode, u64)>,
    /// The directory of a record is an index into `parents`.
    files: Vec<Run>,
    parents: Vec<u64>,
    aside: Vec<(u64, Aside)>,
}

/// A range that is being read. A thread has one for all of its ranges, so that lists grow but once.
#[derive(Default)]
struct Reader {
    directories: Vec<(Inode, u64)>,
    files: Vec<FileRecord>,
    parents: Vec<u64>,
    places: HashMap<u64, u32>,
    aside: Vec<(u64, Aside)>,
}

/// Fills an empty tree.
pub fn scan(volume: BorrowedFd<'_>, tree: &mut Tree, threads: usize) -> io::Result<()> {
    let top = highest_number(&mut Search::new(volume), tree.id)?;
    let chunk = CHUNK.max((top - FIRST_NUMBER) / CHUNKS + 1);
    let next = AtomicU64::new(0);
    let parts = Mutex::new(BTreeMap::new());
    let (id, block_bytes) = (tree.id, tree.block_bytes);
    let work = || -> io::Result<()> {
        let mut search = Search::new(volume);
        let mut reader = Reader::default();
        loop {
            let before = next.fetch_add(1, Ordering::Relaxed).checked_mul(chunk);
            let Some(first) = before.and_then(|before| FIRST_NUMBER.checked_add(before)) else {
                return Ok(());
            };
            if first > top {
                return Ok(());
            }
            // What came after `top` was found is in the last range.
            let last = first.saturating_add(chunk - 1);
            let last = if last >= top { LAST_NUMBER } else { last };
            let part = reader.read(&mut search, id, first..=last, block_bytes)?;
            parts.lock().map_err(|_| io::Error::other("a thread of the scan ended"))?.insert(first, part);
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            let ended = other.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the scan ended")));
            result = result.and(ended);
        }
        result
    })?;
    let parts = parts.into_inner().map_err(|_| io::Error::other("a thread of the scan ended"))?;
    merge(tree, parts.into_values().collect());
    Ok(())
}

/// The highest inode number in use, by bisection: a search for what is above tells yes or no.
fn highest_number(search: &mut Search<'_>, tree: u64) -> io::Result<u64> {
    let (mut low, mut high) = (FIRST_NUMBER, LAST_NUMBER);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut found = None;
        let above = (middle + 1, 0, 0)..=(LAST_NUMBER, u8::MAX, u64::MAX);
        search.each(tree, above, 0, Skip::Nothing, |item| {
            found = Some(item.key.0);
            ControlFlow::Break(())
        })?;
        match found {
            Some(number) => low = number,
            None => high = middle,
        }
    }
    Ok(low)
}

impl Reader {
    fn read(
        &mut self,
        search: &mut Search<'_>,
        tree: u64,
        numbers: RangeInclusive<u64>,
        block_bytes: u64,
    ) -> io::Result<Part> {
        let mut inode = Inode::default();
        let range = (*numbers.start(), 0, 0)..=(*numbers.end(), u8::MAX, u64::MAX);
        search.each(tree, range, 0, Skip::AfterReferences, |item| {
            match item.key.1 {
                INODE_ITEM => inode = Inode::parse(item).unwrap_or_default(),
                INODE_REF | INODE_EXTREF if item.key.0 == inode.number && inode.links > 0 => {
                    references(item, |parent, names| self.add(&inode, parent, names, block_bytes));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(self.part())
    }

    fn add(&mut self, inode: &Inode, parent: u64, names: u32, block_bytes: u64) {
        if inode.is_directory() {
            self.directories.push((*inode, parent));
            return;
        }
        match record_of(inode, block_bytes) {
            Some(record) if inode.links == 1 => {
                let directory = self.place(parent);
                // Renamed between two calls of the search, it is met again under its new name.
                self.files.pop_if(|last| last.number == record.number);
                self.files.push(FileRecord { directory, ..record });
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

    fn place(&mut self, parent: u64) -> u32 {
        // Files of one directory mostly follow each other.
        if self.parents.last() == Some(&parent) {
            return u32::try_from(self.parents.len() - 1).unwrap_or(u32::MAX);
        }
        *self.places.entry(parent).or_insert_with(|| {
            self.parents.push(parent);
            u32::try_from(self.parents.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Hands over what was read.
    fn part(&mut self) -> Part {
        let mut files = Vec::with_capacity(1);
        let mut rest = self.files.as_slice();
        while !rest.is_empty() {
            let (run, count) = Run::of(rest);
            files.push(run);
            rest = &rest[count..];
        }
        let part = Part {
            directories: self.directories.as_slice().to_vec(),
            files,
            parents: self.parents.as_slice().to_vec(),
            aside: self.aside.drain(..).collect(),
        };
        self.directories.clear();
        self.files.clear();
        self.parents.clear();
        self.places.clear();
        part
    }
}

fn merge(tree: &mut Tree, mut parts: Vec<Part>) {
    tree.directories.reserve(parts.iter().map(|part| part.directories.len()).sum());
    tree.aside.reserve(parts.iter().map(|part| part.aside.len()).sum());
    for part in &mut parts {
        for (inode, parent) in std::mem::take(&mut part.directories) {
            if tree.directories.contains(inode.number) {
                continue;
            }
            // It changed while the scan was under way: its files may have been read before or after.
            if inode.transid >= tree.known_before {
                tree.recheck.insert(inode.number);
            }
            let disk_bytes = inode.disk_bytes(tree.block_bytes);
            tree.directories.add(Directory {
                number: inode.number,
                parent,
                size: inode.size,
                sequence: inode.sequence,
                disk_bytes,
                ..Directory::default()
            });
        }
    }
    for part in parts {
        let places: Vec<_> = part.parents.iter().map(|&parent| tree.directories.place(parent)).collect();
        for mut run in part.files {
            // A directory that was made after its range was read is new to the next scan, which lists it.
            run.replace_directories(|directory| places[directory as usize]);
            for record in run.records() {
                tree.directories.at_mut(record.directory).files.add(&record, tree.block_bytes);
            }
            tree.files.append(run);
        }
        tree.aside.extend(part.aside);
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
