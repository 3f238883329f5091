//! The walk beside `du` and `find`, and against what a hostile tree can hold.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_sizes::walk::{Options, Walk, WalkError, walk};
use backup_testkit::btrfs::{Volume, unmount};
use backup_testkit::process::run;
use backup_testkit::wait;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use support::{Chance, asked, figures};

fn walked(directory: &Path, threads: usize) -> backup_sizes::walk::Walked {
    walk(directory, Path::new(""), Options { threads, idle: false }).unwrap()
}

/// A tree of all kinds of entries.
fn plant(root: &Path, seed: u64) {
    let mut chance = Chance::new(seed);
    let mut directories = vec![root.to_owned()];
    let mut files = Vec::new();
    for number in 0..600 {
        let above = chance.of(&directories).clone();
        let at = above.join(format!("{}{number}", "n".repeat(usize::try_from(chance.below(200)).unwrap())));
        match chance.below(10) {
            0..2 => {
                fs::create_dir(&at).unwrap();
                directories.push(at);
            }
            2 => symlink("/", &at).unwrap(),
            3 => File::create(&at).unwrap().set_len(chance.below(1 << 40)).unwrap(),
            4 if !files.is_empty() => fs::hard_link(chance.of(&files), &at).unwrap(),
            _ => {
                fs::write(&at, vec![7; usize::try_from(chance.below(20_000)).unwrap()]).unwrap();
                files.push(at);
            }
        }
    }
}

#[test]
fn a_tree_counts_as_du_and_find_say() {
    // /tmp and /dev/shm are different file systems on most machines.
    for parent in [std::env::temp_dir(), "/dev/shm".into()] {
        let root = tempfile::tempdir_in(parent).unwrap();
        plant(root.path(), 1);
        run(Command::new("sync").arg("-f").arg(root.path()));
        for threads in [1, 8] {
            let found = walked(root.path(), threads);
            assert_eq!(figures(&found.totals), asked(root.path()));
            assert_eq!(found.unreadable, 0);
        }
    }
}

#[test]
#[ignore = "needs root: mounts a btrfs"]
fn btrfs_counts_as_du_says_without_its_snapshots() {
    let volume = Volume::temporary(256);
    let kept = volume.path().join("kept");
    let btrfs = |arguments: &[&str], at: &[&Path]| {
        let output = run(Command::new("btrfs").args(arguments).args(at));
        assert_eq!(output.code, 0, "{}", output.stderr);
    };
    btrfs(&["subvolume", "create"], &[&kept]);
    plant(&kept, 2);
    btrfs(&["subvolume", "create"], &[&kept.join("nested")]);
    plant(&kept.join("nested"), 3);
    run(Command::new("sync").arg("-f").arg(volume.path()));
    let before = asked(volume.path());
    assert_eq!(figures(&walked(volume.path(), 4).totals), before);
    btrfs(&["subvolume", "snapshot", "-r"], &[&kept, &volume.path().join("taken")]);
    run(Command::new("sync").arg("-f").arg(volume.path()));
    let after = walked(volume.path(), 4);
    assert_eq!(after.totals.entries(), before.entries, "the snapshot is left out");
    assert_eq!(figures(&walked(&kept, 4).totals), asked(&kept));
}

/// 4,096 levels of 255 bytes, with something to come back to at each of them: far beyond what a path
/// can say, and more directories than may be open.
#[test]
fn depth_costs_neither_stack_nor_descriptors() {
    const LEVELS: u64 = 4096;
    let root = tempfile::tempdir().unwrap();
    let name = "d".repeat(255);
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(root.path(), flags, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        for at in [name.as_str(), "aside"] {
            mkdirat(&here, at, Mode::RWXU).unwrap();
        }
        here = openat(&here, name.as_str(), flags, Mode::empty()).unwrap();
    }
    drop(here);
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    for (threads, files) in [(1, before.current), (8, before.current), (4, Some(256))] {
        rustix::process::setrlimit(
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit { current: files, maximum: before.maximum },
        )
        .unwrap();
        let found = walked(root.path(), threads);
        assert_eq!((found.totals.directories, found.unreadable), (2 * LEVELS + 1, 0), "{threads} {files:?}");
    }
    rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
    assert_eq!(run(Command::new("rm").arg("-rf").arg(root.path())).code, 0);
    assert!(!root.path().exists());
}

#[test]
fn nothing_is_followed_or_opened_but_directories() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("inside");
    fs::create_dir(&inside).unwrap();
    symlink("loop", inside.join("loop")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    symlink("/", inside.join("everything")).unwrap();
    // Opening a pipe without a writer would wait for ever.
    run(Command::new("mkfifo").arg(inside.join("pipe")));
    run(Command::new("mknod").arg(inside.join("device")).args(["c", "1", "3"]));
    let found = walked(root.path(), 2);
    assert_eq!(figures(&found.totals), asked(root.path()));
    assert_eq!(found.unreadable, 0);

    // Nor is the directory itself reached through a link below the base.
    symlink(&inside, root.path().join("link")).unwrap();
    for relative in ["link", "link/x", "../x"] {
        let error = walk(root.path(), Path::new(relative), Options::default()).unwrap_err();
        assert!(matches!(error, WalkError::Open(..)), "{error}");
    }
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn no_mount_is_crossed() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), 4);
    let before = walked(root.path(), 2).totals;
    for (at, options) in [("a", ["-t", "tmpfs", "none"]), ("b", ["--bind", "/usr", ""])] {
        let at = root.path().join(at);
        fs::create_dir(&at).unwrap();
        let arguments = options.iter().filter(|option| !option.is_empty());
        assert_eq!(run(Command::new("mount").args(arguments).arg(&at)).code, 0);
    }
    let during = walked(root.path(), 2);
    for at in ["a", "b"] {
        unmount(&root.path().join(at));
        fs::remove_dir(root.path().join(at)).unwrap();
    }
    // The mount points themselves belong to what is mounted.
    assert_eq!(during.totals.entries(), before.entries());
    assert_eq!(during.unreadable, 0);
}

#[test]
fn a_directory_that_becomes_a_link_during_the_walk_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    plant(outside.path(), 5);
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("changing");
    let ended = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (at, outside, ended) = (at.clone(), outside.path().to_owned(), Arc::clone(&ended));
        move || {
            while !ended.load(Ordering::Relaxed) {
                fs::create_dir(&at).unwrap();
                fs::remove_dir(&at).unwrap();
                symlink(&outside, &at).unwrap();
                fs::remove_file(&at).unwrap();
            }
        }
    });
    let mut most = 0;
    for _ in 0..3000 {
        let found = walked(root.path(), 1);
        most = most.max(found.totals.entries());
        assert_eq!(found.unreadable, 0);
    }
    ended.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    // A listing may hold the name twice when it is removed and made again meanwhile.
    assert!((1..=3).contains(&most), "{most} entries: the link was followed");
}

#[test]
fn what_vanishes_during_the_walk_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (root, ended) = (root.path().to_owned(), Arc::clone(&ended));
        move || {
            let mut chance = Chance::new(6);
            while !ended.load(Ordering::Relaxed) {
                let at = root.join(format!("{}/{}", chance.below(9), chance.below(99)));
                if chance.below(30) == 0 {
                    let _ = fs::remove_dir_all(at.parent().unwrap());
                } else {
                    let _ = fs::create_dir(at.parent().unwrap());
                    let _ = fs::write(at, "content");
                }
            }
        }
    });
    for _ in 0..300 {
        assert_eq!(walked(root.path(), 4).unreadable, 0);
    }
    ended.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(figures(&walked(root.path(), 4).totals), asked(root.path()));
}

#[test]
#[ignore = "needs root: walks as another user"]
fn what_can_not_be_read_is_counted() {
    use std::os::unix::process::CommandExt;
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("closed/inside")).unwrap();
    for (at, mode) in [("closed", 0o700), ("", 0o755)] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(root.path().join(at), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(fs::metadata(root.path()).unwrap().uid(), 0);
    // The same test program as nobody, which finds its way by the variable.
    let program = std::env::current_exe().unwrap();
    let copy = tempfile::tempdir().unwrap();
    run(Command::new("chmod").arg("755").arg(copy.path()));
    let copied = copy.path().join("walk");
    fs::copy(program, &copied).unwrap();
    let output = run(Command::new(&copied)
        .args(["--exact", "as_somebody_else", "--ignored", "--nocapture"])
        .env("WALK", root.path())
        .uid(65534)
        .gid(65534));
    assert!(output.stdout.contains("directories=1 unreadable=1"), "{output:?}");
}

#[test]
#[ignore = "needs root: is a part of `what_can_not_be_read_is_counted`"]
fn as_somebody_else() {
    if let Some(root) = std::env::var_os("WALK") {
        let found = walked(Path::new(&root), 2);
        println!("directories={} unreadable={}", found.totals.directories, found.unreadable);
    }
}

#[test]
fn a_walk_that_takes_too_long_is_left() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), 7);
    let slow = Walk::start(Path::new("/"), Path::new(""), Options { threads: 2, idle: true }).unwrap();
    assert!(matches!(slow.wait(Duration::ZERO), Err(WalkError::TimedOut(..))));
    slow.cancel();
    wait::until("the threads to end", || (!slow.is_alive()).then_some(()));
    assert!(walked(root.path(), 2).totals.entries() > 100);
}

/// At whatever instant the volume goes: all of it is counted, or none.
#[test]
#[ignore = "needs root: mounts a btrfs"]
fn a_volume_is_unmounted_in_the_middle_of_a_walk() {
    let btrfs = Volume::temporary(512);
    let root = btrfs.path().join("tree");
    for seed in 2..14 {
        let part = root.join(seed.to_string());
        fs::create_dir_all(&part).unwrap();
        plant(&part, seed);
    }
    run(Command::new("sync").arg("-f").arg(btrfs.path()));
    let expected = asked(&root);
    let in_the_middle = (0..30).filter(|_| {
        let (walked, in_the_middle) = std::thread::scope(|scope| {
            let walking = scope.spawn(|| walk(&root, Path::new(""), Options { threads: 2, idle: false }));
            assert_eq!(run(Command::new("umount").arg("--lazy").arg(btrfs.path())).code, 0);
            let in_the_middle = !walking.is_finished();
            (walking.join().unwrap(), in_the_middle)
        });
        if let Ok(walked) = walked {
            assert_eq!((&figures(&walked.totals), walked.unreadable), (&expected, 0));
        }
        btrfs.mount("defaults");
        in_the_middle
    });
    assert!(in_the_middle.count() > 0);
    assert_eq!(figures(&walked(&root, 2).totals), expected);
}
