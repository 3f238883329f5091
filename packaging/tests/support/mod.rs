//! What the tests of the package share: what was built, and where.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process;

/// The root of the sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A program of the same build. All of them are there after `cargo test --workspace`; for this package's tests
/// alone run `cargo build --workspace` first.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_backup-manuals")).with_file_name(name);
    assert!(path.exists(), "{} is missing; run cargo build --workspace", path.display());
    path
}

/// The directory that cargo builds in.
pub fn target() -> PathBuf {
    program("backup-manuals").ancestors().nth(2).unwrap().to_owned()
}

/// Packs what is built as a version, and returns the path of the package.
pub fn package(directory: &Path, version: &str) -> PathBuf {
    for name in ["backup-runner", "backup-exporter", "backup-metrics", "backup-sizes"] {
        program(name);
    }
    let packed = process::run(
        Command::new(sources().join("scripts/package"))
            .args(["--profile", "dev", "--no-build", "--version", version])
            .arg(directory)
            .env("CARGO_TARGET_DIR", target()),
    );
    assert_eq!(packed.code, 0, "{}{}", packed.stdout, packed.stderr);
    PathBuf::from(packed.stdout.lines().last().unwrap())
}

/// The same package as another version, which takes a fraction of the time.
pub fn as_version(package: &Path, version: &str) -> PathBuf {
    let tree = package.with_extension("tree");
    let must = |command: &mut Command| {
        let output = process::run(command);
        assert_eq!(output.code, 0, "{command:?}: {}", output.stderr);
    };
    must(Command::new("dpkg-deb").arg("--raw-extract").args([package, &tree]));
    let control = std::fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let lines = control.lines().map(|line| match line.strip_prefix("Version: ") {
        Some(_) => format!("Version: {version}\n"),
        None => format!("{line}\n"),
    });
    std::fs::write(tree.join("DEBIAN/control"), lines.collect::<String>()).unwrap();
    let made = package.with_file_name(format!("{version}.deb"));
    must(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
            .args([&tree, &made]),
    );
    made
}
