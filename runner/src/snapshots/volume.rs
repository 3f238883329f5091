//! The edge to btrfs: the volume and its snapshot directory, held open.
//!
//! Everything below the volume is reached from its descriptor, component by component and without
//! following a symlink (openat2(2)). What is deleted is a subvolume's id, read from the very descriptor that was
//! checked.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use backup_btrfs as btrfs;
use backup_common::config::Snapshots;
use jiff::tz::TimeZone;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2};
use rustix::io::Errno;

use super::error::SnapshotError;
use super::inventory::{Entry, Inventory};
use super::name::SnapshotName;
use crate::destination::Base;

/// The volume, and its snapshot directory if that is there.
#[derive(Debug)]
pub struct Volume<'a> {
    settings: &'a Snapshots,
    root: OwnedFd,
    own: btrfs::Subvolume,
    directory: Option<OwnedFd>,
}

impl<'a> Volume<'a> {
    /// Opens the volume and looks at everything that would keep a snapshot from being what it should be; changes nothing.
    pub fn open(settings: &'a Snapshots, base: &Base) -> Result<Self, SnapshotError> {
        let path = &settings.volume;
        let failed = |error: io::Error| SnapshotError::Volume(path.clone(), error);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        if !btrfs::is_btrfs(&root).map_err(failed)? {
            return Err(SnapshotError::NotBtrfs(path.clone()));
        }
        if !btrfs::is_subvolume(&root).map_err(failed)? {
            return Err(SnapshotError::NotASubvolume(path.clone()));
        }
        if !same_subvolume(&root, base).map_err(failed)? {
            return Err(SnapshotError::Elsewhere { volume: path.clone(), base: base.path().to_owned() });
        }
        let own = btrfs::subvolume(&root).map_err(failed)?;
        let mut volume = Self { settings, root, own, directory: None };
        volume.directory = volume.open_directory(false)?;
        Ok(volume)
    }

    /// Makes the snapshot directory if it is missing, for root's eyes only: its snapshots hold the files of all hosts.
    pub fn make_directory(&mut self) -> Result<(), SnapshotError> {
        if self.directory.is_none() {
            self.directory = self.open_directory(true)?;
        }
        Ok(())
    }

    fn open_directory(&self, make: bool) -> Result<Option<OwnedFd>, SnapshotError> {
        let path = &self.settings.directory;
        let failed = |error: io::Error| SnapshotError::Directory(path.clone(), error);
        let mut current = self.root.try_clone().map_err(failed)?;
        for part in path.strip_prefix(&self.settings.volume).unwrap_or(path) {
            let part = Path::new(part);
            let mut opened = open_beneath(current.as_fd(), part);
            if matches!(opened, Err(Errno::NOENT)) {
                if !make {
                    return Ok(None);
                }
                opened = match mkdirat(&current, part, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => open_beneath(current.as_fd(), part),
                    Err(error) => Err(error),
                };
            }
            current = opened.map_err(|error| match error {
                Errno::LOOP => SnapshotError::Symlink(path.clone()),
                Errno::NOTDIR => SnapshotError::NotADirectory(path.clone()),
                error => failed(error.into()),
            })?;
        }
        let same = btrfs::is_btrfs(&current)
            .and_then(|is| Ok(is && btrfs::filesystem(&current)? == btrfs::filesystem(&self.root)?));
        if !same.map_err(failed)? {
            return Err(SnapshotError::OtherFileSystem(path.clone()));
        }
        let found = fstat(&current).map_err(|error| failed(error.into()))?;
        let owner_is_trusted = found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw();
        if !owner_is_trusted || Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(SnapshotError::WritableByOthers(path.clone()));
        }
        Ok(Some(current))
    }

    /// Lists the snapshot directory; an empty list when there is none.
    pub fn inventory(&self, zone: &TimeZone) -> Result<Inventory, SnapshotError> {
        let mut inventory = Inventory::default();
        let Some(directory) = &self.directory else { return Ok(inventory) };
        let failed = |error: io::Error| SnapshotError::Directory(self.settings.directory.clone(), error);
        let known: BTreeSet<&str> =
            self.settings.schedules.iter().map(|schedule| schedule.tag.as_str()).collect();
        for found in Dir::read_from(directory).map_err(|error| failed(error.into()))? {
            let found = found.map_err(|error| failed(error.into()))?;
            let Ok(text) = found.file_name().to_str() else { continue };
            inventory.names.insert(text.to_owned());
            let Some(name) = SnapshotName::parse(text).filter(|name| known.contains(name.tag.as_str()))
            else {
                continue;
            };
            let subvolume = self.snapshot(directory.as_fd(), text).map_err(failed)?;
            let entry = subvolume.and_then(|subvolume| {
                let time = name.timestamp(zone, subvolume.created)?;
                Some(Entry { name, time, id: subvolume.id, transaction: subvolume.transaction })
            });
            match entry {
                Some(entry) => inventory.entries.push(entry),
                None => inventory.strangers.push(text.to_owned()),
            }
        }
        inventory.entries.sort_by_key(|entry| (entry.transaction, entry.id));
        inventory.strangers.sort();
        Ok(inventory)
    }

    /// An entry of the directory, if it is a read-only snapshot of this volume.
    fn snapshot(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<btrfs::Subvolume>> {
        let entry = match open_beneath(directory, Path::new(name)) {
            Ok(entry) => entry,
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !btrfs::is_subvolume(&entry)? {
            return Ok(None);
        }
        // The top of a file system that mkfs.btrfs before 4.16 has made has no uuid, and its snapshots no parent's.
        let found = btrfs::subvolume(&entry)?;
        Ok((found.read_only && found.parent_uuid == self.own.uuid && found.id != self.own.id)
            .then_some(found))
    }

    /// Takes a read-only snapshot; the directory must be there.
    pub fn create(&self, name: &str) -> Result<(), SnapshotError> {
        let missing =
            || SnapshotError::Directory(self.settings.directory.clone(), io::ErrorKind::NotFound.into());
        let directory = self.directory.as_ref().ok_or_else(missing)?;
        btrfs::create_snapshot(directory, &self.root, name)
            .map_err(|error| SnapshotError::Create(name.to_owned(), error))
    }

    /// Deletes a snapshot after looking once more that it is the one that was found.
    pub fn delete(&self, entry: &Entry) -> Result<(), SnapshotError> {
        let name = entry.name.to_string();
        let failed = |error| SnapshotError::Delete(name.clone(), error);
        let Some(directory) = &self.directory else { return Err(SnapshotError::Changed(name)) };
        match self.snapshot(directory.as_fd(), &name).map_err(failed)? {
            Some(found) if found.id == entry.id => {
                btrfs::delete_subvolume(&self.root, found.id).map_err(failed)
            }
            _ => Err(SnapshotError::Changed(name)),
        }
    }

    /// Subvolumes below the volume that are empty directories in its snapshots.
    pub fn nested(&self) -> io::Result<Vec<String>> {
        let mut except = None;
        if let Some(directory) = &self.directory
            && same_subvolume(directory, &self.root)?
        {
            except = Some(fstat(directory)?.st_ino);
        }
        let relative = self.settings.directory.strip_prefix(&self.settings.volume).unwrap_or(Path::new(""));
        let paths = btrfs::nested(&self.root, except)?;
        let show = |path: &std::path::PathBuf| self.settings.volume.join(path).display().to_string();
        Ok(paths.iter().filter(|path| path.as_path() != relative).map(show).collect())
    }

    /// Whether a destination below the backup directory is in the volume itself, so that a snapshot holds it.
    pub fn holds(&self, base: &Base, destination: &Path) -> bool {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(base, destination, flags, Mode::empty(), resolve)
            .is_ok_and(|found| same_subvolume(found, &self.root).unwrap_or(false))
    }
}

/// Each subvolume has a device number of its own, and each file system another one.
fn same_subvolume(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    Ok(fstat(one)?.st_dev == fstat(other)?.st_dev)
}

fn open_beneath(directory: BorrowedFd<'_>, part: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(directory, part, flags, Mode::empty(), resolve)
}
