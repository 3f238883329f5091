//! Backups by the built program, with real rsync and a real ssh server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use backup_common::reason::Reason;
use backup_common::record::{Body, Trigger};
use backup_common::status::Status;
use backup_testkit::process::free_port;
use backup_testkit::sshd::Sshd;
use support::{Site, host};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_failing_host_does_not_stop_the_others() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let (here, there) = (site.source("here", &[("a/b", "local")]), site.source("there", &[("c", "remote")]));
    let gone = site.path("gone");
    site.configure(
        "",
        &[
            host(
                "away",
                &format!("ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}", free_port()),
                &here,
            ),
            host("here", "", &here),
            host("server1", &sshd.host_keys(), &there),
            host("server2", &sshd.host_keys(), &gone),
        ]
        .concat(),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(fs::read_to_string(site.base().join("here/data/a/b")).unwrap(), "local");
    assert_eq!(fs::read_to_string(site.base().join("server1/data/c")).unwrap(), "remote");
    assert_eq!(site.verdict("here", &here), (Status::Success, Reason::Ok));
    assert_eq!(site.verdict("server1", &there), (Status::Success, Reason::Ok));
    assert_eq!(site.verdict("away", &here), (Status::Failed, Reason::ConnectionRefused));
    assert_eq!(site.verdict("server2", &gone), (Status::Failed, Reason::SourceMissing));

    let records = site.records();
    let Body::RunStarted(started) = &records[0].body else { panic!("{records:#?}") };
    assert_eq!((started.trigger, started.hosts, started.paths), (Trigger::Manual, 4, 4));
    let Body::RunFinished(finished) = &records.last().unwrap().body else { panic!("{records:#?}") };
    assert_eq!(finished.status, Status::Failed);
    assert_eq!(finished.paths, [(Status::Success, 2), (Status::Failed, 2)].into());
    assert!(records.iter().all(|record| record.run_id == records[0].run_id));
    assert_eq!(site.types().iter().filter(|name| **name == "host_finished").count(), 4);
    assert!(
        output.stdout.contains("Start the ssh server on the host"),
        "the remedy is shown: {}",
        output.stdout
    );
}

#[test]
fn figures_are_exact_whatever_the_options_say() {
    let site = Site::new();
    let source = site.source("src", &[("big", &"x".repeat(1_234_567)), ("small", "y")]);
    site.configure(
        "  rsync_options: '-avz -h --delete --stats --human-readable --progress -i'",
        &host("h", "", &source),
    );
    assert_eq!(site.backup(&[]).code, 0);
    let stats = site.last("h", &source).stats.unwrap();
    assert_eq!((stats.source_size_bytes, stats.transferred_size_bytes), (1_234_568, 1_234_568));
    assert_eq!((stats.files, stats.files_transferred), (3, 2));
    assert_eq!(stats.literal_bytes + stats.matched_bytes, 1_234_568);

    fs::remove_file(source.join("small")).unwrap();
    assert_eq!(site.backup(&[]).code, 0);
    let stats = site.last("h", &source).stats.unwrap();
    assert_eq!((stats.files_deleted, stats.files_transferred), (1, 0));
}

#[test]
fn options_of_all_three_levels_and_the_exclude_file_are_used() {
    let site = Site::new();
    let source =
        site.source("src", &[("keep", "1"), ("a.tmp", "2"), ("b.log", "3"), ("c d", "4"), ("e.bak", "5")]);
    let excludes = site.path("excludes.txt");
    fs::write(&excludes, "*.bak\n").unwrap();
    site.configure(
        "  rsync_options: [-a, --exclude=*.tmp]",
        &format!(
            "  h:\n    rsync_options: --exclude *.log\n    paths: [{{path: {}, dest_subdir: d, exclude_file: {}, rsync_options: \"--exclude 'c d'\"}}]",
            source.display(),
            excludes.display()
        ),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let names: Vec<_> =
        fs::read_dir(site.base().join("h/d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["keep"]);
}

#[test]
fn ownership_is_made_plain_or_kept() {
    let site = Site::new();
    let source = site.source("src", &[("tool", "x"), ("closed/file", "y")]);
    fs::set_permissions(source.join("tool"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    let kept = host("kept", "preserve_ownership: true", &source);
    site.configure("", &(host("plain", "", &source) + &kept));
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let (plain, kept) = (site.base().join("plain/data"), site.base().join("kept/data"));
    assert_eq!((mode(&plain.join("tool")), mode(&plain.join("closed"))), (0o644, 0o755));
    assert_eq!((mode(&kept.join("tool")), mode(&kept.join("closed"))), (0o4750, 0o700));
    // So that the temporary directory can be removed by anybody.
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn names_with_spaces_quotes_and_wildcards_are_taken_literally() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let odd = site.source("we[i]rd* $(id) \"q\"", &[("f", "1")]);
    site.source("weird other", &[("g", "2")]);
    site.configure("", &(host("remote", &sshd.host_keys(), &odd) + &host("local", "", &odd)));
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    for name in ["remote", "local"] {
        let found: Vec<_> = fs::read_dir(site.base().join(name).join("data"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(found, ["f"], "{name}");
    }
}

#[test]
fn ssh_failures_are_told_apart() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let keys = sshd.host_keys();
    let own_key = sshd.key().display().to_string();
    let known = sshd.known_hosts().display().to_string();
    let empty = site.path("empty").display().to_string();
    fs::write(&empty, "").unwrap();
    let changed = site.path("changed").display().to_string();
    let other_key = fs::read_to_string(sshd.other_key().with_extension("pub")).unwrap();
    fs::write(&changed, format!("[127.0.0.1]:{} {other_key}", sshd.port())).unwrap();
    let cases = [
        ("auth", keys.replace(&own_key, &sshd.other_key().display().to_string()), Reason::AuthFailed),
        ("unknown", keys.replace(&known, &empty), Reason::HostKeyUnknown),
        ("changed", keys.replace(&known, &changed), Reason::HostKeyChanged),
        ("name", keys.replace("127.0.0.1", "host.invalid"), Reason::NameNotFound),
        ("missing", format!("{keys}\n    rsync_path: /nonexistent/rsync"), Reason::RsyncMissing),
    ];
    let hosts: String = cases.iter().map(|(name, keys, _)| host(name, keys, &source)).collect();
    site.configure("", &hosts);
    assert_eq!(site.backup(&[]).code, 10);
    for (name, _, reason) in cases {
        assert_eq!(site.verdict(name, &source), (Status::Failed, reason), "{:#?}", site.last(name, &source));
    }
}

#[test]
fn a_host_that_may_be_away_is_skipped_and_its_other_paths_are_not_tried() {
    let site = Site::new();
    let port = free_port();
    site.configure(
        "",
        &format!("  laptop:\n    ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {port}\n    optional: true\n    paths: [{{path: /a}}, {{path: /b}}]\n  off:\n    enabled: false\n    paths: [{{path: /c}}]\n"),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 75, "{output:?}");
    assert_eq!(site.verdict("laptop", Path::new("/a")), (Status::Skipped, Reason::ConnectionRefused));
    assert_eq!(site.last("laptop", Path::new("/b")).attempts, 0);
    assert_eq!(site.verdict("off", Path::new("/c")), (Status::Skipped, Reason::Disabled));
}

#[test]
fn an_emptied_source_can_not_empty_the_backup() {
    let site = Site::new();
    let names: Vec<String> = (0..300).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let source = site.source("src", &files);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    for name in &names {
        fs::remove_file(source.join(name)).unwrap();
    }
    let left = || fs::read_dir(site.base().join("h/data")).unwrap().count();
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::EmptySource));
    assert_eq!(left(), 300);

    assert_eq!(site.backup(&["--force-delete", &format!("h:{}", source.display())]).code, 0);
    assert_eq!(left(), 0);
}

#[test]
fn a_link_in_the_place_of_a_destination_is_not_followed() {
    let site = Site::new();
    let source = site.source("src", &[("authorized_keys", "hostile")]);
    let victim = site.source("victim", &[("kept", "1")]);
    fs::create_dir(site.base().join("h")).unwrap();
    symlink(&victim, site.base().join("h/data")).unwrap();
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source).0, Status::Failed);
    assert!(site.last("h", &source).messages[0].contains("symlink"));
    let left: Vec<_> = fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
}

#[test]
fn an_unreadable_file_is_a_warning_and_an_unreadable_source_a_failure() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("good", "1"), ("secret", "2"), ("old", "3")]);
    let closed = site.source("closed", &[("f", "1")]);
    for folder in [site.path("."), source.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // root reads everything, so the other side becomes somebody else.
    let as_nobody = "rsync_path: setpriv --reuid=65534 --regid=65534 --clear-groups rsync";
    let keys = match backup_testkit::sshd::user().as_str() {
        "root" => format!("{}\n    {as_nobody}", sshd.host_keys()),
        _ => sshd.host_keys(),
    };
    site.configure("", &(host("h", &keys, &source) + &host("shut", &keys, &closed)));
    assert_eq!(site.backup(&["--host", "h"]).code, 0);
    fs::remove_file(source.join("old")).unwrap();
    fs::write(source.join("secret"), "changed").unwrap();
    fs::set_permissions(source.join("secret"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();

    assert_eq!(site.backup(&[]).code, 10);
    let finished = site.last("h", &source);
    assert_eq!(
        (finished.status, finished.reason),
        (Status::Warning, Reason::PartialTransfer),
        "{finished:#?}"
    );
    assert_eq!(finished.exit_code, Some(23));
    assert!(finished.messages[0].contains("secret"), "{finished:#?}");
    assert_eq!(
        site.verdict("shut", &closed),
        (Status::Failed, Reason::PermissionDenied),
        "{:#?}",
        site.last("shut", &closed)
    );
    assert_eq!(site.backup(&["--host", "h"]).code, 3);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn on_a_terminal_there_are_bars_and_colours_and_a_table() {
    let site = Site::new();
    let source = site.source("src", &[("big", &"x".repeat(300_000))]);
    let second = site.source("second", &[("f", "1")]);
    site.configure("", &(host("h", "rsync_options: --bwlimit=200", &source) + &host("i", "", &second)));
    let on_terminal = |terminal: &str, no_colour: &str| {
        let program = env!("CARGO_BIN_EXE_backup-runner");
        let line = format!("{program} --config {} --backup", site.path("backup.yaml").display());
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        backup_testkit::process::run(script.env("TERM", terminal).env("NO_COLOR", no_colour))
    };
    let shown = on_terminal("xterm", "");
    assert_eq!(shown.code, 0, "{shown:?}");
    for expected in ["100%", " KiB/s", " left", " of 2 paths", "\u{1b}[32m", "transferred  deleted"] {
        assert!(shown.stdout.contains(expected), "{expected}: {}", shown.stdout);
    }
    assert!(!on_terminal("xterm", "1").stdout.contains("\u{1b}[32m"));
    let dumb = on_terminal("dumb", "").stdout;
    assert!(dumb.contains(": started") && !dumb.contains('\u{1b}'), "{dumb}");
    let piped = site.backup(&[]).stdout;
    assert!(piped.contains("h ") && !piped.contains('\u{1b}'), "{piped}");
}
