//! What the tests of the package share: what was built, and where.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod commands;

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use backup_testkit::process::{self, Output};

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

/// Both targets of make write the manuals into the same directory.
static MAKE: Mutex<()> = Mutex::new(());

/// Runs a documented command of make with a shell, in a directory with the sources, on what is built already.
pub fn make(directory: &Path, line: &str) -> Output {
    make_with(directory, line, &[])
}

/// As [`make`], with more in the environment.
pub fn make_with(directory: &Path, line: &str, more: &[(&str, &str)]) -> Output {
    for name in ["backup-runner", "backup-exporter", "backup-metrics", "backup-sizes"] {
        program(name);
    }
    let _one_at_a_time = MAKE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = process::run(
        Command::new("bash")
            .args(["-c", line])
            .current_dir(directory)
            .env("PROFILE", "dev")
            .env("BUILD", "no")
            .env("CARGO_TARGET_DIR", target())
            .envs(more.iter().copied())
            // Of the make that runs the tests: it makes this one tell of directories and share its jobs.
            .env_remove("MAKELEVEL")
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS"),
    );
    assert_eq!(made.code, 0, "{line}: {}{}", made.stdout, made.stderr);
    made
}

/// Copies the sources, without what was built, so that a test can leave something beside them.
pub fn copy_sources(to: &Path) {
    let entries = fs::read_dir(sources()).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|entry| !entry.ends_with("target") && !entry.ends_with(".git"));
    fs::create_dir_all(to).unwrap();
    must(Command::new("cp").args(["-a", "--reflink=auto"]).args(entries).arg(to));
}

fn must(command: &mut Command) {
    let output = process::run(command);
    assert_eq!(output.code, 0, "{command:?}: {}", output.stderr);
}

/// The package of what was built, by `make package`; made once for all tests of the same build.
pub fn package() -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let place = cache.join(format!("{:016x}", state_of_sources()));
    if !place.exists() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("sources");
        copy_sources(&copy);
        make(&copy, &commands::typed("make package"));
        // What was made of an older state is of no use any more.
        let _ = fs::remove_dir_all(&cache);
        let building = cache.join(format!("{}.part", std::process::id()));
        fs::create_dir_all(&cache).unwrap();
        must(Command::new("cp").arg("-r").arg(copy.join("target/debian")).arg(&building));
        fs::rename(&building, &place).unwrap();
    }
    let mut made = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
    let package = made.next().unwrap();
    assert_eq!(made.next(), None, "one package");
    package
}

/// Changes with every file that the package is made of.
fn state_of_sources() -> u64 {
    let mut files = vec![program("backup-manuals")];
    files.extend(["backup-runner", "backup-exporter", "backup-metrics", "backup-sizes"].map(program));
    let mut directories = vec![sources()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_file() {
                // Those of the programs are in the programs.
                if entry.path().extension().is_none_or(|extension| extension != "rs") {
                    files.push(entry.path());
                }
            } else if name != "target" && name != ".git" {
                directories.push(entry.path());
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let about = fs::metadata(&file).unwrap();
        (file, about.len(), about.modified().unwrap()).hash(&mut hasher);
    }
    hasher.finish()
}

/// The same package as another version, in `directory`; its programs differ from the first one's by what stands
/// behind their end.
pub fn as_version(package: &Path, directory: &Path, version: &str) -> PathBuf {
    let tree = directory.join("tree");
    must(Command::new("dpkg-deb").arg("--raw-extract").args([package, &tree]));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let lines = control.lines().map(|line| match line.strip_prefix("Version: ") {
        Some(_) => format!("Version: {version}\n"),
        None => format!("{line}\n"),
    });
    fs::write(tree.join("DEBIAN/control"), lines.collect::<String>()).unwrap();
    for program in fs::read_dir(tree.join("usr/bin")).unwrap() {
        let program = program.unwrap().path();
        let mut bytes = fs::read(&program).unwrap();
        bytes.extend(version.as_bytes());
        fs::write(&program, bytes).unwrap();
    }
    let made = directory.join(format!("{version}.deb"));
    must(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
            .args([&tree, &made]),
    );
    made
}
