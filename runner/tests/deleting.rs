//! What is gone on the source stays in the backup until it is clear that it is meant to go.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_testkit::btrfs::unmount;
use backup_testkit::process::{self, Output};
use backup_testkit::sshd::Sshd;
use support::{Site, host};

/// A source with so many files.
fn source_of(site: &Site, name: &str, count: usize) -> PathBuf {
    let names: Vec<String> = (0..count).map(|number| format!("f{number:04}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    site.source(name, &files)
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// The option of the runner that accepts deletions of a path once.
fn force(host: &str, source: &Path) -> String {
    format!("--force-delete={host}:{}", source.display())
}

#[test]
fn an_emptied_source_deletes_nothing_however_small_it_is() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    for (name, keys) in [("here", String::new()), ("there", sshd.host_keys())] {
        for count in [1, 30] {
            let source = source_of(&site, &format!("{name}{count}"), count);
            site.configure("", &host(name, &keys, &source));
            let kept = || files_in(&site.base().join(name).join("data"));
            assert_eq!(site.backup(&[&force(name, &source)]).code, 0);
            assert_eq!(kept(), count);
            empty(&source);
            for _ in 0..3 {
                assert_eq!(site.backup(&[]).code, 10);
                let finished = site.last(name, &source);
                assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::EmptySource));
                assert!(finished.messages[0].contains("is empty and has held files"), "{finished:#?}");
                assert_eq!(kept(), count);
            }
            assert_eq!(site.backup(&[&force(name, &source)]).code, 0);
            assert_eq!(kept(), 0);
            assert_eq!(site.backup(&[]).code, 0, "accepted once, it is as it should be");
        }
    }
}

#[test]
fn a_source_that_is_empty_but_for_what_is_excluded_is_empty() {
    let site = Site::new();
    let source = site.source("src", &[("lost+found/x", "1"), ("f", "1")]);
    site.configure("", &host("h", "rsync_options: --exclude=lost+found", &source));
    assert_eq!(site.backup(&[]).code, 0);
    fs::remove_file(source.join("f")).unwrap();
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source).1, Reason::EmptySource);
    assert!(site.base().join("h/data/f").exists());
}

#[test]
fn a_directory_whose_files_are_replaced_every_day_is_not_empty() {
    let site = Site::new();
    let source = site.source("src", &[("dump-1", "1")]);
    site.configure("", &host("h", "rsync_options: -m", &source));
    for day in 2..4 {
        assert_eq!(site.backup(&[]).code, 0);
        empty(&source);
        fs::write(source.join(format!("dump-{day}")), "x").unwrap();
    }
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(files_in(&site.base().join("h/data")), 1);
}

#[test]
fn without_a_guard_an_emptied_source_is_a_success() {
    let site = Site::new();
    let source = source_of(&site, "src", 5);
    site.configure("", &host("spool", "max_delete: 0", &source));
    assert_eq!(site.backup(&[]).code, 0);
    empty(&source);
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(files_in(&site.base().join("spool/data")), 0);
}

#[test]
fn an_emptied_source_deletes_nothing_where_files_come_and_go() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    for (name, keys) in [("here", String::new()), ("there", sshd.host_keys())] {
        let source = source_of(&site, &format!("{name}-src"), 30);
        site.configure("", &host(name, &keys, &source));
        assert_eq!(site.backup(&[]).code, 0);
        fs::remove_file(source.join("f0001")).unwrap();
        assert_eq!(site.backup(&[]).code, 0);
        assert_eq!(site.last(name, &source).stats.unwrap().files_deleted, 1);
        empty(&source);
        for _ in 0..3 {
            assert_eq!(site.backup(&[]).code, 10);
            let finished = site.last(name, &source);
            assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::EmptySource));
            assert_eq!(files_in(&site.base().join(name).join("data")), 29);
        }
    }
}

#[test]
fn an_empty_source_deletes_nothing_in_a_backup_that_no_run_knows() {
    let site = Site::new();
    let source = source_of(&site, "src", 30);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    // As after a move to another server, or when the log is rotated away.
    fs::remove_file(site.path("stats.log")).unwrap();
    empty(&source);
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::EmptySource));
    assert_eq!(files_in(&site.base().join("h/data")), 30);
}

#[test]
fn what_is_gone_is_deleted_by_a_second_call_and_told_as_one() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    for (name, keys) in [("here", String::new()), ("there", sshd.host_keys())] {
        let source = site.source(&format!("{name}-src"), &[("a", "1"), ("b/c/d", "22"), ("e", "333")]);
        site.configure("  rsync_options: -ac --delete", &host(name, &keys, &source));
        assert_eq!(site.backup(&[]).code, 0);
        fs::remove_dir_all(source.join("b")).unwrap();
        fs::write(source.join("new"), "4444").unwrap();
        let output = site.backup(&["--verbose"]);
        assert_eq!(output.code, 0, "{output:?}");
        let calls: Vec<_> = output.stdout.lines().filter(|line| line.contains("&& rsync")).collect();
        assert_eq!(calls.len(), 2, "{output:?}");
        assert!(calls[0].contains("--max-delete=0") && calls[1].contains("--max-delete=50"), "{calls:?}");
        let finished = site.last(name, &source);
        assert_eq!((finished.exit_code, finished.warning_count, finished.messages.len()), (Some(0), 0, 0));
        let stats = finished.stats.unwrap();
        assert_eq!((stats.files, stats.files_transferred, stats.files_deleted), (4, 1, 3));
        let data = site.base().join(name).join("data");
        assert!(data.join("new").exists() && !data.join("b").exists());
        // One call is enough for what has not lost anything, and for what loses something each time.
        fs::remove_file(source.join("new")).unwrap();
        for deleted in [1, 0, 0] {
            let output = site.backup(&["--verbose"]);
            assert_eq!(output.code, 0, "{output:?}");
            assert_eq!(
                output.stdout.lines().filter(|line| line.contains("&& rsync")).count(),
                1,
                "{output:?}"
            );
            assert_eq!(site.last(name, &source).stats.unwrap().files_deleted, deleted);
        }
    }
}

#[test]
fn what_has_become_something_else_is_replaced() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    for (name, keys) in [("here", String::new()), ("there", sshd.host_keys())] {
        let source =
            site.source(&format!("{name}-src"), &[("a/b/c", "1"), ("a/d", "1"), ("e", "22"), ("f", "1")]);
        site.configure("", &host(name, &keys, &source));
        assert_eq!(site.backup(&[]).code, 0);
        fs::remove_dir_all(source.join("a")).unwrap();
        fs::write(source.join("a"), "now a file").unwrap();
        fs::remove_file(source.join("e")).unwrap();
        fs::create_dir(source.join("e")).unwrap();
        fs::write(source.join("e/new"), "1").unwrap();
        let output = site.backup(&[]);
        assert_eq!(output.code, 0, "{output:?}");
        let finished = site.last(name, &source);
        assert_eq!((finished.exit_code, finished.error_count, finished.messages.len()), (Some(0), 0, 0));
        let data = site.base().join(name).join("data");
        assert_eq!(fs::read_to_string(data.join("a")).unwrap(), "now a file");
        assert!(data.join("e/new").exists());
        assert_eq!(finished.stats.unwrap().files_transferred, 2);
    }
}

#[test]
fn directories_are_counted_by_the_second_call() {
    let site = Site::new();
    let names: Vec<String> = (0..20).map(|number| format!("d{number}/f")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), "x")).chain([("g", "x")]).collect();
    let source = site.source("src", &files);
    site.configure("", &host("h", "max_delete: 25", &source));
    assert_eq!(site.backup(&[]).code, 0);
    for number in 0..20 {
        fs::remove_dir_all(source.join(format!("d{number}"))).unwrap();
    }
    // Twenty files are within the limit, and with their directories they are not.
    assert_eq!(site.backup(&[]).code, 10);
    let finished = site.last("h", &source);
    assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::MaxDelete));
    assert_eq!(finished.stats.unwrap().files_deleted, 25);
}

#[test]
fn an_emptied_source_is_seen_also_where_nothing_is_ever_deleted() {
    let site = Site::new();
    let source = source_of(&site, "src", 5);
    site.configure("  rsync_options: -a", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    empty(&source);
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::EmptySource));
    assert_eq!(files_in(&site.base().join("h/data")), 5);
}

#[test]
fn a_shrunk_source_costs_nothing_where_files_rarely_go() {
    let site = Site::new();
    let source = source_of(&site, "src", 300);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    let taken: Vec<PathBuf> = (100..300).map(|number| source.join(format!("f{number:04}"))).collect();
    for file in &taken {
        fs::remove_file(file).unwrap();
    }
    fs::write(source.join("new"), "x").unwrap();
    for _ in 0..3 {
        assert_eq!(site.backup(&[]).code, 10);
        let finished = site.last("h", &source);
        assert_eq!((finished.status, finished.reason), (Status::Failed, Reason::MaxDelete));
        assert_eq!((finished.exit_code, finished.stats.unwrap().files_deleted), (Some(25), 0));
        // 20 % of 301 files and directories.
        let why = "200 files of the backup would go, and max_delete allows 60: nothing was deleted";
        assert_eq!(finished.messages, [why]);
        assert_eq!(files_in(&site.base().join("h/data")), 301, "what is new is in the backup");
    }
    // Most files come back, and all is well again.
    for file in &taken[5..] {
        fs::write(file, "x").unwrap();
    }
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(files_in(&site.base().join("h/data")), 296);
}

#[test]
fn a_shrunk_source_costs_one_budget_and_not_one_a_night() {
    let site = Site::new();
    let source = source_of(&site, "src", 302);
    site.configure("", &host("h", "", &source));
    assert_eq!(site.backup(&[]).code, 0);
    // Files have gone in the run before, so that the next one does not count beforehand.
    for name in ["f0300", "f0301"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(site.last("h", &source).stats.unwrap().files_deleted, 2);
    let taken: Vec<PathBuf> = (100..300).map(|number| source.join(format!("f{number:04}"))).collect();
    for file in &taken {
        fs::remove_file(file).unwrap();
    }
    let kept = || files_in(&site.base().join("h/data"));
    for _ in 0..3 {
        assert_eq!(site.backup(&[]).code, 10);
        assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::MaxDelete));
        // 20 % of 301 files and directories.
        assert_eq!(kept(), 240);
    }
    // The files come back, and all is well again.
    for file in &taken {
        fs::write(file, "x").unwrap();
    }
    assert_eq!(site.backup(&[]).code, 0);
    assert_eq!(kept(), 300);
    for file in &taken {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(site.backup(&[]).code, 10);
    assert_eq!(site.backup(&[&force("h", &source)]).code, 0);
    assert_eq!(kept(), 100);
}

/// A file system in a file, mounted over a directory.
struct LoopMount(PathBuf);

impl LoopMount {
    fn new(image: &Path, at: &Path) -> Self {
        fs::File::create(image).unwrap().set_len(120 << 20).unwrap();
        must("mkfs.btrfs", &["-q".as_ref(), image]);
        fs::create_dir(at).unwrap();
        must("mount", &["-o".as_ref(), "loop".as_ref(), image, at]);
        Self(at.to_owned())
    }

    fn unmount(&self) {
        unmount(&self.0);
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        process::run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn must(program: &str, arguments: &[&Path]) -> Output {
    let output = process::run(Command::new(program).args(arguments));
    assert_eq!(output.code, 0, "{program}: {output:?}");
    output
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn an_unmounted_source_deletes_nothing() {
    let site = Site::new();
    let sshd = Sshd::start(&site.path("."));
    let mount = LoopMount::new(&site.path("image"), &site.path("src"));
    let source = source_of(&site, "src", 300);
    site.configure("", &host("h", &sshd.host_keys(), &source));
    assert_eq!(site.backup(&[]).code, 0);
    mount.unmount();
    let output = site.backup(&[]);
    assert_eq!(output.code, 10, "{output:?}");
    assert_eq!(site.verdict("h", &source), (Status::Failed, Reason::EmptySource));
    assert_eq!(files_in(&site.base().join("h/data")), 300);
    assert!(output.stdout.contains("--force-delete HOST:PATH"), "the remedy is shown: {}", output.stdout);
}

#[test]
fn a_list_of_files_is_transferred_again_and_again() {
    let site = Site::new();
    let source = source_of(&site, "src", 5);
    let list = site.path("list");
    fs::write(&list, "f0001\nf0002\n").unwrap();
    site.configure("", &host("h", &format!("rsync_options: --files-from={}", list.display()), &source));
    for _ in 0..2 {
        let output = site.backup(&[]);
        assert_eq!(output.code, 0, "{output:?}");
    }
    assert_eq!(files_in(&site.base().join("h/data")), 2);
}
