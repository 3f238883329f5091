//! What is kept of a tree between two scans.

use std::collections::{HashMap, HashSet};

use super::files::{FileRecord, FileTable};
use super::item::Inode;

/// A subvolume as it was last seen.
#[derive(Debug, Default)]
pub struct Tree {
    pub id: u64,
    /// Its UUID: a number may be given again after a subvolume was deleted.
    pub uuid: [u8; 16],
    /// What is older than this generation is known.
    pub known_before: u64,
    /// Size of a block.
    pub block_bytes: u64,
    pub directories: Directories,
    pub files: FileTable,
    /// Files with several names, and those too large for a [`FileRecord`].
    pub aside: HashMap<u64, Aside>,
    /// Directories that were read while the transaction that changed them was open: they may change
    /// again in the same one, so the next scan lists them once more.
    pub recheck: HashSet<u64>,
}

/// Sums over the files of a directory that have one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSums {
    pub disk_bytes: u64,
    pub apparent_bytes: u64,
    pub names: u64,
}

/// A directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    pub number: u64,
    pub parent: u64,
    pub size: u64,
    pub sequence: u64,
    pub disk_bytes: u64,
    pub files: FileSums,
}

/// A file that its directories do not have in their sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    pub size: u64,
    pub disk_bytes: u64,
    /// Directories with the number of its names there, in the order of their numbers.
    pub names: Vec<(u64, u32)>,
}

/// Directories by their number, each at a place that a [`FileRecord`] can name in four bytes.
#[derive(Debug, Default)]
pub struct Directories {
    places: Vec<Directory>,
    by_number: HashMap<u64, u32>,
    /// Places of directories that are gone.
    free: Vec<u32>,
}

impl Directories {
    pub fn place(&self, number: u64) -> Option<u32> {
        self.by_number.get(&number).copied()
    }

    pub fn get(&self, number: u64) -> Option<&Directory> {
        Some(self.at(self.place(number)?))
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Directory> {
        let place = self.place(number)?;
        Some(self.at_mut(place))
    }

    pub fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    pub fn at(&self, place: u32) -> &Directory {
        &self.places[place as usize]
    }

    pub fn at_mut(&mut self, place: u32) -> &mut Directory {
        &mut self.places[place as usize]
    }

    /// Adds a directory that is not there yet.
    pub fn add(&mut self, directory: Directory) -> u32 {
        let place = if let Some(place) = self.free.pop() {
            *self.at_mut(place) = directory;
            place
        } else {
            if self.places.len() == self.places.capacity() {
                // Without the doubling of a `Vec`, which would take twice the memory.
                self.places.reserve_exact(self.places.len() / 8 + 8);
            }
            self.places.push(directory);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_number.insert(directory.number, place);
        place
    }

    /// Forgets a directory; its place is taken again only after [`Self::release`].
    pub fn remove(&mut self, number: u64) -> Option<u32> {
        self.by_number.remove(&number)
    }

    /// Says that no file record names the place any more.
    pub fn release(&mut self, place: u32) {
        self.free.push(place);
    }

    /// How many places there are, those of directories that are gone among them.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Directory)> {
        self.by_number.values().map(|&place| (place, self.at(place)))
    }

    pub fn len(&self) -> usize {
        self.by_number.len()
    }
}

impl Tree {
    pub fn new(id: u64, uuid: [u8; 16], known_before: u64, block_bytes: u64) -> Self {
        Self { id, uuid, known_before, block_bytes, ..Self::default() }
    }

    /// Takes in a directory; says whether its entries may have changed since it was last seen.
    pub fn take_directory(&mut self, inode: &Inode, parent: u64) -> bool {
        self.forget_file(inode.number);
        let disk_bytes = inode.disk_bytes(self.block_bytes);
        let (size, sequence) = (inode.size, inode.sequence);
        if let Some(known) = self.directories.get_mut(inode.number) {
            let changed = (known.size, known.sequence) != (size, sequence);
            *known = Directory { parent, size, sequence, disk_bytes, ..*known };
            changed
        } else {
            let number = inode.number;
            let files = FileSums::default();
            self.directories.add(Directory { number, parent, size, sequence, disk_bytes, files });
            true
        }
    }

    /// Takes in a file with all of its names, in place of what was known of it.
    pub fn take_file(&mut self, inode: &Inode, names: &[(u64, u32)]) {
        match (inode.links, names, record_of(inode, self.block_bytes)) {
            (0, ..) => self.forget_file(inode.number),
            (1, [(directory, 1)], Some(record)) => match self.directories.place(*directory) {
                Some(directory) => self.take_record(FileRecord { directory, ..record }),
                // A directory that is not known yet takes its files in when it is listed.
                None => self.forget_file(inode.number),
            },
            _ => {
                self.forget_file(inode.number);
                let (size, disk_bytes) = (inode.size, inode.disk_bytes(self.block_bytes));
                self.aside.insert(inode.number, Aside { size, disk_bytes, names: names.to_owned() });
            }
        }
    }

    /// Puts a record where the last one was, so that none of those after it has to move.
    fn take_record(&mut self, record: FileRecord) {
        self.aside.remove(&record.number);
        if let Some(last) = self.files.insert(record) {
            self.directories.at_mut(last.directory).files.subtract(&last, self.block_bytes);
        }
        self.directories.at_mut(record.directory).files.add(&record, self.block_bytes);
    }

    /// Forgets what is known of a file.
    pub fn forget_file(&mut self, number: u64) {
        if let Some(record) = self.files.remove(number) {
            self.directories.at_mut(record.directory).files.subtract(&record, self.block_bytes);
        }
        self.aside.remove(&number);
    }

    pub fn knows_file(&self, number: u64) -> bool {
        self.aside.contains_key(&number) || self.files.contains(number)
    }

    /// Directories and files aside of which the other knows something different.
    pub fn differences(&self, other: &Self) -> u64 {
        let known = |directory: &Directory| self.directories.get(directory.number) == Some(directory);
        let new = other.directories.iter().filter(|(_, directory)| !known(directory)).count();
        let gone = |directory: &Directory| !other.directories.contains(directory.number);
        let gone = self.directories.iter().filter(|(_, directory)| gone(directory)).count();
        let aside =
            other.aside.iter().filter(|(number, aside)| self.aside.get(number) != Some(aside)).count();
        let left = self.aside.keys().filter(|number| !other.aside.contains_key(number)).count();
        (new + gone + aside + left) as u64
    }
}

/// The record of a file, still without its directory; none when it is too large for one.
pub fn record_of(inode: &Inode, block_bytes: u64) -> Option<FileRecord> {
    let blocks = u32::try_from(inode.nbytes.div_ceil(block_bytes)).ok()?;
    let size = u32::try_from(inode.size).ok()?;
    Some(FileRecord { number: inode.number, size, blocks, directory: 0 })
}

impl FileSums {
    pub fn add(&mut self, record: &FileRecord, block_bytes: u64) {
        self.disk_bytes += u64::from(record.blocks) * block_bytes;
        self.apparent_bytes += u64::from(record.size);
        self.names += 1;
    }

    pub fn subtract(&mut self, record: &FileRecord, block_bytes: u64) {
        self.disk_bytes -= u64::from(record.blocks) * block_bytes;
        self.apparent_bytes -= u64::from(record.size);
        self.names -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with two files in it, and one file with two names.
    fn tree() -> Tree {
        let mut tree = Tree::new(5, [0; 16], 1, 4096);
        tree.directories.add(Directory { number: 256, parent: 256, ..Directory::default() });
        for number in [300, 301] {
            let file = Inode { number, size: 5, nbytes: 5, links: 1, ..Inode::default() };
            tree.take_file(&file, &[(256, 1)]);
        }
        let linked = Inode { number: 302, size: 5000, nbytes: 8192, links: 2, ..Inode::default() };
        tree.take_file(&linked, &[(256, 2)]);
        tree
    }

    #[test]
    fn files_are_in_the_sums_of_their_directory_once() {
        let mut tree = tree();
        let sums = |tree: &Tree| tree.directories.get(256).map(|directory| directory.files).unwrap();
        assert_eq!(sums(&tree), FileSums { disk_bytes: 8192, apparent_bytes: 10, names: 2 });
        // The one with two names loses one and is in the sums from then on; and the other way round.
        let single = Inode { number: 302, size: 5000, nbytes: 8192, links: 1, ..Inode::default() };
        tree.take_file(&single, &[(256, 1)]);
        assert_eq!(sums(&tree), FileSums { disk_bytes: 16384, apparent_bytes: 5010, names: 3 });
        assert!(tree.aside.is_empty());
        tree.forget_file(300);
        assert_eq!(sums(&tree).names, 2);
    }

    #[test]
    fn differences_are_counted() {
        assert_eq!(tree().differences(&tree()), 0);
        let mut other = tree();
        other.forget_file(301);
        assert_eq!(tree().differences(&other), 1, "a directory with other sums");
        other.forget_file(302);
        assert_eq!(tree().differences(&other), 2, "and a file with several names");
        other.directories.add(Directory { number: 400, parent: 256, ..Directory::default() });
        assert_eq!((tree().differences(&other), other.differences(&tree())), (3, 3));
    }

    #[test]
    fn a_file_beyond_the_table_is_kept_aside() {
        let mut tree = tree();
        for (number, size, nbytes) in [(303, 1, 1 << 45), (304, 1 << 32, 4096), (305, u64::MAX, 1 << 50)] {
            let huge = Inode { number, size, nbytes, links: 1, ..Inode::default() };
            tree.take_file(&huge, &[(256, 1)]);
            assert_eq!((tree.aside[&number].size, tree.aside[&number].disk_bytes), (size, nbytes));
        }
        let sums = tree.directories.get(256).map(|directory| directory.files.names);
        assert_eq!(sums, Some(2), "it is in no sum of a directory");
    }
}
