//! A volume that is frozen in the middle of a transfer (fsfreeze(8)), as a storage's own snapshot tool does it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;
#[path = "support/volume.rs"]
mod volume;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_common::reason::Reason;
use backup_common::record::SnapshotAction;
use backup_common::status::Status;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::host;
use volume::{EACH, Server};

/// A frozen volume; it is thawed when this is dropped, and by a process of its own whatever becomes of the test.
struct Frozen {
    path: PathBuf,
    /// Killed when it is no longer needed.
    _timer: Running,
}

impl Frozen {
    /// Nothing that writes to a frozen volume can be ended, so the timer runs before the freeze.
    fn freeze(path: &Path) -> Self {
        let script = "trap '' TERM HUP; sleep 50; exec fsfreeze --unfreeze \"$0\"";
        let timer = Running::start(
            Command::new("setsid")
                .args(["sh", "-c", script])
                .arg(path)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let frozen = Self { path: path.to_owned(), _timer: timer };
        let output = process::run(Command::new("fsfreeze").arg("--freeze").arg(path));
        assert_eq!(output.code, 0, "{output:?}");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        process::run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.path));
    }
}

#[test]
#[ignore = "needs root: freezes a loop-mounted volume"]
fn a_frozen_volume_is_reported_while_it_is_frozen_and_the_run_ends_after_the_thaw() {
    let server = Server::new(256);
    let site = &server.site;
    let source = site.source("src", &[]);
    fs::write(source.join("big"), vec![7; 30 << 20]).unwrap();
    let there = site.source("there", &[("f", "1")]);
    let stuck = host("stuck", "rsync_options: --bwlimit=2000\n    io_timeout: 6", &source);
    server.configure("  parallel: 2", &(host("before", "", &there) + &stuck), EACH);
    let mut run = Running::start(site.command(&["--backup"]).stdout(Stdio::null()));
    let destination = server.volume.path().join("backup/stuck/data");
    wait::until("data of the host", || {
        let arriving = fs::read_dir(&destination).ok()?.next()?.ok()?.metadata().ok()?;
        (arriving.len() > 0 && site.types().iter().filter(|name| **name == "path_finished").count() == 1)
            .then_some(())
    });
    let frozen = Frozen::freeze(server.volume.path());
    // The log is on another file system: that the path is given up is known while the volume stands still.
    wait::until("the end of the path", || (site.finished().len() == 2).then_some(()));
    assert_eq!(site.verdict("stuck", &source), (Status::Failed, Reason::Timeout));
    assert_eq!(site.verdict("before", &there), (Status::Success, Reason::Ok));
    assert!(run.is_running(), "the snapshot waits for the volume");
    drop(frozen);
    assert_eq!(run.wait().code(), Some(10));
    let created = server.told(SnapshotAction::Created);
    assert!(created.len() == 1 && created[0].ends_with("_incomplete"), "{created:?}");
    // The next run is whole: no rsync is left that holds the lock, and no part of a file.
    server.configure("", &(host("before", "", &there) + &host("stuck", "", &source)), EACH);
    let output = wait::until("the lock", || Some(site.backup(&[])).filter(|output| output.code != 11));
    assert_eq!(output.code, 0, "{output:?}");
    let names: Vec<_> = fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["big"]);
}
