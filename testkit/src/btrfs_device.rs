//! A btrfs file system in a file, on a loop device; needs root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Output, run};

/// A mounted file system that is unmounted and detached when it is dropped.
pub struct Btrfs {
    directory: TempDir,
    device: String,
}

impl Btrfs {
    /// Makes and mounts one of so many MiB; btrfs wants at least 109.
    pub fn new(size_mib: u64) -> Self {
        Self::mounted_with(size_mib, "defaults")
    }

    /// The same with mount options.
    pub fn mounted_with(size_mib: u64, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(size_mib << 20).unwrap();
        must(Command::new("mkfs.btrfs").arg("--quiet").arg(&image));
        let device =
            must(Command::new("losetup").args(["--find", "--show"]).arg(&image)).stdout.trim().to_owned();
        std::fs::create_dir(directory.path().join("volume")).unwrap();
        let made = Self { directory, device };
        made.mount(options);
        made
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    /// The loop device.
    pub fn device(&self) -> &Path {
        Path::new(&self.device)
    }

    /// Mounts it again after [`Self::unmount`].
    pub fn mount(&self, options: &str) {
        must(Command::new("mount").args(["-t", "btrfs", "-o", options]).arg(&self.device).arg(self.path()));
    }

    /// Unmounts it.
    pub fn unmount(&self) {
        must(Command::new("umount").arg(self.path()));
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        // Lazily, because a panicking test may still have something open. What is mounted inside goes first.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mine = self.path().display().to_string();
        let inside =
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&mine));
        for at in inside.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["--lazy", at]).output();
        }
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

fn must(command: &mut Command) -> Output {
    let output = run(command);
    assert_eq!(output.code, 0, "{command:?}: {}", output.stderr);
    output
}
