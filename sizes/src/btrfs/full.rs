//! The first scan of a tree: every inode item and reference, several ranges at a time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::files::FileRecord;
use super::item::{FIRST_NUMBER, INODE_EXTREF, INODE_ITEM, INODE_REF, Inode, LAST_NUMBER, references};
use super::search::{Search, Skip};
use super::tree::{Directory, Tree, record_of};

/// Inode numbers that a thread takes at a time, at least.
const CHUNK: u64 = 8192;

/// Chunks that a tree is cut into, at most: numbers are never given twice, so a tree of a few files
/// can have a very high one.
const CHUNKS: u64 = 1 << 14;

/// What a range of inode numbers holds.
#[derive(Default)]
struct Part {
    directories: Vec<(Inode, u64)>,
    /// In order; the directory is an index into `parents`.
    files: Vec<FileRecord>,
    parents: Vec<u64>,
    places: HashMap<u64, u32>,
    aside: Vec<(Inode, u64, u32)>,
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
            let part = read(&mut search, id, first, last, block_bytes)?;
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

fn read(search: &mut Search<'_>, tree: u64, first: u64, last: u64, block_bytes: u64) -> io::Result<Part> {
    let mut part = Part::default();
    let mut inode = Inode::default();
    let range = (first, 0, 0)..=(last, u8::MAX, u64::MAX);
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
    part.files.shrink_to_fit();
    part.places = HashMap::new();
    Ok(part)
}

impl Part {
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
            _ => self.aside.push((*inode, parent, names)),
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
}

fn merge(tree: &mut Tree, mut parts: Vec<Part>) {
    for part in &mut parts {
        for (inode, parent) in part.directories.drain(..) {
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
    for mut part in parts {
        let places: Vec<_> = part.parents.iter().map(|&parent| tree.directories.place(parent)).collect();
        // A directory that was made after its range was read is new to the next scan, which lists it.
        part.files.retain_mut(|record| {
            let place = places[record.directory as usize];
            record.directory = place.unwrap_or_default();
            place.is_some()
        });
        for record in &part.files {
            tree.directories.at_mut(record.directory).files.add(record, tree.block_bytes);
        }
        tree.files.append(part.files);
        for (inode, parent, names) in part.aside {
            let disk_bytes = inode.disk_bytes(tree.block_bytes);
            let aside = tree.aside.entry(inode.number).or_default();
            (aside.size, aside.disk_bytes) = (inode.size, disk_bytes);
            add_names(&mut aside.names, parent, names);
        }
    }
}

/// Adds names of a file in a directory, in the order of the directories.
pub fn add_names(all: &mut Vec<(u64, u32)>, directory: u64, names: u32) {
    match all.binary_search_by_key(&directory, |known| known.0) {
        Ok(at) => all[at].1 += names,
        Err(at) => all.insert(at, (directory, names)),
    }
}
