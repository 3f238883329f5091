//! The Debian package and `make install`: the same files, pages that man can show, and lintian's word.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use backup_testkit::process::{Output, run};
use support::commands::typed;

fn must(command: &mut Command) -> Output {
    let output = run(command);
    assert_eq!(output.code, 0, "{command:?}: {}{}", output.stdout, output.stderr);
    output
}

fn files(root: &Path) -> BTreeSet<String> {
    let found = must(Command::new("find").arg(root).args(["-type", "f", "-printf", "%P %m\n"]));
    found.stdout.lines().map(str::to_owned).collect()
}

/// Whether a file is not there for Debian's own sake.
fn of_any_system(file: &str) -> bool {
    let debian = ["/lintian/", "changelog.Debian", "doc/backup-system/copyright"];
    !debian.iter().any(|part| file.contains(part))
}

#[test]
fn the_package_and_make_install_have_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let package = support::package();
    let unpacked = folder.path().join("unpacked");
    must(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked));
    let installed = folder.path().join("installed");
    let install = || {
        let line = typed("make install DESTDIR=/tmp/root");
        support::make(&support::sources(), &line.replace("/tmp/root", &installed.display().to_string()));
    };
    install();
    let in_package: BTreeSet<String> =
        files(&unpacked).into_iter().filter(|file| of_any_system(file)).collect();
    assert_eq!(in_package, files(&installed));
    assert!(in_package.len() > 40, "{in_package:#?}");

    for page in [
        "man8/backup-runner.8",
        "man8/backup-exporter.8",
        "man8/backup-sizes.8",
        "man1/backup-metrics.1",
        "man5/backup.yaml.5",
        "man5/influxdb-config.yaml.5",
    ] {
        let page = unpacked.join("usr/share/man").join(format!("{page}.gz"));
        let shown = must(
            Command::new("man")
                .args(["--warnings", "--local-file"])
                .arg(&page)
                .env("MANPAGER", "cat")
                .env("LC_ALL", "C.UTF-8")
                .env("MANWIDTH", "200"),
        );
        assert!(shown.stdout.contains("NAME") && shown.stdout.len() > 500, "{}", shown.stdout);
        assert_eq!(shown.stderr, "", "{}", page.display());
    }
    let completion = unpacked.join("usr/share/bash-completion/completions/backup-runner");
    must(Command::new("bash").arg("-n").arg(completion));

    // Settings of a person stay.
    let changed = installed.join("etc/default/backup-runner");
    std::fs::write(&changed, "changed").unwrap();
    install();
    assert_eq!(std::fs::read_to_string(changed).unwrap(), "changed");

    let lint = run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error", "--fail-on", "warning"])
        .arg(&package));
    println!("{}", lint.stdout);
    assert_eq!(lint.code, 0, "{}{}", lint.stdout, lint.stderr);
}

/// `make install` on a system, to the letter: in a mount namespace in which what is written below `/usr` and `/etc`
/// goes to a memory file system and is gone afterwards.
#[test]
#[ignore = "needs root: overlay mounts in a namespace of their own"]
fn make_install_reaches_the_running_system() {
    let package = support::package();
    let line = typed("make install");
    let inside = format!(
        "set -eu
        mount -t tmpfs tmpfs /mnt
        for part in usr etc; do
            mkdir -p /mnt/$part/upper /mnt/$part/work
            mount -t overlay overlay -o lowerdir=/$part,upperdir=/mnt/$part/upper,workdir=/mnt/$part/work /$part
        done
        {line} >/mnt/log
        tail -n 1 /mnt/log
        for part in usr etc; do cd /mnt/$part/upper && find . -type f -printf \"$part/%P %m\\n\"; done"
    );
    let said = support::make(&support::sources(), &format!("unshare --mount bash -c '{inside}'"));
    let (last, found) = said.stdout.split_once('\n').unwrap();
    assert_eq!(last, "To finish: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload");
    let found: BTreeSet<String> = found.lines().map(str::to_owned).collect();
    let folder = tempfile::tempdir().unwrap();
    let unpacked = folder.path().join("unpacked");
    must(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked));
    let wanted = files(&unpacked);
    assert_eq!(found, wanted.into_iter().filter(|file| of_any_system(file)).collect());
}
