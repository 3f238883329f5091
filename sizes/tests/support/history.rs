//! Random histories: everything that can happen to a tree of files.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process::run;
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, ioctl_ficlone, renameat_with};

use crate::support::Chance;

/// A tree that is changed by chance, below one of several directories.
pub struct History {
    volume: PathBuf,
    homes: Vec<&'static str>,
    pub chance: Chance,
    counter: u64,
    pub operations: u64,
}

impl History {
    pub fn new(volume: &Path, homes: &[&'static str], seed: u64) -> Self {
        for home in homes {
            let _ = fs::create_dir_all(volume.join(home));
        }
        let volume = volume.to_owned();
        Self { volume, homes: homes.to_vec(), chance: Chance::new(seed), counter: seed << 32, operations: 0 }
    }

    /// Some operations; those that are not possible where chance leads them do nothing.
    pub fn step(&mut self, operations: u64) {
        for _ in 0..operations {
            self.operation();
            self.operations += 1;
        }
    }

    fn operation(&mut self) {
        let (one, other) = (self.pick(), self.pick());
        let fresh = self.fresh();
        let size = usize::try_from(*self.chance.of(&[0, 10, 1500, 3000, 5000, 70_000])).unwrap();
        match self.chance.below(30) {
            0..5 => _ = fs::write(&fresh, vec![b'x'; size]),
            5 | 6 => _ = fs::create_dir(&fresh),
            7..9 => {
                if let Ok(mut file) = open(OpenOptions::new().append(true), &one) {
                    let _ = file.write_all(&vec![b'y'; size]);
                }
            }
            9 => {
                if let Ok(file) = open(OpenOptions::new().write(true), &one) {
                    // Now and then beyond what a record of the table holds.
                    let most = if self.chance.below(8) == 0 { 6 << 30 } else { 200_000 };
                    let _ = file.set_len(self.chance.below(most));
                }
            }
            10 => {
                if let Ok(file) = open(OpenOptions::new().write(true), &one) {
                    let _ = file.write_at(b"far", self.chance.below(1 << 30));
                }
            }
            11 => {
                if let Ok(file) = open(OpenOptions::new().write(true), &one) {
                    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    let _ = fallocate(&file, flags, self.chance.below(8192), 1 + self.chance.below(50_000));
                }
            }
            12 | 13 => _ = fs::remove_file(&one),
            14 => _ = fs::remove_dir(&one),
            15 => {
                if self.chance.below(6) == 0 && !self.is_home(&one) {
                    let _ = fs::remove_dir_all(&one);
                }
            }
            16..18 if !self.is_home(&one) => _ = fs::rename(&one, &fresh),
            18 if !self.is_home(&one) && !self.is_home(&other) => _ = fs::rename(&one, &other),
            19 if !self.is_home(&one) && !self.is_home(&other) => {
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
            20..22 => _ = fs::hard_link(&one, &fresh),
            22 => {
                // Several names in one directory, some long.
                for number in 0..3 {
                    let mut name = OsString::from(&fresh);
                    name.push(format!("{number}{}", "l".repeat(150)));
                    let _ = fs::hard_link(&one, name);
                }
            }
            23 => {
                if let (Ok(from), Ok(to)) =
                    (open(OpenOptions::new().read(true), &one), File::create_new(&fresh))
                {
                    let _ = ioctl_ficlone(&to, &from);
                }
            }
            24 => _ = symlink(&one, &fresh),
            25 => _ = run(Command::new("mkfifo").arg(&fresh)),
            26 => {
                // As rsync replaces a file.
                if one.is_file() && fs::write(&fresh, vec![b'z'; size]).is_ok() {
                    let _ = fs::rename(&fresh, &one);
                }
            }
            27 => _ = run(Command::new("chattr").arg("+c").arg(&one)),
            28 => {
                // Removed while it is open: it is there without a name.
                if let Ok(file) = open(OpenOptions::new().write(true), &one) {
                    let _ = fs::remove_file(&one);
                    let _ = (&file).write_all(&vec![b'o'; size]);
                }
            }
            _ => {
                if fs::create_dir(&fresh).is_ok() {
                    for number in 0..self.chance.below(60) {
                        let _ = fs::write(fresh.join(number.to_string()), "many");
                    }
                }
            }
        }
    }

    /// A subvolume or a snapshot comes or goes.
    pub fn subvolume(&mut self) {
        let (one, fresh) = (self.pick(), self.fresh());
        let btrfs = |arguments: &[&str], at: &[&Path]| run(Command::new("btrfs").args(arguments).args(at));
        let snapshots = self.volume.join(".snapshots");
        let _ = fs::create_dir(&snapshots);
        let snapshot = snapshots.join(self.chance.below(6).to_string());
        match self.chance.below(6) {
            0 | 1 => _ = btrfs(&["subvolume", "create"], &[&fresh]),
            2 if !self.is_home(&one) => _ = btrfs(&["subvolume", "delete"], &[&one]),
            3 => _ = btrfs(&["subvolume", "snapshot", "-r"], &[&self.volume, &snapshot]),
            4 => _ = btrfs(&["subvolume", "delete"], &[&snapshot]),
            // A read-only snapshot below a measured directory.
            _ => _ = btrfs(&["subvolume", "snapshot"], &[&self.volume, &snapshots.join("writable")]),
        }
        self.operations += 1;
    }

    /// Something that is there, mostly.
    fn pick(&mut self) -> PathBuf {
        let mut here = self.volume.join(self.chance.of(&self.homes));
        loop {
            let mut entries: Vec<_> =
                fs::read_dir(&here).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            entries.sort();
            if entries.is_empty() || self.chance.below(5) == 0 {
                return here;
            }
            here.clone_from(self.chance.of(&entries));
            if !here.is_dir() || here.is_symlink() {
                return here;
            }
        }
    }

    /// A name that is not there.
    fn fresh(&mut self) -> PathBuf {
        self.counter += 1;
        let near = self.pick();
        let directory =
            if near.is_dir() && !near.is_symlink() { near } else { near.parent().unwrap().to_owned() };
        directory.join(format!("{:x}", self.counter))
    }

    fn is_home(&self, path: &Path) -> bool {
        self.homes.iter().any(|home| self.volume.join(home).starts_with(path))
    }
}

/// Opens without waiting for the other end of a pipe.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap()).open(path)
}
