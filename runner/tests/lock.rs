//! One run at a time, whoever starts how many, and whatever stands in the place of the lock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_testkit::process::{self, Output, Running};
use backup_testkit::wait;
use support::{Site, host};

const STARTS: usize = 50;

#[test]
fn of_fifty_starts_at_once_exactly_one_runs() {
    let site = Site::new();
    // Far more than can be transferred before the last of them has tried.
    let source = site.source("src", &[("big", &"x".repeat(30_000_000))]);
    site.configure("", &host("h", "rsync_options: --bwlimit=100", &source));
    let start = |_| {
        Running::start(
            site.command(&["--backup"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
        )
    };
    let mut all: Vec<Running> = (0..STARTS).map(start).collect();
    wait::until("all but one to end", || {
        let running = all.iter_mut().map(Running::is_running).filter(|running| *running).count();
        (running <= 1).then_some(())
    });
    let mut codes = Vec::new();
    for run in &mut all {
        if run.is_running() {
            run.signal("TERM");
        }
        codes.push(run.wait().code());
    }
    codes.sort_unstable();
    assert_eq!(codes[..STARTS - 1], vec![Some(11); STARTS - 1]);
    assert_eq!(codes[STARTS - 1], Some(143));
    let records = site.records();
    let refused = records.iter().filter(|record| match &record.body {
        Body::RunRefused(refused) => {
            assert_eq!(refused.reason, Reason::Locked);
            true
        }
        _ => false,
    });
    assert_eq!(refused.count(), STARTS - 1);
    let count = |name: &str| site.types().into_iter().filter(|found| *found == name).count();
    assert_eq!((count("run_started"), count("path_started"), count("run_finished")), (1, 1, 1));
}

/// A backup where something stands in the place of the lock; what it was must be there afterwards.
fn with_lock(make: impl FnOnce(&Path)) -> (Site, Output) {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    make(&site.path("lock"));
    let before = fs::symlink_metadata(site.path("lock")).unwrap();
    let output = site.backup(&[]);
    let after = fs::symlink_metadata(site.path("lock")).unwrap();
    let told = |found: &fs::Metadata| (found.ino(), found.mode(), found.uid(), found.size());
    assert_eq!(told(&after), told(&before));
    (site, output)
}

fn assert_refused(site: &Site, output: &Output) {
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stdout.contains("cannot lock "), "{output:?}");
    assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0, "nothing was backed up");
    assert_eq!(site.types(), ["run_refused"]);
}

#[test]
fn what_is_no_lock_file_is_refused_and_left_alone() {
    let victim = tempfile::NamedTempFile::new().unwrap();
    fs::write(victim.path(), "kept").unwrap();
    let makers: [&dyn Fn(&Path); 5] = [
        &|lock| symlink(victim.path(), lock).unwrap(),
        &|lock| symlink("/nonexistent/lock", lock).unwrap(),
        &|lock| fs::create_dir(lock).unwrap(),
        &|lock| assert_eq!(process::run(Command::new("mkfifo").arg(lock)).code, 0),
        &|lock| {
            std::os::unix::net::UnixListener::bind(lock).unwrap();
        },
    ];
    for make in makers {
        let (site, output) = with_lock(make);
        assert_refused(&site, &output);
    }
    assert_eq!(fs::read_to_string(victim.path()).unwrap(), "kept");
}

#[test]
fn what_stands_in_a_lock_file_is_never_changed() {
    let (site, output) = with_lock(|lock| fs::write(lock, "somebody's words").unwrap());
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(site.path("lock")).unwrap(), "somebody's words");
}

#[test]
#[ignore = "needs root: it makes files of other users"]
fn a_lock_file_of_another_user_is_refused() {
    let (site, output) = with_lock(|lock| {
        fs::write(lock, "").unwrap();
        std::os::unix::fs::chown(lock, Some(65534), Some(65534)).unwrap();
    });
    assert_refused(&site, &output);
    assert!(output.stdout.contains("not a regular file of this user"), "{output:?}");
}

#[test]
#[ignore = "needs root: it makes files of other users"]
fn another_user_who_holds_a_lock_in_tmp_is_named_as_the_cause_and_not_waited_for() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &host("h", "", &source));
    let everybodys = tempfile::Builder::new().prefix("lock").tempdir_in("/tmp").unwrap();
    fs::set_permissions(everybodys.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let lock = everybodys.path().join("backup.fil");
    let text = fs::read_to_string(site.path("backup.yaml")).unwrap();
    fs::write(
        site.path("backup.yaml"),
        text.replace(&site.path("lock").display().to_string(), &lock.display().to_string()),
    )
    .unwrap();
    // flock becomes sleep, so that nothing is left when it is killed.
    let mut holder = Command::new("setpriv");
    holder.args(["--reuid=65534", "--regid=65534", "--clear-groups", "flock", "--no-fork"]);
    let holder = Running::start(holder.arg(&lock).args(["sleep", "600"]).stdout(Stdio::null()));
    // Asked before it is there, flock would make the file as root.
    wait::until("the other user's file", || lock.exists().then_some(()));
    wait::until("the other user's lock", || {
        let tried = process::run(Command::new("flock").arg("-n").arg(&lock).arg("true"));
        (tried.code != 0).then_some(())
    });
    let output = site.backup(&[]);
    drop(holder);
    assert_refused(&site, &output);
}
