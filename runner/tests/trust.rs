//! Nobody but root or the caller decides what runs: scripts, configuration, environment.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/scripts.rs"]
mod scripts;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::Body;
use backup_testkit::process;
use backup_testkit::sshd::Sshd;
use scripts::{chmod, configure, noting, ran, script, with_path_keys};
use support::{Site, host};

#[test]
fn a_script_that_could_be_somebody_elses_stops_everything_before_it_begins() {
    let site = Site::new();
    let (source, other) = (site.source("src", &[("f", "1")]), site.source("other", &[("g", "1")]));
    let hosts = with_path_keys("h", "", &source, "pre_script: stop") + &host("innocent", "", &other);
    configure(&site, &hosts);
    let refused = |what: &str, expected: &str| {
        for mode in ["--check-config", "--backup"] {
            let output = process::run(&mut site.command(&[mode]));
            assert_eq!(output.code, 2, "{what}: {output:?}");
            let said = output.stdout + &output.stderr;
            assert!(said.contains("hosts.h.paths[0].pre_script: "), "{what}: {said}");
            assert!(said.contains(expected), "{what}: {said}");
        }
        let Body::RunRefused(refused) = site.records().pop().unwrap().body else { panic!("{what}") };
        assert_eq!(refused.reason, Reason::ConfigInvalid, "{what}");
        assert_eq!(fs::read_dir(site.base()).unwrap().count(), 0, "{what}");
        assert!(!site.path("lock").exists() && !site.path("log").exists(), "{what}");
    };
    let missing = script(&site, "stop", "note stop");
    fs::remove_file(&missing).unwrap();
    refused("missing", "stop.sh: No such file or directory");
    let file = script(&site, "stop", "note stop");
    chmod(&file, 0o664);
    refused("group-writable", "can be written by its group or by others (mode 0664)");
    chmod(&file, 0o646);
    refused("world-writable", "(mode 0646)");
    chmod(&file, 0o644);
    chmod(&site.path("scripts"), 0o777);
    refused("directory", "scripts can be written by its group or by others (mode 0777)");
    chmod(&site.path("scripts"), 0o755);
    fs::rename(&file, site.path("elsewhere.sh")).unwrap();
    symlink(site.path("elsewhere.sh"), &file).unwrap();
    refused("link", "it is a symlink");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("directory instead", "it is not a regular file");
    fs::remove_dir(&file).unwrap();
    process::run(Command::new("mkfifo").arg(&file));
    refused("pipe", "it is not a regular file");
    fs::remove_file(&file).unwrap();
    let file = script(&site, "stop", "note stop");
    if backup_testkit::sshd::user() == "root" {
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        refused("somebody else's", "belongs to user id 65534");
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
    let output = site.backup(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(ran(&site), ["stop"]);
}

#[test]
fn a_script_outside_of_its_directory_can_not_be_named() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    for name in ["../../tmp/x", "/tmp/x", "a b", "-x", ".x", "$(id)"] {
        configure(&site, &with_path_keys("h", "", &source, &format!("pre_script: '{name}'")));
        let output = site.backup(&[]);
        assert_eq!(output.code, 2, "{name}: {output:?}");
        assert!(output.stderr.contains("expected the plain name of a script"), "{name}: {}", output.stderr);
    }
}

#[test]
fn a_script_of_a_host_that_is_not_backed_up_does_not_matter() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let off = with_path_keys("off", "enabled: false", &source, "pre_script: missing");
    let other = with_path_keys("other", "", &source, "pre_script: missing");
    configure(&site, &(host("h", "", &source) + &off + &other));
    assert_eq!(site.backup(&["--host", "h", "--host", "off"]).code, 0);
    assert_eq!(site.backup(&[]).code, 2);
}

#[test]
fn a_script_that_is_changed_during_the_run_runs_as_it_was() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    noting(&site, &["after"]);
    let changed = site.path("scripts/after.sh").display().to_string();
    script(&site, "before", &format!("echo 'note changed' >>{changed}"));
    configure(&site, &with_path_keys("h", "", &source, "pre_script: before, post_script: after"));
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(ran(&site), ["after"]);
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    let excludes = site.path("excludes");
    fs::write(&excludes, "x\n").unwrap();
    let keys = format!("exclude_file: {}", excludes.display());
    configure(&site, &host("h", &keys, &source));
    let config = site.path("backup.yaml");
    for mode in [0o666, 0o664, 0o622] {
        chmod(&config, mode);
        let output = site.backup(&[]);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("it can be written by its group or by others"), "{output:?}");
    }
    assert!(site.records().is_empty());
    chmod(&config, 0o644);
    chmod(&excludes, 0o666);
    let output = site.backup(&[]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stdout.contains("hosts.h.paths[0].exclude_file: cannot trust"), "{output:?}");
    chmod(&excludes, 0o644);
    // A link is the administrator's own, and what it leads to is checked.
    fs::rename(&config, site.path("real.yaml")).unwrap();
    symlink(site.path("real.yaml"), &config).unwrap();
    assert_eq!(site.backup(&[]).code, 0);
    chmod(&site.path("real.yaml"), 0o666);
    assert_eq!(site.backup(&[]).code, 2);
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let source = site.source("src", &[("big", &"x".repeat(1_234_567)), ("old", "1")]);
    let home = site.source("home", &[(".popt", "rsync alias --stats --dry-run\nrsync alias -a --version\n")]);
    site.configure(
        "  rsync_options: -ah --delete",
        &(host("there", &sshd.host_keys(), &source) + &host("here", "", &source)),
    );
    let output = process::run(
        site.command(&["--backup"])
            .env("HOME", &home)
            .env("RSYNC_RSH", "/bin/false")
            .env("RSYNC_OLD_ARGS", "1")
            .env("RSYNC_ICONV", "utf-8,latin1")
            .env("RSYNC_PARTIAL_DIR", "/tmp/hostile")
            .env("RSYNC_PROXY", "127.0.0.1:1")
            .env("LD_LIBRARY_PATH", "/tmp/hostile")
            .env("LC_ALL", "tr_TR.UTF-8"),
    );
    assert_eq!(output.code, 0, "{output:?}");
    for name in ["there", "here"] {
        assert!(site.base().join(name).join("data/old").exists());
        let stats = site.last(name, &source).stats.unwrap();
        assert_eq!((stats.source_size_bytes, stats.files), (1_234_568, 3), "{name}");
    }
}
