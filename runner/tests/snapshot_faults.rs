//! Snapshots when disks fill up, clocks jump, power fails and processes are killed; all with the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;
#[path = "support/volume.rs"]
mod volume;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::{Body, Record, SnapshotAction};
use backup_common::status::Status;
use backup_testkit::btrfs::Volume;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::host;
use volume::{EACH, Server};

/// Bytes that do not compress, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

/// The end of the last run.
fn end(server: &Server) -> (Status, Reason) {
    let Body::RunFinished(finished) = server.site.records().pop().unwrap().body else { panic!("no end") };
    assert!(finished.duration_seconds >= 0.0);
    (finished.status, finished.reason)
}

fn free(server: &Server) -> u64 {
    let output = process::run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(server.volume.path()));
    output.stdout.split_whitespace().map(|number| number.parse::<u64>().unwrap()).product()
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_full_volume_keeps_its_snapshots_and_gets_an_incomplete_one() {
    let server = Server::new(200);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    for hour in 0..4 {
        server.snapshot(&format!("each_2031-05-01_0{hour}0000"));
    }
    fs::write(source.join("big"), noise(300 << 20)).unwrap();
    let output = server.backup_at("2031-05-01 05:00:00", &[]);
    assert_eq!(output.code, 10, "{output:?}");
    let finished = server.site.last("h", &source);
    assert_eq!(
        (finished.status, finished.reason, finished.exit_code),
        (Status::Failed, Reason::NoSpace, Some(11))
    );
    assert_eq!(server.told(SnapshotAction::Created), ["each_2031-05-01_050000_incomplete"]);
    assert_eq!(server.told(SnapshotAction::Deleted), [] as [String; 0]);
    assert_eq!(server.told(SnapshotAction::Kept), ["each_2031-05-01_000000", "each_2031-05-01_010000"]);
    let message = server.records().pop().unwrap().message.unwrap();
    assert!(message.contains("failed (no_space) in this run"), "{message}");
    fs::remove_file(source.join("big")).unwrap();
    assert_eq!(server.backup_at("2031-05-01 06:00:00", &[]).code, 0);
    assert_eq!(
        server.names(),
        ["each_2031-05-01_030000", "each_2031-05-01_050000_incomplete", "each_2031-05-01_060000"]
    );
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn full_metadata_has_its_reason_and_loses_no_snapshot() {
    let server = Server::new(128);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    server.snapshot("each_2031-05-01_000000");
    // Attributes are kept in the metadata; whole blocks use up the rest.
    let filler = server.volume.path().join("filler");
    fs::create_dir(&filler).unwrap();
    let attribute = noise(15_000);
    let mut block = File::create(filler.join("blocks")).unwrap();
    let mut count = 0;
    let fill = |number: u32| {
        let file = File::create(filler.join(number.to_string()))?;
        rustix::fs::fsetxattr(&file, "user.filler", &attribute, rustix::fs::XattrFlags::CREATE)?;
        Ok::<_, std::io::Error>(())
    };
    while fill(count).is_ok() {
        count += 1;
    }
    println!("{count} attributes, {} bytes free", free(&server));
    while block.write_all(&noise(64 << 10)).and_then(|()| block.sync_data()).is_ok() {}
    drop(block);
    println!("{} bytes free\n{}", free(&server), server.volume.btrfs(&["filesystem", "df", "."]).stdout);
    for number in 0..500 {
        fs::write(source.join(format!("new{number}")), "1").unwrap();
    }
    let output = server.backup_at("2031-05-01 01:00:00", &[]);
    assert_eq!(
        (output.code, server.site.verdict("h", &source)),
        (10, (Status::Failed, Reason::NoSpace)),
        "{output:?}"
    );
    assert!(server.names().contains(&"each_2031-05-01_000000".to_owned()));
    assert_eq!(server.told(SnapshotAction::Deleted), [] as [String; 0]);
    // Room again, as the remedy says, and the snapshots go on.
    for name in server.names().iter().filter(|name| name.ends_with("_incomplete")) {
        server.volume.btrfs(&["-q", "subvolume", "delete", &format!(".snapshots/{name}")]);
    }
    fs::remove_dir_all(&filler).unwrap();
    server.volume.btrfs(&["filesystem", "sync", "."]);
    server.volume.btrfs(&["subvolume", "sync", "."]);
    wait::until("room on the volume", || (free(&server) > 4 << 20).then_some(()));
    for hour in 2..5 {
        let output = server.backup_at(&format!("2031-05-01 0{hour}:00:00"), &[]);
        assert_eq!(output.code, 0, "{output:?}");
    }
    assert_eq!(server.told(SnapshotAction::Deleted).len(), 1, "{:?}", server.records());
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn min_free_holds_while_files_are_transferred() {
    let server = Server::new(512);
    let source = server.site.source("src", &[]);
    fs::write(source.join("big"), noise(64 << 20)).unwrap();
    let small = server.site.source("small", &[("f", "1")]);
    // At half a MiB each second the first host needs two minutes, and the second waits for it.
    let slow = host("slow", "rsync_options: --bwlimit=512", &source);
    server.configure("  parallel: 1\n  min_free: 200 MiB", &(slow + &host("then", "", &small)), EACH);
    let mut run = Running::start(server.site.command(&["--backup"]).stdout(Stdio::null()));
    wait::until("the transfer to begin", || server.site.types().contains(&"path_started").then_some(()));
    let taken = free(&server) - (150 << 20);
    let filler = server.volume.path().join("filler");
    let made = process::run(Command::new("fallocate").arg("-l").arg(taken.to_string()).arg(&filler));
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(run.wait().code(), Some(10));
    assert_eq!(server.site.verdict("slow", &source), (Status::Failed, Reason::NoSpace));
    let finished = server.site.last("slow", &source);
    assert!(
        finished.messages.iter().any(|message| message.contains("min_free asks for 200 MiB")),
        "{finished:?}"
    );
    assert_eq!(server.site.last("then", &small).attempts, 0, "no path begins any more");
    assert_eq!(server.site.verdict("then", &small), (Status::Failed, Reason::NoSpace));
    assert_eq!(end(&server), (Status::Failed, Reason::NoSpace));
    let created = server.told(SnapshotAction::Created);
    assert!(created.len() == 1 && created[0].ends_with("_incomplete"), "{created:?}");
    // And before the next run, as ever.
    assert_eq!(server.site.backup(&[]).code, 12);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_clock_that_is_set_back_deletes_nothing() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    for hour in 0..3 {
        assert_eq!(server.backup_at(&format!("2031-05-01 1{hour}:00:00"), &[]).code, 0);
    }
    assert_eq!(server.names(), ["each_2031-05-01_110000", "each_2031-05-01_120000"]);
    // More than wanted, so that there would be something to delete; the newest of them is not from the future.
    for time in ["090000", "093000", "113000"] {
        server.snapshot(&format!("each_2031-05-01_{time}"));
    }
    let output = server.backup_at("2031-05-01 11:40:00", &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(server.told(SnapshotAction::Created), ["each_2031-05-01_114000"]);
    assert_eq!(server.told(SnapshotAction::Deleted), [] as [String; 0]);
    let kept: Vec<_> =
        server.records().into_iter().filter(|record| record.action == SnapshotAction::Kept).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(kept[0].message.as_deref().unwrap().contains("dated in the future"), "{kept:?}");
    let words = "the clock was set back: the last record before this run is of 2031-05-01T12:00:";
    assert!(kept[1..].iter().all(|record| record.message.as_deref().unwrap().starts_with(words)), "{kept:?}");
    assert_eq!(server.names().len(), 6);
    // When the clock is right again, the order is that in which they were made.
    assert_eq!(server.backup_at("2031-05-01 14:00:00", &[]).code, 0);
    assert_eq!(server.names(), ["each_2031-05-01_114000", "each_2031-05-01_140000"]);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_clock_ten_years_ahead_does_not_stop_later_snapshots() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    for time in ["2031-05-01 10:00:00", "2041-05-01 11:00:00", "2031-05-01 12:00:00"] {
        assert_eq!(server.backup_at(time, &[]).code, 0);
    }
    // The first run with the right clock finds the newest snapshot in the future, and deletes nothing.
    assert_eq!(server.told(SnapshotAction::Kept), ["each_2041-05-01_110000"]);
    for time in ["2031-05-01 13:00:00", "2031-05-01 14:00:00"] {
        assert_eq!(server.backup_at(time, &[]).code, 0);
        assert_eq!(server.told(SnapshotAction::Kept), ["each_2041-05-01_110000"]);
        let kept = server.records().into_iter().find(|record| record.action == SnapshotAction::Kept).unwrap();
        assert!(kept.message.unwrap().contains("dated in the future"));
    }
    assert_eq!(
        server.names(),
        ["each_2031-05-01_130000", "each_2031-05-01_140000", "each_2041-05-01_110000"]
    );
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_clock_that_is_set_during_the_run_deletes_nothing() {
    let server = Server::new(256);
    let source = server.site.source("src", &[]);
    fs::write(source.join("big"), noise(4 << 20)).unwrap();
    server.configure("", &host("h", "rsync_options: --bwlimit=1024", &source), EACH);
    for hour in 0..4 {
        server.snapshot(&format!("each_2021-05-01_0{hour}0000"));
    }
    let library = process::run(Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"])).stdout;
    let clock = server.site.path("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = server.site.command(&["--backup"]);
    command.env("LD_PRELOAD", library.trim()).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").stdout(Stdio::null());
    let mut run = Running::start(&mut command);
    wait::until("the transfer to begin", || server.site.types().contains(&"path_started").then_some(()));
    fs::write(&clock, "+86400").unwrap();
    assert_eq!(run.wait().code(), Some(0));
    assert_eq!(server.told(SnapshotAction::Deleted), [] as [String; 0]);
    let kept = server.records().pop().unwrap();
    assert_eq!(kept.action, SnapshotAction::Kept);
    let message = kept.message.unwrap();
    assert!(
        message.starts_with("the clock was set forward by ") && message.contains("during this run"),
        "{message}"
    );
    assert_eq!(server.names().len(), 5);
    assert_eq!(end(&server).0, Status::Success);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn killed_between_any_two_steps_the_next_run_heals() {
    let server = Server::new(512);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    let mut made = 0;
    let mut cuts = 0;
    for call in ["mkdirat", "ioctl", "openat2", "getdents64", "write"] {
        for number in 1.. {
            // Two more than wanted, so that each run has a snapshot to take and two or three to delete.
            while server.names().iter().filter(|name| !name.ends_with("_incomplete")).count() < 4 {
                made += 1;
                server.snapshot(&format!(
                    "each_2021-05-01_{:02}{:02}{:02}",
                    made / 3600,
                    made / 60 % 60,
                    made % 60
                ));
            }
            if call == "mkdirat" {
                for name in server.names() {
                    server.volume.btrfs(&["-q", "subvolume", "delete", &format!(".snapshots/{name}")]);
                }
                fs::remove_dir(server.snapshots()).unwrap();
            }
            let runner = server.site.command(&["--backup"]);
            let mut strace = Command::new("strace");
            strace.args(["-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={number}")]);
            strace.arg(runner.get_program()).args(runner.get_args());
            let killed = process::run(&mut strace).code != 0;
            cuts += u32::from(killed);
            // Whatever is there is whole: read-only, readable, and never without a complete one that was there.
            let listed = server.volume.btrfs(&["subvolume", "list", "-r", "."]).stdout.lines().count();
            assert_eq!(listed, server.names().len(), "{call} {number}: {:?}", server.names());
            let complete = server.names().iter().filter(|name| !name.ends_with("_incomplete")).count();
            assert!(complete >= 2 || call == "mkdirat", "{call} {number}: {:?}", server.names());
            // rsync may have outlived the killed runner for a moment, and holds the lock then.
            let output =
                wait::until("the lock", || Some(server.site.backup(&[])).filter(|output| output.code != 11));
            assert_eq!(output.code, 0, "{call} {number}: {output:?}");
            if call != "mkdirat" {
                assert_eq!(
                    server.names().len(),
                    2,
                    "{call} {number}: {:?} {:#?}",
                    server.names(),
                    server.records()
                );
            }
            if !killed {
                break;
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 20, "{cuts}");
    // A line that was cut costs itself alone.
    let text = fs::read_to_string(server.site.path("stats.log")).unwrap();
    assert!(text.lines().all(|line| Record::decode(line.as_bytes()).is_ok()));
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_run_that_is_stopped_takes_no_snapshot_and_the_next_one_does() {
    let server = Server::new(256);
    let source = server.site.source("src", &[]);
    fs::write(source.join("big"), noise(64 << 20)).unwrap();
    server.configure("  rsync_options: -a --bwlimit=512", &host("h", "", &source), EACH);
    let mut run = Running::start(server.site.command(&["--backup"]).stdout(Stdio::null()));
    wait::until("the transfer to begin", || server.site.types().contains(&"path_started").then_some(()));
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
    assert_eq!(server.names(), [] as [String; 0]);
    assert_eq!(end(&server), (Status::Failed, Reason::Interrupted));
    server.configure("", &host("h", "", &source), EACH);
    assert_eq!(server.site.backup(&[]).code, 0);
    assert_eq!(server.names().len(), 1);
}

/// Overwrites a part of `content` wherever it stands in the image of an unmounted volume.
fn damage(image: &Path, content: &[u8]) {
    let bytes = fs::read(image).unwrap();
    let file = File::options().write(true).open(image).unwrap();
    let mut found = 0;
    for at in (0..bytes.len() - content.len()).step_by(4096) {
        if bytes[at..].starts_with(content) {
            file.write_all_at(&vec![0xa5; content.len()], u64::try_from(at).unwrap()).unwrap();
            found += 1;
        }
    }
    assert!(found > 0, "the content is not in the image");
    file.sync_all().unwrap();
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_bad_block_on_the_source_is_named_and_makes_the_snapshot_incomplete() {
    let server = Server::new(256);
    let folder = tempfile::tempdir().unwrap();
    let disk = Volume::make(folder.path(), 128);
    let source = disk.path().join("data");
    fs::create_dir(&source).unwrap();
    let content = noise(64 << 10);
    fs::write(source.join("bad"), &content).unwrap();
    fs::write(source.join("good"), "1").unwrap();
    disk.unmount();
    damage(disk.image(), &content[..4096]);
    disk.mount("ro");
    server.configure("", &host("h", "", &source), EACH);
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.code, 3, "{output:?}");
    let finished = server.site.last("h", &source);
    assert_eq!((finished.reason, finished.exit_code), (Reason::PartialTransfer, Some(23)));
    let messages = finished.messages.join("\n");
    assert!(messages.contains("/bad") && messages.contains("Input/output error"), "{messages}");
    assert_eq!(server.names(), ["each_2031-05-01_000000_incomplete"]);
    assert_eq!(fs::read_to_string(server.volume.path().join("backup/h/data/good")).unwrap(), "1");
}

/// What a machine finds when its power failed while the volume was in use.
fn check_after_power_cut(server: &Server, cut: usize) -> usize {
    let names = server.names();
    let complete: Vec<_> = names.iter().filter(|name| !name.ends_with("_incomplete")).collect();
    for name in &complete {
        // Each run writes its own number of bytes to both, so a complete snapshot has two of a kind.
        let length = |host: &str| {
            let file = server.snapshots().join(name).join("backup").join(host).join("data/f");
            fs::read(&file).unwrap_or_else(|error| panic!("cut {cut}: {}: {error}", file.display())).len()
        };
        assert_eq!(length("a"), length("b"), "cut {cut}: {name}");
    }
    // Every line of the log is whole, but for the last one.
    let log = fs::read(server.volume.path().join("stats.log")).unwrap_or_default();
    let lines: Vec<_> = log.split(|byte| *byte == b'\n').collect();
    for line in &lines[..lines.len() - 1] {
        assert!(Record::decode(line).is_ok(), "cut {cut}: {}", String::from_utf8_lossy(line));
    }
    complete.len()
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn after_a_power_cut_every_complete_snapshot_is_whole() {
    const CUTS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let outer = Volume::make(folder.path(), 2048);
    // The inner volume's image is a file of the outer one, so that a reflink of it is what a disk holds at one moment:
    // what was synced is there, and what was only in memory is not.
    let image = outer.path().join("disk.img");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    assert_eq!(process::run(Command::new("mkfs.btrfs").arg("-q").arg(&image)).code, 0);
    let site = support::Site::new();
    let server = Server { volume: Volume::of_image(&image, &site.path("volume"), "nosuid,nodev"), site };
    fs::create_dir(server.volume.path().join("backup")).unwrap();
    let (a, b) = (server.site.source("a", &[("f", "")]), server.site.source("b", &[("f", "")]));
    server.configure("", &(host("a", "", &a) + &host("b", "", &b)), EACH);
    let config = server.site.path("backup.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let log = |path: &Path| format!("stats_file: {}\n", path.join("stats.log").display());
    fs::write(&config, text.replace(&log(&server.site.path(".")), &log(server.volume.path()))).unwrap();

    let (mut cuts, mut runs) = (0, 0_usize);
    while cuts < CUTS {
        runs += 1;
        for source in [&a, &b] {
            fs::write(source.join("f"), noise(runs * 1000)).unwrap();
        }
        let mut run = Running::start(server.site.command(&["--backup"]).stdout(Stdio::null()));
        // A few in each run, at another distance from its beginning each time.
        for _ in 0..runs {
            if !run.is_running() || cuts == CUTS {
                break;
            }
            let copy = outer.path().join(format!("cut{cuts}.img"));
            let copied = process::run(Command::new("cp").arg("--reflink=always").arg(&image).arg(copy));
            assert_eq!(copied.code, 0, "{}", copied.stderr);
            cuts += 1;
        }
        assert_eq!(run.wait().code(), Some(0));
    }
    println!("{cuts} cuts in {runs} runs");
    assert!(runs > 2, "the cuts fall into {runs} runs only");

    // The copies have the same uuid, so only one of them is mounted at a time.
    let Server { volume, site } = server;
    volume.unmount();
    drop(volume);
    let (mut site, mut seen) = (site, 0);
    for cut in 0..cuts {
        let copy = outer.path().join(format!("cut{cut}.img"));
        let server = Server { volume: Volume::of_image(&copy, &site.path("volume"), "nosuid,nodev"), site };
        seen += check_after_power_cut(&server, cut);
        fs::create_dir_all(server.volume.path().join("backup")).unwrap();
        let output = server.site.backup(&[]);
        assert_eq!(output.code, 0, "cut {cut}: {output:?}");
        let left = server.names();
        assert!(
            left.len() <= 2 && left.iter().all(|name| !name.ends_with("_incomplete")),
            "cut {cut}: {left:?}"
        );
        check_after_power_cut(&server, cut);
        site = server.site;
    }
    assert!(seen > 0, "no cut shows a snapshot");
}
