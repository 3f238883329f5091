//! A real btrfs volume in a sparse file, mounted by a loop device; needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{self, Output};
use crate::wait;

/// A mounted volume; it is unmounted and its loop device detached when this is dropped, also by a panic.
///
/// Declare it after the temporary directory that it is in, so that it goes first; [`Self::temporary`] brings
/// one of its own.
#[derive(Debug)]
pub struct Volume {
    image: PathBuf,
    path: PathBuf,
    own: Option<TempDir>,
}

impl Volume {
    /// Makes `folder/volume.img` of so many MiB (btrfs wants 109 at least) and mounts it at `folder/volume`.
    pub fn make(folder: &Path, mebibytes: u64) -> Self {
        Self::make_with(folder, mebibytes, &[], "nosuid,nodev")
    }

    /// As [`Self::make`], in a temporary directory of its own.
    pub fn temporary(mebibytes: u64) -> Self {
        Self::temporary_with(mebibytes, "defaults")
    }

    /// As [`Self::temporary`], with mount options.
    pub fn temporary_with(mebibytes: u64, options: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut volume = Self::make_with(own.path(), mebibytes, &[], options);
        volume.own = Some(own);
        volume
    }

    /// As [`Self::make`], with further options of mkfs.btrfs and these mount options.
    pub fn make_with(folder: &Path, mebibytes: u64, mkfs: &[&str], options: &str) -> Self {
        let image = folder.join("volume.img");
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let made = process::run(Command::new("mkfs.btrfs").arg("-q").args(mkfs).arg(&image));
        assert_eq!(made.code, 0, "{}", made.stderr);
        Self::of_image(&image, &folder.join("volume"), options)
    }

    /// Mounts an image that is there already, such as a copy of another volume's.
    pub fn of_image(image: &Path, path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let volume = Self { image: image.to_owned(), path: path.to_owned(), own: None };
        volume.mount(options);
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds it.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Mounts it (again).
    pub fn mount(&self, options: &str) {
        let options = format!("loop,{options}");
        // Two mounts at a time can choose the same free loop device; then the loser tries again.
        wait::until(&format!("the mount of {}", self.image.display()), || {
            let mut mount = Command::new("mount");
            mount.args(["-t", "btrfs", "-o", &options]).arg(&self.image).arg(&self.path);
            (process::run(&mut mount).code == 0).then_some(())
        });
    }

    /// As [`Self::mount`], past the memory of the file system below: what is read of the volume is read from the disk,
    /// as many requests at a time as there are (losetup(8), `--direct-io`).
    pub fn mount_direct(&self, options: &str) {
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show", "--direct-io=on"]).arg(&self.image);
        let attached = process::run(&mut attach);
        assert_eq!(attached.code, 0, "{}", attached.stderr);
        let device = attached.stdout.trim();
        let mut mount = Command::new("mount");
        let mounted = process::run(mount.args(["-t", "btrfs", "-o", options, device]).arg(&self.path));
        // Detached with the last use, which is this mount.
        process::run(Command::new("losetup").args(["--detach", device]));
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    }

    /// Changes mount options, such as `ro`.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let output = process::run(Command::new("mount").args(["-o", &options]).arg(&self.path));
        assert_eq!(output.code, 0, "{}", output.stderr);
    }

    /// Unmounts it; the directory stays.
    pub fn unmount(&self) {
        unmount(&self.path);
    }

    /// Whether it is mounted.
    pub fn is_mounted(&self) -> bool {
        process::run(Command::new("mountpoint").arg("-q").arg(&self.path)).code == 0
    }

    /// Runs `btrfs ARGUMENTS` in the volume's root, which must succeed.
    pub fn btrfs(&self, arguments: &[&str]) -> Output {
        let output = process::run(Command::new("btrfs").args(arguments).current_dir(&self.path));
        assert_eq!(output.code, 0, "btrfs {arguments:?}: {}", output.stderr);
        output
    }

    /// Makes a subvolume at a path below the root, with the directories above it.
    pub fn subvolume(&self, relative: &str) -> PathBuf {
        let path = self.path.join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.btrfs(&["-q", "subvolume", "create", relative]);
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What is mounted inside or over it goes too. The loop device goes with the last use of the mount
        // (losetup(8), autoclear).
        for arguments in [&["--recursive"] as &[&str], &["--recursive", "--lazy"]] {
            if self.is_mounted() {
                process::run(Command::new("umount").args(arguments).arg(&self.path));
            }
        }
        // A directory with somebody's files in it is left rather than emptied.
        if self.is_mounted() {
            self.own.take().map(TempDir::keep);
        }
    }
}

/// Unmounts what is mounted there, as soon as nobody holds it: a program that another test is starting at this moment
/// holds all that the test process had open, until execve(2) closes it.
pub fn unmount(path: &Path) {
    wait::until(&format!("the end of the mount at {}", path.display()), || {
        (process::run(Command::new("umount").arg(path)).code == 0).then_some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root: mounts a loop device"]
    fn nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        for make in [|folder: &Path| Volume::make(folder, 128), |_: &Path| Volume::temporary(128)] {
            nothing_stays_of(|| make(folder.path()));
        }
    }

    fn nothing_stays_of(make: impl Fn() -> Volume) {
        let (path, image) = {
            let volume = make();
            let inside = volume.subvolume("a/b");
            assert!(inside.is_dir());
            let over = process::run(Command::new("mount").arg("--bind").arg(&inside).arg(volume.path()));
            assert_eq!(over.code, 0, "{}", over.stderr);
            assert!(volume.is_mounted());
            (volume.path().to_owned(), volume.image().to_owned())
        };
        assert_ne!(process::run(Command::new("mountpoint").arg("-q").arg(path)).code, 0);
        let attached = || process::run(Command::new("losetup").arg("-j").arg(&image)).stdout;
        wait::until("the loop device to be free", || attached().is_empty().then_some(()));
    }
}
