//! Snapshots when disks fill up and clocks jump; all with the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;
#[path = "support/volume.rs"]
mod volume;

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::SnapshotAction;
use backup_common::status::Status;
use backup_testkit::noise::noise;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::host;
use volume::{EACH, Server};

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
        server.minutes(),
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
    assert_eq!(server.end(), (Status::Failed, Reason::NoSpace));
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
    assert_eq!(server.minutes(), ["each_2031-05-01_110000", "each_2031-05-01_120000"]);
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
    assert_eq!(server.minutes(), ["each_2031-05-01_114000", "each_2031-05-01_140000"]);
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
        server.minutes(),
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
    assert_eq!(server.end().0, Status::Success);
}
