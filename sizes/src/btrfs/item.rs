//! Items of a tree, from bytes. What is cut off or too short gives nothing, never a panic.

/// A key: object, type, offset, compared as a whole.
pub type Key = (u64, u8, u64);

pub const INODE_ITEM: u8 = 1;
pub const INODE_REF: u8 = 12;
pub const INODE_EXTREF: u8 = 13;
pub const DIR_INDEX: u8 = 96;
pub const ROOT_ITEM: u8 = 132;
pub const ROOT_BACKREF: u8 = 144;

/// The first and the last number that an inode or a subvolume can have.
pub const FIRST_NUMBER: u64 = 256;
pub const LAST_NUMBER: u64 = u64::MAX - 256;

/// One item.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub key: Key,
    pub data: &'a [u8],
}

/// The items of a search's buffer (`struct btrfs_ioctl_search_header` and data, one after the other).
pub fn items(count: usize, buffer: &[u8]) -> impl Iterator<Item = Item<'_>> {
    const HEADER: usize = 32;
    let mut rest = buffer;
    (0..count).map_while(move |_| {
        let (header, after) = rest.split_at_checked(HEADER)?;
        // Written by the kernel in its own byte order, unlike the data.
        let word = |at: usize| Some(u64::from_ne_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let half = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let (data, after) = after.split_at_checked(usize::try_from(half(28)?).ok()?)?;
        rest = after;
        Some(Item { key: (word(8)?, u8::try_from(half(24)?).ok()?, word(16)?), data })
    })
}

/// What matters of a `struct btrfs_inode_item`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inode {
    pub number: u64,
    /// Generation of its last change.
    pub transid: u64,
    pub size: u64,
    /// Bytes that it takes on disk, before compression.
    pub nbytes: u64,
    pub links: u32,
    pub mode: u32,
    /// Counts the changes of a directory's entries, among others.
    pub sequence: u64,
}

impl Inode {
    pub fn parse(item: &Item<'_>) -> Option<Self> {
        let data = item.data;
        Some(Self {
            number: item.key.0,
            transid: u64_at(data, 8)?,
            size: u64_at(data, 16)?,
            nbytes: u64_at(data, 24)?,
            links: u32_at(data, 40)?,
            mode: u32_at(data, 52)?,
            sequence: u64_at(data, 72)?,
        })
    }

    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// As `st_blocks` tells: whole blocks, also for a file that lies inline in the tree.
    pub fn disk_bytes(&self, block_bytes: u64) -> u64 {
        self.nbytes.div_ceil(block_bytes).saturating_mul(block_bytes)
    }
}

/// Calls with each directory that a reference names, and the number of names there.
pub fn references(item: &Item<'_>, mut each: impl FnMut(u64, u32)) {
    let mut data = item.data;
    if item.key.1 == INODE_REF {
        let mut names = 0;
        while let Some(rest) = after_name(data, 8) {
            names += 1;
            data = rest;
        }
        each(item.key.2, names);
    } else if item.key.1 == INODE_EXTREF {
        while let (Some(directory), Some(rest)) = (u64_at(data, 0), after_name(data, 16)) {
            each(directory, 1);
            data = rest;
        }
    }
}

/// What follows a name whose length stands at `at`.
fn after_name(data: &[u8], at: usize) -> Option<&[u8]> {
    data.get(at + 2 + usize::from(u16_at(data, at)?)..)
}

/// An entry of a directory, `struct btrfs_dir_item`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Number of the inode, or of the subvolume.
    pub number: u64,
    pub kind: EntryKind,
    pub name: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Subvolume,
}

impl<'a> Entry<'a> {
    pub fn parse(item: &Item<'a>) -> Option<Self> {
        const TYPE_DIRECTORY: u8 = 2;
        let data = item.data;
        let kind = match (*data.get(8)?, *data.get(29)?) {
            (ROOT_ITEM, _) => EntryKind::Subvolume,
            (INODE_ITEM, TYPE_DIRECTORY) => EntryKind::Directory,
            (INODE_ITEM, _) => EntryKind::File,
            _ => return None,
        };
        let name = data.get(30..30 + usize::from(u16_at(data, 27)?))?;
        Some(Self { number: u64_at(data, 0)?, kind, name })
    }
}

pub fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

pub fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(names: &[&str]) -> Vec<u8> {
        let entry = |name: &&str| {
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            [&7u64.to_le_bytes(), length.as_slice(), name.as_bytes()].concat()
        };
        names.iter().flat_map(entry).collect()
    }

    #[test]
    fn names_in_a_reference_are_counted() {
        let data = reference(&["a", "", "longer"]);
        let mut found = Vec::new();
        references(&Item { key: (300, INODE_REF, 256), data: &data }, |directory, names| {
            found.push((directory, names));
        });
        assert_eq!(found, [(256, 3)]);
    }

    #[test]
    fn extended_references_name_their_directories() {
        let entry = |directory: u64| [directory.to_le_bytes().to_vec(), reference(&["x"])].concat();
        let data = [entry(256), entry(257)].concat();
        let mut found = Vec::new();
        references(&Item { key: (300, INODE_EXTREF, 1), data: &data }, |directory, names| {
            found.push((directory, names));
        });
        assert_eq!(found, [(256, 1), (257, 1)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(count in 0usize..9, buffer in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..20) {
            for item in items(count, &buffer) {
                let _ = Inode::parse(&item);
                let _ = Entry::parse(&item);
                references(&item, |_, _| {});
            }
            let item = Item { key: (1, kind, 2), data: &buffer };
            let _ = (Inode::parse(&item), Entry::parse(&item));
            references(&item, |_, _| {});
        }
    }
}
