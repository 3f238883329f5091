//! Edge: a range of a tree, item by item.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::BorrowedFd;

use super::item::{INODE_EXTREF, Item, Key, items};
use crate::sys::{SearchBuffer, SearchKey};

/// Room for the items of one call.
const BUFFER_BYTES: usize = 128 << 10;

/// Items of one call where something may be left out. With more, what could be left out is copied, such as
/// the entries of a directory; with fewer, the calls cost more than that. It is measured.
const ITEMS: u32 = 96;

/// Reads trees of one volume.
#[derive(Debug)]
pub struct Search<'a> {
    volume: BorrowedFd<'a>,
    buffer: SearchBuffer,
}

/// What may be left out between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing.
    Nothing,
    /// What stands after the references of an inode, such as the extents of a large file.
    AfterReferences,
}

impl<'a> Search<'a> {
    pub fn new(volume: BorrowedFd<'a>) -> Self {
        Self { volume, buffer: SearchBuffer::new(BUFFER_BYTES) }
    }

    pub fn volume(&self) -> BorrowedFd<'a> {
        self.volume
    }

    /// Visits the items of a range in leaves that are not older than `min_transid`.
    ///
    /// # Errors
    /// `ENOENT` when the tree is gone; `EPERM` without the capability.
    pub fn each(
        &mut self,
        tree: u64,
        range: RangeInclusive<Key>,
        min_transid: u64,
        skip: Skip,
        mut visit: impl FnMut(&Item<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let (mut min, max) = range.into_inner();
        let at_once = match skip {
            Skip::Nothing => u32::MAX,
            Skip::AfterReferences => ITEMS,
        };
        while min <= max {
            let key = SearchKey { tree, min, max, min_transid, items: at_once };
            let (count, bytes) = self.buffer.search(self.volume, &key)?;
            let mut last = None;
            for item in items(count, bytes) {
                last = Some(item.key);
                if visit(&item).is_break() {
                    return Ok(());
                }
            }
            let Some(last) = last else { break };
            let next = match skip {
                Skip::AfterReferences if last.1 > INODE_EXTREF => {
                    last.0.checked_add(1).map(|next| (next, 0, 0))
                }
                _ => after(last),
            };
            let Some(next) = next else { break };
            min = next;
        }
        Ok(())
    }

    /// The first key of a range, if there is one.
    pub fn first(&mut self, tree: u64, range: RangeInclusive<Key>) -> io::Result<Option<Key>> {
        let (min, max) = range.into_inner();
        let key = SearchKey { tree, min, max, min_transid: 0, items: 1 };
        let (count, bytes) = self.buffer.search(self.volume, &key)?;
        Ok(items(count, bytes).next().map(|item| item.key))
    }

    /// The same as [`Self::each`] for whole items of one object with types from `first` to `last`.
    pub fn object(
        &mut self,
        tree: u64,
        object: u64,
        types: RangeInclusive<u8>,
        mut visit: impl FnMut(&Item<'_>),
    ) -> io::Result<()> {
        let range = (object, *types.start(), 0)..=(object, *types.end(), u64::MAX);
        self.each(tree, range, 0, Skip::Nothing, |item| {
            visit(item);
            ControlFlow::Continue(())
        })
    }
}

/// The key after one.
fn after((object, kind, offset): Key) -> Option<Key> {
    match (offset.checked_add(1), kind.checked_add(1), object.checked_add(1)) {
        (Some(offset), ..) => Some((object, kind, offset)),
        (None, Some(kind), _) => Some((object, kind, 0)),
        (None, None, Some(object)) => Some((object, 0, 0)),
        (None, None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_each_other() {
        assert_eq!(after((1, 2, 3)), Some((1, 2, 4)));
        assert_eq!(after((1, 2, u64::MAX)), Some((1, 3, 0)));
        assert_eq!(after((1, u8::MAX, u64::MAX)), Some((2, 0, 0)));
        assert_eq!(after((u64::MAX, u8::MAX, u64::MAX)), None);
    }
}
