//! The scan of btrfs trees beside `du` and `find`, after each step of random histories.
//!
//! `SIZES_ROUNDS`, `SIZES_STEPS` and `SIZES_SEED` make them longer; the seed of each is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/history.rs"]
mod history;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_sizes::btrfs::{Measured, Method, Volume};
use backup_testkit::btrfs::Volume as Btrfs;
use backup_testkit::process::run;
use backup_testkit::wait;
use history::History;
use support::{asked, figures, setting};

const HOMES: [&str; 4] = ["one", "two", "three/inner", "four"];
const WEEK: Duration = Duration::from_secs(7 * 86400);

/// `three` holds another one that is measured.
fn wanted() -> Vec<PathBuf> {
    ["one", "two", "three", "three/inner", "four", "missing", "one/../two"].map(PathBuf::from).into()
}

fn settle(volume: &Path) {
    assert_eq!(run(Command::new("sync").arg("-f").arg(volume)).code, 0);
}

fn agrees(volume: &Path, measured: &Measured, what: &str) {
    for (path, totals) in wanted().iter().zip(&measured.totals) {
        let at = volume.join(path);
        match totals {
            Some(totals) => assert_eq!(figures(totals), asked(&at), "{what}: {}", path.display()),
            None => {
                assert!(
                    !at.is_dir() || path.starts_with("one/.."),
                    "{what}: {} is not found",
                    path.display()
                );
            }
        }
    }
}

fn at_rest(seed: u64, steps: u64, options: &str) -> u64 {
    println!("seed {seed}, {steps} steps, mount options {options}");
    let btrfs = Btrfs::temporary_with(512, options);
    let mut history = History::new(btrfs.path(), &HOMES, seed);
    let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
    for step in 0..steps {
        let operations = *history.chance.of(&[1, 3, 10, 40]);
        history.step(operations);
        if history.chance.below(4) == 0 {
            history.subvolume();
        }
        if history.chance.below(15) == 0 {
            btrfs.unmount();
            btrfs.mount(options);
        }
        settle(btrfs.path());
        let what = format!("seed {seed} step {step}");
        let measured = volume.measure(&wanted(), false).unwrap();
        assert_eq!(measured.method, if step == 0 { Method::Full } else { Method::Incremental });
        agrees(btrfs.path(), &measured, &what);
        if step % 10 == 9 {
            let full = Volume::new(btrfs.path().to_owned(), WEEK).measure(&wanted(), true).unwrap();
            assert_eq!(full.totals, measured.totals, "{what}");
            let compared = volume.measure(&wanted(), true).unwrap();
            assert_eq!((compared.method, compared.differences), (Method::Full, Some(0)), "{what}");
        }
    }
    history.operations
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn random_histories_agree_with_du_at_each_step() {
    let (rounds, seed) = (setting("SIZES_ROUNDS", 3), setting("SIZES_SEED", 1));
    let mut operations = 0;
    for round in 0..rounds {
        let options = ["defaults", "compress=zstd", "nodatacow"][usize::try_from(round % 3).unwrap()];
        operations += at_rest(seed + round, setting("SIZES_STEPS", 25), options);
    }
    println!("{rounds} rounds, {operations} operations");
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn a_reader_beside_writers_agrees_at_rest() {
    let (rounds, seed) = (setting("SIZES_ROUNDS", 2), setting("SIZES_SEED", 100));
    let (mut operations, mut scans) = (0, 0);
    for round in 0..rounds {
        println!("seed {}", seed + round);
        let btrfs = Btrfs::temporary(1024);
        let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
        for rest in 0..setting("SIZES_RESTS", 4) {
            let ended = AtomicBool::new(false);
            operations += std::thread::scope(|scope| {
                let writers: Vec<_> = (0..2)
                    .map(|writer| {
                        let path = btrfs.path();
                        scope.spawn(move || {
                            let mut history =
                                History::new(path, &HOMES, (seed + round) * 1000 + rest * 10 + writer);
                            for _ in 0..setting("SIZES_BURSTS", 8) {
                                history.step(40);
                                history.subvolume();
                            }
                            history.operations
                        })
                    })
                    .collect();
                let reader = scope.spawn(|| {
                    let mut scans = 0;
                    while !ended.load(Ordering::Relaxed) {
                        volume.measure(&wanted(), scans % 13 == 12).unwrap();
                        scans += 1;
                    }
                    scans
                });
                let done: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
                ended.store(true, Ordering::Relaxed);
                scans += reader.join().unwrap();
                done
            });
            settle(btrfs.path());
            let measured = volume.measure(&wanted(), false).unwrap();
            agrees(btrfs.path(), &measured, &format!("seed {} rest {rest}", seed + round));
            // The kernel may still clear away a deleted subvolume; then the two scans are not compared.
            let differences = wait::until("two scans of the same state", || {
                volume.measure(&wanted(), false).unwrap();
                volume.measure(&wanted(), true).unwrap().differences
            });
            assert_eq!(differences, 0);
        }
    }
    println!("{rounds} rounds, {operations} operations, {scans} scans beside them");
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn a_volume_comes_goes_and_is_another_one() {
    let first = Btrfs::temporary(256);
    fs::create_dir(first.path().join("one")).unwrap();
    fs::write(first.path().join("one/file"), vec![1; 100_000]).unwrap();
    let mut volume = Volume::new(first.path().to_owned(), WEEK);
    let measure = |volume: &mut Volume| volume.measure(&["one".into()], false);
    assert_eq!(measure(&mut volume).unwrap().totals[0].unwrap().entries(), 2);
    first.unmount();
    let error = measure(&mut volume).unwrap_err();
    assert!(error.to_string().ends_with("it is not on btrfs"), "{error}");

    // Another file system in the same place is not taken for the first.
    let second = Btrfs::temporary(256);
    fs::create_dir(second.path().join("one")).unwrap();
    assert_eq!(run(Command::new("mount").arg("--bind").arg(second.path()).arg(first.path())).code, 0);
    let measured = measure(&mut volume).unwrap();
    assert_eq!((measured.method, measured.totals[0].unwrap().entries()), (Method::Full, 1));
    first.unmount();
    first.mount("ro");
    assert_eq!(measure(&mut volume).unwrap().totals[0].unwrap().entries(), 2, "also when it is read-only");

    // One that was put back to an earlier state is read anew.
    let image = tempfile::tempdir().unwrap();
    let copy = image.path().join("image");
    drop(second);
    first.unmount();
    let put = |from: &Path, to: &Path| assert_eq!(run(Command::new("cp").arg(from).arg(to)).code, 0);
    put(first.image(), &copy);
    first.mount("defaults");
    for number in 0..20 {
        fs::write(first.path().join(format!("one/{number}")), "more").unwrap();
        settle(first.path());
    }
    assert_eq!(measure(&mut volume).unwrap().totals[0].unwrap().entries(), 22);
    first.unmount();
    put(&copy, first.image());
    first.mount("defaults");
    let measured = measure(&mut volume).unwrap();
    assert_eq!((measured.method, measured.totals[0].unwrap().entries()), (Method::Full, 2));
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn an_interval_brings_a_full_scan() {
    let btrfs = Btrfs::temporary(256);
    let mut volume = Volume::new(btrfs.path().to_owned(), Duration::ZERO);
    for _ in 0..2 {
        assert_eq!(volume.measure(&["".into()], false).unwrap().method, Method::Full);
    }
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn a_directory_is_told_before_other_subvolumes_are_read() {
    let btrfs = Btrfs::temporary(256);
    let [inner, other] = ["one/inner", "two"].map(|name| btrfs.subvolume(name));
    fs::create_dir(btrfs.path().join("three")).unwrap();
    for directory in [&inner, &other] {
        fs::write(directory.join("file"), "x").unwrap();
    }
    settle(btrfs.path());
    let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
    let directories = ["", "two", "missing", "one/inner", "one"].map(PathBuf::from);
    for round in 0..3u64 {
        let mut told = Vec::new();
        let measured = volume.measure_each(&directories, round == 1, &mut |found| {
            told.push((found.index, found.totals.map(|totals| totals.entries())));
            // What comes now is seen in all that is still to be read, and in nothing that is told already.
            let (new, value) = (format!("told{round}{}", found.index), "x".repeat(5000));
            fs::write(other.join(&new), &value).unwrap();
            fs::write(btrfs.path().join("three").join(&new), &value).unwrap();
            settle(btrfs.path());
        });
        let totals = measured.unwrap().totals;
        let before: u64 = 5 * round;
        // The missing one at once, then the subvolumes, then what reaches across all of them.
        assert_eq!(told[0], (2, None));
        assert_eq!(told[1], (3, Some(2)), "one/inner");
        assert_eq!(told[2], (1, Some(2 + before + 2)), "two");
        assert_eq!(told[3].0, 0);
        assert_eq!(told[4], (4, Some(3)), "one, with the subvolume in it");
        // In the uppermost: itself, one, three, what is in inner and two, and in three what was told by then.
        assert_eq!(told[3].1, Some(3 + 2 + (2 + before + 2) + before + 3), "round {round}");
        for (index, entries) in told {
            assert_eq!(totals[index].map(|totals| totals.entries()), entries);
        }
    }
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn more_links_than_one_item_holds_are_counted() {
    let btrfs = Btrfs::temporary(256);
    let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
    let one = btrfs.path().join("one");
    fs::create_dir(&one).unwrap();
    fs::write(one.join("file"), vec![1; 10_000]).unwrap();
    volume.measure(&["one".into()], false).unwrap();
    for number in 0..300 {
        fs::hard_link(one.join("file"), one.join(format!("{number}{}", "l".repeat(200)))).unwrap();
    }
    for left in [300, 200, 1] {
        for number in left..300 {
            let _ = fs::remove_file(one.join(format!("{number}{}", "l".repeat(200))));
        }
        settle(btrfs.path());
        for full in [false, true] {
            let totals = volume.measure(&["one".into()], full).unwrap().totals[0].unwrap();
            assert_eq!(figures(&totals), asked(&one), "{left} full {full}");
        }
    }
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn a_mass_of_changes_is_read_in_full() {
    let btrfs = Btrfs::temporary(512);
    let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
    let many = |name: &str| {
        let directory = btrfs.path().join(name);
        fs::create_dir(&directory).unwrap();
        for number in 0..25_000 {
            fs::File::create(directory.join(number.to_string())).unwrap();
        }
        settle(btrfs.path());
    };
    volume.measure(&["one".into()], false).unwrap();
    many("one");
    let totals = volume.measure(&["one".into()], false).unwrap().totals[0].unwrap();
    assert_eq!(figures(&totals), asked(&btrfs.path().join("one")));
    many("two");
    run(Command::new("rm").arg("-r").arg(btrfs.path().join("one")));
    settle(btrfs.path());
    let measured = volume.measure(&["one".into(), "two".into()], false).unwrap();
    assert_eq!(measured.totals[0], None);
    assert_eq!(figures(&measured.totals[1].unwrap()), asked(&btrfs.path().join("two")));
}

#[test]
#[ignore = "needs root: mounts a btrfs and reads its trees"]
fn depth_and_long_names_are_added_up() {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    const LEVELS: u64 = 4096;
    let btrfs = Btrfs::temporary(256);
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(btrfs.path(), flags, Mode::empty()).unwrap();
    let name = "d".repeat(255);
    for _ in 0..LEVELS {
        mkdirat(&here, name.as_str(), Mode::RWXU).unwrap();
        here = openat(&here, name.as_str(), flags, Mode::empty()).unwrap();
    }
    drop(here);
    settle(btrfs.path());
    let mut volume = Volume::new(btrfs.path().to_owned(), WEEK);
    let measured = volume.measure(&["".into(), name.clone().into()], false).unwrap();
    assert_eq!(figures(&measured.totals[0].unwrap()), asked(btrfs.path()));
    assert_eq!(measured.totals[1].unwrap().entries(), LEVELS);
    fs::rename(btrfs.path().join(&name), btrfs.path().join("moved")).unwrap();
    settle(btrfs.path());
    let measured = volume.measure(&["moved".into(), name.into()], false).unwrap();
    assert_eq!(measured.totals[0].unwrap().entries(), LEVELS);
    assert_eq!(measured.totals[1], None);
}
