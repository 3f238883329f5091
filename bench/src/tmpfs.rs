//! A file system in memory, for what a disk would blur: one that others use too differs from one minute to the next by
//! more than what is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted tmpfs (tmpfs(5)); it is unmounted when it goes.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one at a directory, for so many bytes; nothing where less than half as much again is free, or without the
    /// right to mount.
    pub fn mount(place: &Path, bytes: u64) -> Option<Self> {
        if available()? < bytes + bytes / 2 {
            return None;
        }
        fs::create_dir_all(place).unwrap();
        // Without a limit on their number, which is half of the pages of the memory.
        let options = format!("size={bytes},nr_inodes=0,mode=0755,nosuid,nodev");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "backup-bench"]).arg(place).stderr(Stdio::null());
        mount.status().ok()?.success().then(|| Self(place.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Bytes that can be used without swapping, `proc_meminfo(5)`.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}
