//! Quota groups, where somebody has turned quotas on: referenced and exclusive bytes of a subvolume,
//! without looking at its files. They are read from sysfs, which needs no privilege, and never turned
//! on: btrfs-quota(5) advises against them where snapshots come and go.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What the kernel counts for a subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes that it refers to, shared ones among them.
    pub referenced_bytes: u64,
    /// Bytes that nothing else refers to.
    pub exclusive_bytes: u64,
}

/// Reads the group of a subvolume below `/sys/fs/btrfs/UUID/qgroups`; none where quotas are off.
pub fn read(sysfs: &Path, uuid: &[u8; 16], subvolume: u64) -> Option<Quota> {
    let group = sysfs.join(hyphenated(uuid)).join("qgroups").join(format!("0_{subvolume}"));
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    Some(Quota { referenced_bytes: number("referenced")?, exclusive_bytes: number("exclusive")? })
}

/// A UUID as sysfs writes it.
fn hyphenated(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_uuid_and_subvolume() {
        let sysfs = tempfile::tempdir().unwrap();
        let group = sysfs.path().join("00010203-0405-0607-0809-0a0b0c0d0e0f/qgroups/0_256");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("referenced"), "16384\n").unwrap();
        let uuid = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(read(sysfs.path(), &uuid, 256), None, "incomplete");
        fs::write(group.join("exclusive"), "4096\n").unwrap();
        let found = Quota { referenced_bytes: 16384, exclusive_bytes: 4096 };
        assert_eq!(read(sysfs.path(), &uuid, 256), Some(found));
        assert_eq!(read(sysfs.path(), &uuid, 257), None);
    }
}
