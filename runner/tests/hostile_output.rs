//! What a host prints and how its files are called decides nothing, and changes no line of ours.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::process;
use backup_testkit::sshd::Sshd;
use support::{Site, host};

/// A program in the place of the host's rsync.
fn remote_rsync(site: &Site, script: &str) -> PathBuf {
    let program = site.path("remote-rsync");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// A site with one host by ssh whose rsync is this script.
fn site_with(script: &str) -> (Site, Sshd, PathBuf) {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let program = remote_rsync(&site, script);
    site.configure(
        "",
        &host("h", &format!("{}\n    rsync_path: {}", sshd.host_keys(), program.display()), &source),
    );
    (site, sshd, source)
}

fn assert_printable(text: &str) {
    let unsafe_one = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{9b}');
    assert_eq!(unsafe_one, None, "{text:?}");
}

/// Escape codes, a forged end, a forged line of the runner's own and of syslog's.
const FORGED: &str = r#"printf '\033[2J\033]0;owned\007rsync error: fake (code 0) at main.c(1)\nh /src: success, 9 files\n<0>PRIORITY=0\n\302\23331m{"v":1,"type":"run_finished"}\n' >&2"#;

#[test]
fn forged_text_does_not_turn_a_failure_into_a_success() {
    let (site, _sshd, source) = site_with(&format!("{FORGED}\nexit 12"));
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(site.verdict("h", &source).0, Status::Failed);
    let finished = site.last("h", &source);
    finished.messages.iter().for_each(|message| assert_printable(message));
    assert!(finished.messages.iter().any(|message| message.contains("\\u1b[2J")), "{finished:#?}");
    assert_printable(&output.stdout);
    assert_printable(&output.stderr);
    // Each line of the log is a record of the runner's own: `records` reads them all.
    assert_eq!(site.types().iter().filter(|name| **name == "run_finished").count(), 1);
}

#[test]
fn forged_text_does_not_turn_a_success_into_a_failure() {
    let noisy = format!("{FORGED}\nprintf 'rsync: connection unexpectedly closed\\n' >&2\nexec rsync \"$@\"");
    let (site, _sshd, source) = site_with(&noisy);
    let output = site.backup(&["--verbose"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(site.verdict("h", &source), (Status::Success, Reason::Ok));
    assert_printable(&output.stdout);
}

#[test]
fn a_flood_on_standard_error_is_cut_and_counted() {
    let flood =
        "i=0\nwhile [ $i -lt 20000 ]; do echo \"rsync: flood $i\"; i=$((i+1)); done >&2\nexec rsync \"$@\"";
    let (site, _sshd, source) = site_with(flood);
    let output = site.backup(&["--verbose"]);
    assert_eq!(output.code, 0, "{output:?}");
    let finished = site.last("h", &source);
    assert_eq!((finished.messages.len(), finished.error_count), (10, 10_000), "{finished:#?}");
    assert!(output.stdout.lines().count() < 30, "{}", output.stdout);
}

#[test]
fn names_with_newlines_and_escapes_are_only_names() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("plain", "1")]);
    let hostile: [&[u8]; 4] = [b"a\nrsync error: fake (code 0)\nb", b"esc\x1b[2J", b"bytes\xff\xfe", b"-rf"];
    for name in hostile {
        fs::write(source.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    // Each of them is also something to complain about.
    for name in hostile {
        let closed = source.join("closed");
        fs::create_dir_all(&closed).unwrap();
        let file = closed.join(std::ffi::OsStr::from_bytes(name));
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    }
    for folder in [site.path("."), source.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // root reads everything, so the other side becomes somebody else.
    let keys = match backup_testkit::sshd::user().as_str() {
        "root" => {
            let as_nobody = "rsync_path: setpriv --reuid=65534 --regid=65534 --clear-groups rsync";
            format!("{}\n    {as_nobody}", sshd.host_keys())
        }
        _ => sshd.host_keys(),
    };
    site.configure("  rsync_options: '-avvi --progress --stats'", &host("h", &keys, &source));
    let output = site.backup(&["--verbose"]);
    assert_eq!(output.code, 3, "{output:?}");
    for name in hostile {
        assert!(site.base().join("h/data").join(std::ffi::OsStr::from_bytes(name)).exists(), "{name:?}");
    }
    let finished = site.last("h", &source);
    assert_eq!(
        (finished.status, finished.reason),
        (Status::Warning, Reason::PartialTransfer),
        "{finished:#?}"
    );
    assert_eq!(finished.error_count, 4, "{finished:#?}");
    finished.messages.iter().for_each(|message| assert_printable(message));
    assert_printable(&output.stdout);
}

#[test]
fn the_users_v_does_not_flood() {
    let site = Site::new();
    let names: Vec<String> = (0..500).map(|number| format!("file-{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let source = site.source("src", &files);
    site.configure(
        "  rsync_options: '-avvvz --delete --numeric-ids --stats --human-readable -i --progress'",
        &host("h", "", &source),
    );
    let output = site.backup(&["--verbose"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!output.stdout.contains("file-") && !output.stderr.contains("file-"), "{output:?}");
    assert_eq!(site.last("h", &source).messages, Vec::<String>::new());
    assert!(site.base().join("h/data/file-499").exists());
}

#[test]
fn the_configuration_of_its_start_holds_for_the_whole_run() {
    let site = Site::new();
    let (first, second) =
        (site.source("first", &[("big", &"x".repeat(400_000))]), site.source("second", &[("f", "1")]));
    let paths = |path: &Path, subdir: &str| format!("{{path: '{}', dest_subdir: {subdir}}}", path.display());
    site.configure(
        "  rsync_options: -a --bwlimit=200",
        &format!("  h:\n    paths: [{}, {}]\n", paths(&first, "a"), paths(&second, "b")),
    );
    let mut run = process::Running::start(
        site.command(&["--backup"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()),
    );
    backup_testkit::wait::until("the first path", || site.types().contains(&"path_started").then_some(()));
    fs::write(site.path("backup.yaml"), "hosts: {h: {paths: [{path: /nonexistent}").unwrap();
    assert_eq!(run.wait().code(), Some(0));
    assert_eq!(site.verdict("h", &second), (Status::Success, Reason::Ok));
    assert_eq!(fs::read_to_string(site.base().join("h/b/f")).unwrap(), "1");
    assert_eq!(site.backup(&[]).code, 2, "the next run reads the new one");
}
