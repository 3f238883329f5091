//! Snapshots by the built program on a real btrfs volume.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;
#[path = "support/volume.rs"]
mod volume;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::{Body, SnapshotAction};
use backup_common::status::Status;
use backup_testkit::btrfs::unmount;
use backup_testkit::process;
use support::{Site, host};
use volume::{EACH, Server, TWO};

#[test]
#[ignore = "needs root: mounts a loop device"]
fn ten_runs_with_a_failed_one_among_them() {
    let server = Server::new(256);
    let (a, b) = (server.site.source("a", &[("f", "")]), server.site.source("b", &[("f", "")]));
    server.configure("", &(host("a", "", &a) + &host("b", "", &b)), TWO);
    for run in 0..10 {
        // Of another length each time: rsync's quick check goes by size and whole seconds.
        fs::write(a.join("f"), "x".repeat(run)).unwrap();
        fs::write(b.join("f"), "x".repeat(run)).unwrap();
        if run == 7 {
            fs::rename(&b, server.site.path("away")).unwrap();
        }
        let time = format!("2031-05-{:02} {:02}:00:00", 1 + run / 6, run % 6 * 4);
        let output = server.backup_at(&time, &[]);
        assert_eq!(output.code, if run == 7 { 10 } else { 0 }, "{output:?}");
        if run == 7 {
            fs::rename(server.site.path("away"), &b).unwrap();
            let records = server.records();
            assert_eq!(records[0].missing, [format!("b:{}", b.display())]);
            assert_eq!((records[0].action, records[0].complete), (SnapshotAction::Created, Some(false)));
            // Of the four hourly ones none goes in this run, and the incomplete one pushes out none later.
            assert_eq!(server.told(SnapshotAction::Deleted), [] as [String; 0]);
        }
    }
    assert_eq!(
        server.minutes(),
        [
            "daily_2031-05-01_000000",
            "daily_2031-05-02_000000",
            "hourly_2031-05-02_000000",
            "hourly_2031-05-02_040000_incomplete",
            "hourly_2031-05-02_080000",
            "hourly_2031-05-02_120000",
        ]
    );
    println!("{}", server.volume.btrfs(&["subvolume", "list", "-s", "-r", "."]).stdout);
    let content = |name: &str, host: &str| {
        fs::metadata(server.snapshots().join(name).join("backup").join(host).join("data/f")).unwrap().len()
    };
    assert_eq!(content("daily_2031-05-01_000000", "a"), 0);
    assert_eq!(content("hourly_2031-05-02_040000_incomplete", "a"), 7);
    assert_eq!(content("hourly_2031-05-02_040000_incomplete", "b"), 6);
    assert_eq!(content("hourly_2031-05-02_120000", "b"), 9);
    let inside = server.snapshots().join("daily_2031-05-01_000000/x");
    assert_eq!(fs::write(inside, "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::metadata(server.snapshots()).unwrap().mode() & 0o7777, 0o700);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn snapshots_of_the_older_script_count_and_strangers_stay() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), TWO);
    for hour in ["00", "04", "08", "12"] {
        server.snapshot(&format!("hourly_2031-05-01_{hour}0000"));
    }
    // Same names as the script's, and none of them is ours to delete.
    let strangers = [
        "hourly_2031-04-01_000000",
        "hourly_2031-04-02_000000",
        "hourly_2031-04-03_000000",
        "weekly_2031-01-01_000000",
    ];
    server.volume.btrfs(&["-q", "subvolume", "snapshot", ".", &format!(".snapshots/{}", strangers[0])]);
    fs::create_dir(server.snapshots().join(strangers[1])).unwrap();
    let other = server.volume.subvolume("other");
    server.volume.btrfs(&[
        "-q",
        "subvolume",
        "snapshot",
        "-r",
        "other",
        &format!(".snapshots/{}", strangers[2]),
    ]);
    server.snapshot(strangers[3]);
    symlink(
        server.snapshots().join("hourly_2031-05-01_000000"),
        server.snapshots().join("hourly_2031-04-04_000000"),
    )
    .unwrap();

    let output = server.backup_at("2031-05-01 15:30:00", &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(server.told(SnapshotAction::NotDue), ["hourly_2031-05-01_120000"]);
    assert_eq!(server.told(SnapshotAction::Deleted), ["hourly_2031-05-01_000000"]);
    assert_eq!(
        server.minutes(),
        [
            "daily_2031-05-01_153000",
            "hourly_2031-04-01_000000",
            "hourly_2031-04-02_000000",
            "hourly_2031-04-03_000000",
            "hourly_2031-04-04_000000",
            "hourly_2031-05-01_040000",
            "hourly_2031-05-01_080000",
            "hourly_2031-05-01_120000",
            "weekly_2031-01-01_000000",
        ]
    );
    for stranger in &strangers[..3] {
        assert!(output.stderr.contains(stranger), "{}", output.stderr);
    }
    assert!(!output.stderr.contains("weekly"), "{}", output.stderr);
    assert!(output.stderr.contains(&other.display().to_string()), "a nested subvolume: {}", output.stderr);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_destination_in_a_nested_subvolume_is_missing() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &(host("flat", "", &source) + &host("nested", "", &source)), EACH);
    server.volume.subvolume("backup/nested");
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(server.minutes(), ["each_2031-05-01_000000_incomplete"]);
    assert_eq!(server.records()[0].missing, [format!("nested:{}", source.display())]);
    assert!(output.stderr.contains("/volume/backup/nested;"), "{}", output.stderr);
    assert_eq!(
        fs::read_dir(server.snapshots().join(&server.names()[0]).join("backup/nested")).unwrap().count(),
        0
    );
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_taken_name_gets_a_number() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    // Ten seconds in which a slow machine may reach the snapshot.
    fs::create_dir(server.snapshots()).unwrap();
    for second in 0..10 {
        fs::create_dir(server.snapshots().join(format!("each_2031-05-01_00000{second}"))).unwrap();
    }
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.code, 0, "{output:?}");
    let created = server.told(SnapshotAction::Created);
    assert!(created.len() == 1 && created[0].ends_with("_2"), "{created:?}");
    assert_eq!(
        fs::read_to_string(server.snapshots().join(&created[0]).join("backup/h/data/f")).unwrap(),
        "1"
    );
    assert_eq!(fs::read_dir(server.snapshots().join("each_2031-05-01_000000")).unwrap().count(), 0);
}

/// Backs up and returns the message of the snapshot that failed; the backup itself must be good.
fn refused(server: &Server) -> String {
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.code, 3, "{output:?}");
    let records = server.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].action, SnapshotAction::Failed);
    let Body::RunFinished(finished) = server.site.records().pop().unwrap().body else { panic!("no end") };
    assert_eq!((finished.status, finished.paths), (Status::Warning, [(Status::Success, 1)].into()));
    let message = records[0].message.clone().unwrap();
    assert!(output.stdout.contains(&message), "{}", output.stdout);
    message
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn what_is_no_fit_directory_is_refused_and_the_backup_is_kept() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    let (directory, elsewhere) = (server.snapshots(), server.site.path("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();

    symlink(&elsewhere, &directory).unwrap();
    assert!(refused(&server).contains("a part of it is a symlink"));
    fs::remove_file(&directory).unwrap();

    fs::write(&directory, "").unwrap();
    assert!(refused(&server).contains("is not a directory"));
    fs::remove_file(&directory).unwrap();

    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused(&server).contains("others can write to it"));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();

    let mounted = process::run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&directory));
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let message = refused(&server);
    unmount(&directory);
    assert!(message.contains("on another file system"), "{message}");

    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert_eq!(server.minutes(), [] as [String; 0]);
    assert_eq!(server.backup_at("2031-05-01 01:00:00", &[]).code, 0);
    assert_eq!(server.minutes(), ["each_2031-05-01_010000"]);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn what_is_no_fit_volume_is_refused_and_the_backup_is_kept() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    let volume = |path: &str| {
        server.configure("  require_mount: false", &host("h", "", &source), EACH);
        let file = server.site.path("backup.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let own = format!("\n  volume: {}\n", server.volume.path().display());
        fs::write(&file, text.replace(&own, &format!("\n  volume: {path}\n"))).unwrap();
        refused(&server)
    };
    let own = server.volume.path().display();
    assert!(volume(&server.site.path("base").display().to_string()).contains("it is not on btrfs"));
    assert!(volume(&format!("{own}/backup")).contains("it is a plain directory"));
    server.volume.subvolume("other");
    assert!(volume(&format!("{own}/other")).contains("would not hold"));
    assert!(volume(&format!("{own}/missing")).contains("No such file"));
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_run_of_chosen_hosts_is_incomplete_and_deletes_nothing() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    let off = host("off", "enabled: false", &source);
    server.configure("", &(host("a", "", &source) + &host("b", "", &source) + &off), EACH);
    for hour in 0..4 {
        server.snapshot(&format!("each_2031-05-01_0{hour}0000"));
    }
    assert_eq!(server.backup_at("2031-05-01 04:00:00", &["--host", "a"]).code, 0);
    assert_eq!(
        server.records()[0].missing,
        [format!("b:{}", source.display())],
        "a host that is off is not missed"
    );
    assert_eq!(server.told(SnapshotAction::Kept), ["each_2031-05-01_000000", "each_2031-05-01_010000"]);
    assert_eq!(server.backup_at("2031-05-01 05:00:00", &[]).code, 0);
    assert_eq!(
        server.minutes(),
        ["each_2031-05-01_030000", "each_2031-05-01_040000_incomplete", "each_2031-05-01_050000"]
    );
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn before_the_transfers_the_last_state_is_taken() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), &format!("when: before\n  {EACH}"));
    assert_eq!(server.backup_at("2031-05-01 00:00:00", &[]).code, 0);
    fs::write(source.join("f"), "the second").unwrap();
    assert_eq!(server.backup_at("2031-05-01 01:00:00", &[]).code, 0);
    fs::rename(&source, server.site.path("away")).unwrap();
    assert_eq!(server.backup_at("2031-05-01 02:00:00", &[]).code, 10);
    fs::rename(server.site.path("away"), &source).unwrap();
    assert_eq!(server.backup_at("2031-05-01 03:00:00", &[]).code, 0);
    // Nothing was there at first, and the third run left a failed path behind.
    assert_eq!(
        server.minutes(),
        [
            "each_2031-05-01_000000_incomplete",
            "each_2031-05-01_010000",
            "each_2031-05-01_020000",
            "each_2031-05-01_030000_incomplete",
        ]
        .map(str::to_owned)[1..]
    );
    let content =
        |name: &str| fs::read_to_string(server.snapshots().join(name).join("backup/h/data/f")).unwrap();
    assert_eq!(content("each_2031-05-01_010000"), "1");
    assert_eq!(content("each_2031-05-01_020000"), "the second");
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_volume_that_is_not_mounted_gets_nothing() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    server.volume.unmount();
    fs::create_dir(server.volume.path().join("backup")).unwrap();
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.code, 12, "{output:?}");
    assert_eq!(fs::read_dir(server.volume.path().join("backup")).unwrap().count(), 0);
    assert_eq!(server.minutes(), [] as [String; 0]);
    assert_eq!(server.site.types(), ["run_refused"]);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_read_only_volume_fails_with_its_reason_and_records() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    assert_eq!(server.backup_at("2031-05-01 00:00:00", &[]).code, 0);
    fs::write(source.join("g"), "2").unwrap();
    server.volume.remount("ro");
    let output = server.backup_at("2031-05-01 01:00:00", &[]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(server.site.verdict("h", &source), (Status::Failed, Reason::ReadOnly));
    let records = server.records();
    assert_eq!((records.len(), records[0].action), (1, SnapshotAction::Failed));
    let message = records[0].message.as_deref().unwrap();
    assert!(
        message.contains("Read-only file system") && message.contains("remount it read-write"),
        "{message}"
    );
    server.volume.remount("rw");
    assert_eq!(server.backup_at("2031-05-01 02:00:00", &[]).code, 0);
    assert_eq!(server.minutes(), ["each_2031-05-01_000000", "each_2031-05-01_020000"]);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_mount_that_lets_setuid_programs_work_is_warned_about() {
    let server = Server::new(256);
    let source = server.site.source("src", &[("f", "1")]);
    server.configure("", &host("h", "", &source), EACH);
    assert!(!server.backup_at("2031-05-01 00:00:00", &[]).stderr.contains("is mounted without"));
    server.volume.remount("nosuid,dev");
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.stderr.matches("is mounted without nodev:").count(), 1, "{}", output.stderr);
    server.volume.remount("suid,dev");
    let output = server.backup_at("2031-05-01 00:00:00", &[]);
    assert_eq!(output.stderr.matches("is mounted without nosuid,nodev:").count(), 1, "{}", output.stderr);
    assert_eq!(output.code, 0);
    // The command that it names does what it says.
    let remedy = output.stderr.split("for now: ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(process::run(Command::new("sh").args(["-c", remedy])).code, 0, "{remedy}");
    assert!(!server.backup_at("2031-05-01 00:00:00", &[]).stderr.contains("is mounted without"));
}

#[test]
fn without_snapshots_in_the_configuration_nothing_is_told_of_them() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    assert!(!site.types().contains(&"snapshot"));
}
