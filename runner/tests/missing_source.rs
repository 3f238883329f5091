//! A source that is missing or not whole costs nothing of its backup, and no other path.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::process;
use backup_testkit::sshd::Sshd;
use support::{Site, host};

#[test]
fn a_required_file_that_is_missing_stops_its_path_alone() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    for (name, keys) in [("here", String::new()), ("there", sshd.host_keys())] {
        let odd = site.source(&format!("{name} [a] *"), &[("sub/.backup me", "1"), ("f", "1"), ("g", "1")]);
        let other = site.source(&format!("{name}-other"), &[("h", "1")]);
        let keys = if keys.is_empty() { keys } else { format!("    {keys}\n") };
        site.configure(
            "",
            &format!(
                "  {name}:\n{keys}    paths:\n    - {{path: '{}', dest_subdir: a, require: sub/.backup me}}\n    - {{path: '{}', dest_subdir: b}}\n",
                odd.display(),
                other.display()
            ),
        );
        let output = site.backup(&[]);
        assert_eq!(output.code, 0, "{output:?}");

        fs::remove_dir_all(odd.join("sub")).unwrap();
        fs::remove_file(odd.join("g")).unwrap();
        fs::write(odd.join("new"), "x").unwrap();
        assert_eq!(site.backup(&[]).code, 10);
        let finished = site.last(name, &odd);
        assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::SourceMissing));
        assert!(finished.messages[0].starts_with("sub/.backup me is required"), "{finished:#?}");
        let backup = site.base().join(name).join("a");
        assert!(backup.join("g").exists() && !backup.join("new").exists(), "nothing deleted, nothing new");
        assert_eq!(site.verdict(name, &other), (Status::Success, Reason::Ok));
    }
}

#[test]
fn a_required_file_on_a_host_that_is_away_says_why_it_is_away() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let port = process::free_port();
    let keys = format!("ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {port}");
    let hosts = format!("  h:\n    {keys}\n    paths: [{{path: {}, require: f}}]\n", source.display());
    site.configure("", &hosts);
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::ConnectionRefused));
}

#[test]
fn a_host_that_says_nothing_about_a_required_file_is_given_up_soon() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let mute = site.path("mute");
    fs::write(&mute, "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
    fs::set_permissions(&mute, fs::Permissions::from_mode(0o755)).unwrap();
    // Only the look's own limit can end it within the time of this test.
    let keys = format!("{}\n    rsync_path: {}\n    io_timeout: 1 d", sshd.host_keys(), mute.display());
    site.configure(
        "",
        &format!("  h:\n    {keys}\n    paths: [{{path: {}, require: f}}]\n", source.display()),
    );
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::Timeout));
}

#[test]
fn a_missing_source_deletes_nothing_and_is_no_warning() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let (source, other) =
        (site.source("src", &[("f", "1"), ("g", "2")]), site.source("other", &[("g", "1")]));
    let hosts = format!(
        "  h:\n    {}\n    paths: [{{path: {}, dest_subdir: a}}, {{path: {}, dest_subdir: b}}]\n",
        sshd.host_keys(),
        source.display(),
        other.display()
    );
    site.configure("", &hosts);
    assert_eq!(site.backup(&[]).code, 0);
    fs::remove_dir_all(&source).unwrap();
    assert_eq!(site.backup(&[]).code, 10);
    let finished = site.last("h", &source);
    assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::SourceMissing));
    assert_eq!(finished.exit_code, Some(23));
    assert_eq!(fs::read_dir(site.base().join("h/a")).unwrap().count(), 2);
    assert_eq!(site.verdict("h", &other), (Status::Success, Reason::Ok));
}

#[test]
fn what_can_not_be_read_on_the_source_is_not_deleted() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("closed/f", "1"), ("old", "2"), ("good", "3")]);
    for folder in [site.path("."), source.clone(), source.join("closed")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = "rsync_path: setpriv --reuid=65534 --regid=65534 --clear-groups rsync";
    let keys = match backup_testkit::sshd::user().as_str() {
        "root" => format!("{}\n    {as_nobody}", sshd.host_keys()),
        _ => sshd.host_keys(),
    };
    // By itself rsync deletes in each directory as it comes by, and stops at the first one that it can not read;
    // with --delete-after it has read all before, and deletes nothing at all.
    let after = format!("{keys}\n    rsync_options: --delete-after");
    site.configure("", &(host("during", &keys, &source) + &host("after", &after, &source)));
    assert_eq!(site.backup(&[]).code, 0);
    fs::remove_file(source.join("old")).unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let code = site.backup(&[]).code;
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code, 3);
    for name in ["during", "after"] {
        let finished = site.last(name, &source);
        assert_eq!((finished.status, finished.reason), (Status::Warning, Reason::PartialTransfer));
        assert_eq!(finished.exit_code, Some(23));
        for kept in ["closed/f", "good"] {
            assert!(site.base().join(name).join("data").join(kept).exists(), "{name}: {kept}");
        }
    }
    assert_eq!(site.last("after", &source).stats.unwrap().files_deleted, 0);
    assert!(site.base().join("after/data/old").exists());
}
