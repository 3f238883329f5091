//! Snapshots when processes are killed, power fails and a block is bad; all with the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;
#[path = "support/volume.rs"]
mod volume;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::Record;
use backup_common::status::Status;
use backup_testkit::btrfs::Volume;
use backup_testkit::noise::noise;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::host;
use volume::{EACH, Server};

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
    assert_eq!(server.end(), (Status::Failed, Reason::Interrupted));
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
