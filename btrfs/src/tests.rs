#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use backup_testkit::btrfs::Volume;

use super::*;

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

#[test]
fn a_plain_directory_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_subvolume(open(folder.path())).unwrap());
    assert!(subvolume(open(folder.path())).is_err());
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_snapshot_is_made_told_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::make(folder.path(), 128);
    fs::create_dir(volume.path().join("snapshots")).unwrap();
    fs::write(volume.path().join("file"), "old").unwrap();
    let (source, directory) = (open(volume.path()), open(&volume.path().join("snapshots")));
    assert!(is_subvolume(&source).unwrap() && !is_subvolume(&directory).unwrap());
    create_snapshot(&directory, &source, "a").unwrap();
    fs::write(volume.path().join("file"), "new").unwrap();
    create_snapshot(&directory, &source, "b").unwrap();
    assert_eq!(create_snapshot(&directory, &source, "b").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(create_snapshot(&directory, &source, "../c").unwrap_err().kind(), ErrorKind::InvalidFilename);

    let path = volume.path().join("snapshots/a");
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "old");
    assert_eq!(fs::write(path.join("x"), "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    let (whole, a) = (subvolume(&source).unwrap(), subvolume(open(&path)).unwrap());
    let b = subvolume(open(&volume.path().join("snapshots/b"))).unwrap();
    assert!(a.read_only && !whole.read_only);
    assert_eq!((a.parent_uuid, b.parent_uuid), (whole.uuid, whole.uuid));
    assert!(a.transaction < b.transaction && a.created <= b.created);
    // As the program for people tells it.
    let shown = volume.btrfs(&["subvolume", "show", "snapshots/a"]).stdout;
    let uuid = format!("{:032x}", u128::from_be_bytes(a.uuid));
    assert!(shown.replace('-', "").contains(&uuid), "{shown}");
    assert!(shown.contains(&a.id.to_string()) && shown.contains(&a.transaction.to_string()), "{shown}");
    assert_eq!(filesystem(&source).unwrap(), filesystem(open(&path)).unwrap());

    delete_subvolume(&source, a.id).unwrap();
    assert!(!path.exists() && volume.path().join("snapshots/b").exists());
    assert!(delete_subvolume(&source, a.id).is_err());
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn nested_subvolumes_are_listed_beyond_the_first_255() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::make(folder.path(), 256);
    volume.subvolume("one");
    volume.subvolume("x/y/two");
    volume.subvolume("one/inner");
    let directory = volume.path().join("snapshots");
    fs::create_dir(&directory).unwrap();
    let source = open(volume.path());
    assert_eq!(nested(&source, None).unwrap(), [Path::new("one"), Path::new("x/y/two")]);
    for number in 0..260 {
        create_snapshot(open(&directory), &source, &format!("{number:03}")).unwrap();
    }
    let inode = fstat(open(&directory)).unwrap().st_ino;
    assert_eq!(nested(&source, Some(inode)).unwrap(), [Path::new("one"), Path::new("x/y/two")]);
    assert_eq!(nested(&source, None).unwrap().len(), 262);
}
