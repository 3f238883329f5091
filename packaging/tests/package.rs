//! The Debian package and `make install`: the same files, pages that man can show, and lintian's word.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use backup_testkit::process::{Output, run};

fn must(command: &mut Command) -> Output {
    let output = run(command);
    assert_eq!(output.code, 0, "{command:?}: {}{}", output.stdout, output.stderr);
    output
}

fn files(root: &Path) -> BTreeSet<String> {
    let found = must(Command::new("find").arg(root).args(["-type", "f", "-printf", "%P %m\n"]));
    found.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_package_and_make_install_have_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let package = support::package(folder.path(), "0.1.0-1");
    let unpacked = folder.path().join("unpacked");
    must(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked));
    let installed = folder.path().join("installed");
    must(
        Command::new(support::sources().join("scripts/install"))
            .args(["--profile", "dev", "--no-build"])
            .env("DESTDIR", &installed)
            .env("CARGO_TARGET_DIR", support::target()),
    );
    let of_debian = |file: &&String| {
        !file.contains("/lintian/")
            && !file.contains("changelog.Debian")
            && !file.contains("doc/backup-system/copyright")
    };
    let in_package = files(&unpacked);
    let in_package: BTreeSet<&String> = in_package.iter().filter(of_debian).collect();
    assert_eq!(in_package, files(&installed).iter().collect());
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
    must(
        Command::new(support::sources().join("scripts/install"))
            .args(["--profile", "dev", "--no-build"])
            .env("DESTDIR", &installed)
            .env("CARGO_TARGET_DIR", support::target()),
    );
    assert_eq!(std::fs::read_to_string(changed).unwrap(), "changed");

    let lint = run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error", "--fail-on", "warning"])
        .arg(&package));
    println!("{}", lint.stdout);
    assert_eq!(lint.code, 0, "{}{}", lint.stdout, lint.stderr);
}
