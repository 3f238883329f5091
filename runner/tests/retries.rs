//! Another try at the end of the run, for what can pass.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_common::status::Status;
use backup_testkit::process::{Running, free_port};
use backup_testkit::sshd::Sshd;
use backup_testkit::wait;
use support::{Site, host};

/// An rsync for the other side that breaks the connection so many times before it works.
fn flaky(site: &Site, name: &str, breaks: usize) -> PathBuf {
    let (program, count) = (site.path(name), site.path(&format!("{name}.count")));
    let text = format!(
        "#!/bin/bash\necho x >>{count}\n[ $(wc -l <{count}) -gt {breaks} ] || exit 1\nexec rsync \"$@\"\n",
        count = count.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// How often it was called.
fn calls(site: &Site, name: &str) -> usize {
    fs::read_to_string(site.path(&format!("{name}.count"))).unwrap_or_default().lines().count()
}

fn refused_host(name: &str, keys: &str, source: &Path) -> String {
    let port = free_port();
    host(name, &format!("ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {port}{keys}"), source)
}

#[test]
fn a_broken_connection_is_tried_again_after_all_others() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let (source, other) = (site.source("src", &[("f", "1")]), site.source("other", &[("g", "1")]));
    let flaky = flaky(&site, "flaky", 1);
    site.configure(
        "  retries: 2\n  retry_wait: 0\n  parallel: 1",
        &(host("a", &format!("{}\n    rsync_path: {}", sshd.host_keys(), flaky.display()), &source)
            + &host("b", "", &other)),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let finished = site.last("a", &source);
    assert_eq!((finished.status, finished.reason, finished.attempts), (Status::Success, Reason::Ok, 2));
    assert_eq!(calls(&site, "flaky"), 2);
    assert_eq!(site.last("b", &other).attempts, 1);
    // One end for each path and host, that of the last try, and after the other host's.
    assert_eq!(
        site.types(),
        [
            "run_started",
            "path_started",
            "path_started",
            "path_finished",
            "host_finished",
            "path_started",
            "path_finished",
            "host_finished",
            "run_finished"
        ]
    );
    let ends: Vec<String> = site.finished().into_iter().map(|finished| finished.host).collect();
    assert_eq!(ends, ["b", "a"]);
    let Body::RunFinished(run) = site.records().pop().unwrap().body else { panic!("no end") };
    assert_eq!((run.hosts, run.paths), ([(Status::Success, 2)].into(), [(Status::Success, 2)].into()));
    // The first failure is shown.
    let said = format!("warning: a {}: failed (connection_lost), tried again", source.display());
    assert!(output.stderr.contains(&said), "{output:?}");
}

#[test]
fn the_tries_are_counted_and_end() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let flaky = flaky(&site, "flaky", 100);
    let keys = format!("{}\n    rsync_path: {}\n    retries: 2", sshd.host_keys(), flaky.display());
    site.configure("  retry_wait: 0\n  retries: 50", &host("a", &keys, &source));
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    let finished = site.last("a", &source);
    assert_eq!((finished.reason, finished.attempts), (Reason::ConnectionLost, 3));
    assert_eq!(calls(&site, "flaky"), 3);
    assert_eq!(site.finished().len(), 1);
    assert_eq!(site.types().iter().filter(|name| **name == "host_finished").count(), 1);
}

#[test]
fn what_can_not_pass_is_tried_once() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("f", "1")]);
    let keys = sshd.host_keys();
    let empty = site.path("empty").display().to_string();
    fs::write(&empty, "").unwrap();
    let cases = [
        (
            "auth",
            keys.replace(&sshd.key().display().to_string(), &sshd.other_key().display().to_string()),
            Reason::AuthFailed,
        ),
        ("unknown", keys.replace(&sshd.known_hosts().display().to_string(), &empty), Reason::HostKeyUnknown),
        ("missing", format!("{keys}\n    rsync_path: /nonexistent/rsync"), Reason::RsyncMissing),
    ];
    let mut hosts: String = cases.iter().map(|(name, keys, _)| host(name, keys, &source)).collect();
    hosts += &refused_host("laptop", "\n    optional: true", &source);
    // So long that another try would be seen.
    site.configure("  retries: 3\n  retry_wait: 1 d", &hosts);
    assert_eq!(site.backup(&[]).code, 10);
    for (name, _, reason) in cases {
        let finished = site.last(name, &source);
        assert_eq!((finished.reason, finished.attempts), (reason, 1), "{finished:#?}");
    }
    assert_eq!(site.last("laptop", &source).status, Status::Skipped);
}

#[test]
fn paths_that_were_left_out_are_tried_as_well() {
    let site = Site::new();
    site.configure(
        "  retries: 1\n  retry_wait: 0",
        &format!(
            "  a:\n    ssh_user: root\n    hostname: 127.0.0.1\n    ssh_port: {}\n    paths: [{{path: /x}}, {{path: /y}}]\n",
            free_port()
        ),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 10);
    let attempts = |path: &str| site.last("a", Path::new(path)).attempts;
    assert_eq!((attempts("/x"), attempts("/y")), (2, 0));
    assert_eq!(site.finished().len(), 2);
    assert_eq!(output.stderr.matches("tried again").count(), 2, "{output:?}");
}

#[test]
fn scripts_run_around_every_try() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let (source, good) = (site.source("src", &[("f", "1")]), site.source("good", &[("g", "1")]));
    let flaky = flaky(&site, "flaky", 1);
    let scripts = site.path("scripts");
    fs::create_dir(&scripts).unwrap();
    fs::set_permissions(&scripts, fs::Permissions::from_mode(0o755)).unwrap();
    let log = site.path("log");
    for name in ["pre", "post", "host_pre", "host_post"] {
        let file = scripts.join(format!("{name}.sh"));
        fs::write(&file, format!("echo {name} $BACKUP_REASON >>{}\n", log.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    site.configure(
        &format!("  scripts_dir: {}\n  retries: 1\n  retry_wait: 0", scripts.display()),
        &format!(
            "  a:\n    {}\n    pre_script: host_pre\n    post_script: host_post\n    paths:\n    - {{path: {}, dest_subdir: x, rsync_path: {}, pre_script: pre, post_script: post}}\n    - {{path: {}, dest_subdir: y}}\n",
            sshd.host_keys(),
            source.display(),
            flaky.display(),
            good.display()
        ),
    );
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let expected = "host_pre\npre\npost connection_lost\nhost_post connection_lost\nhost_pre\npre\npost ok\nhost_post ok\n";
    let found = fs::read_to_string(&log).unwrap();
    assert_eq!(found.lines().map(str::trim_end).collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    assert_eq!(site.last("a", &good).attempts, 1);
}

#[test]
fn a_signal_during_the_wait_ends_the_run_at_once() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("  retries: 3\n  retry_wait: 1 d", &refused_host("a", "", &source));
    let said = site.path("said");
    let mut run = Running::start(
        site.command(&["--backup"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap()),
    );
    wait::until("the first failure", || {
        fs::read_to_string(&said).ok()?.contains("tried again").then_some(())
    });
    assert!(site.finished().is_empty(), "its record comes with its last try");
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
    let finished = site.last("a", &source);
    assert_eq!((finished.reason, finished.attempts), (Reason::ConnectionRefused, 1));
    let Body::RunFinished(end) = site.records().pop().unwrap().body else { panic!("no end") };
    assert_eq!((end.status, end.reason), (Status::Failed, Reason::Interrupted));
    assert_eq!(end.hosts, [(Status::Failed, 1)].into());
}
