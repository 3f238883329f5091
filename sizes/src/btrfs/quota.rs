//! Quota groups, where somebody has turned quotas on: referenced and exclusive bytes of a subvolume,
//! without looking at its files. They are never turned on: btrfs-quota(5) advises against them where
//! snapshots come and go.

use std::io;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::item::{Item, u64_at};
use super::search::{Search, Skip};

/// The tree of the quota groups, which is there as long as quotas are on.
const QUOTA_TREE: u64 = 8;

/// `BTRFS_QGROUP_STATUS_KEY` and `BTRFS_QGROUP_INFO_KEY`.
const STATUS: u8 = 240;
const INFO: u8 = 242;

/// What the kernel counts for a subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Bytes that it refers to, shared ones among them.
    pub referenced_bytes: u64,
    /// Bytes that nothing else refers to.
    pub exclusive_bytes: u64,
}

/// The group of a subvolume; none where quotas are off, or the kernel says that its figures are not right.
pub fn read(search: &mut Search<'_>, subvolume: u64) -> io::Result<Option<Quota>> {
    match find(search, subvolume) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found,
    }
}

fn find(search: &mut Search<'_>, subvolume: u64) -> io::Result<Option<Quota>> {
    let (status, group) = ((0, STATUS, 0), (0, INFO, subvolume));
    let mut usable = false;
    search.each(QUOTA_TREE, status..=status, 0, Skip::Nothing, |item| {
        usable = item.key == status && is_usable(item);
        ControlFlow::Break(())
    })?;
    let mut quota = None;
    search.each(QUOTA_TREE, group..=group, 0, Skip::Nothing, |item| {
        quota = (item.key == group).then(|| parse(item)).flatten();
        ControlFlow::Break(())
    })?;
    Ok(quota.filter(|_| usable))
}

/// From a `struct btrfs_qgroup_status_item`: on, and neither being counted anew nor known to be wrong.
fn is_usable(item: &Item<'_>) -> bool {
    const ON: u64 = 1;
    const RESCAN: u64 = 1 << 1;
    const INCONSISTENT: u64 = 1 << 2;
    u64_at(item.data, 16).is_some_and(|flags| flags & (ON | RESCAN | INCONSISTENT) == ON)
}

/// From a `struct btrfs_qgroup_info_item`.
fn parse(item: &Item<'_>) -> Option<Quota> {
    Some(Quota { referenced_bytes: u64_at(item.data, 8)?, exclusive_bytes: u64_at(item.data, 24)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: [u64; 5]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_group_is_read_from_its_item() {
        let data = words([9, 16384, 1, 4096, 2]);
        let item = Item { key: (0, INFO, 256), data: &data };
        assert_eq!(parse(&item), Some(Quota { referenced_bytes: 16384, exclusive_bytes: 4096 }));
        assert_eq!(parse(&Item { key: item.key, data: &data[..31] }), None);
    }

    #[test]
    fn figures_that_are_not_right_are_none() {
        for (flags, usable) in [(0, false), (1, true), (3, false), (5, false), (9, true)] {
            let data = words([1, 9, flags, 0, 0]);
            assert_eq!(is_usable(&Item { key: (0, STATUS, 0), data: &data }), usable, "{flags}");
        }
    }
}
