//! Under systemd a run speaks to the journal: the built program, and a socket of ours in journald's place.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use backup_common::record::Record;
use backup_testkit::process::{self, Running};
use support::{Site, host};

type Entry = BTreeMap<String, String>;

/// What a run left behind.
struct Told {
    code: Option<i32>,
    entries: Vec<Entry>,
    stdout: String,
    stderr: String,
}

/// Runs the program in a mount namespace of its own, where `/run` holds nothing but what the test puts there,
/// with `JOURNAL_STREAM` as systemd sets it when standard error is the journal.
fn run(site: &Site, arguments: &[&str], with_journald: bool) -> Told {
    let folder = site.path("journal");
    fs::create_dir_all(&folder).unwrap();
    let _ = fs::remove_file(folder.join("socket"));
    let journald = with_journald.then(|| UnixDatagram::bind(folder.join("socket")).unwrap());
    let (out, err) = (site.path("stdout"), site.path("stderr"));
    let error_file = File::create(&err).unwrap();
    let stream = error_file.metadata().unwrap();
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(&folder);
    command
        .arg(env!("CARGO_BIN_EXE_backup-runner"))
        .arg("--config")
        .arg(site.path("backup.yaml"))
        .args(arguments);
    command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(error_file);
    let ended = AtomicBool::new(false);
    let (code, entries) = thread::scope(|scope| {
        let reader = scope.spawn(|| journald.map(|journald| read_all(&journald, &ended)).unwrap_or_default());
        let code = Running::start(&mut command).wait().code();
        ended.store(true, Ordering::Release);
        (code, reader.join().unwrap())
    });
    let text = |path| fs::read_to_string(path).unwrap();
    Told { code, entries, stdout: text(out), stderr: text(err) }
}

/// Reads as journald would, until the program has ended and nothing is left.
fn read_all(journald: &UnixDatagram, ended: &AtomicBool) -> Vec<Entry> {
    journald.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut entries = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        // Asked first: what was sent before the end is still there to be read.
        let last = ended.load(Ordering::Acquire);
        match journald.recv(&mut buffer) {
            Ok(count) => {
                let text = std::str::from_utf8(&buffer[..count]).unwrap();
                let fields = text.lines().map(|line| line.split_once('=').expect("NAME=value"));
                entries.push(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
            }
            Err(_) if last => return entries,
            Err(_) => {}
        }
    }
}

fn of<'a>(entries: &'a [Entry], record: &str) -> &'a Entry {
    let found = entries.iter().find(|entry| entry.get("BACKUP_RECORD").is_some_and(|name| name == record));
    found.unwrap_or_else(|| panic!("no {record}: {entries:#?}"))
}

/// One path that succeeds and one that fails with a message.
fn site() -> Site {
    let site = Site::new();
    let source = site.source("src", &[("f", "1")]);
    site.configure("", &(host("good", "", &source) + &host("bad", "", &site.path("gone"))));
    site
}

#[test]
#[ignore = "needs root: it mounts a directory in journald's place"]
fn each_record_is_an_entry_with_its_fields_and_priority() {
    let site = site();
    let told = run(&site, &["--backup"], true);
    assert_eq!(told.code, Some(10), "{}", told.stderr);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""), "nothing is said twice");
    let names: Vec<&str> =
        told.entries.iter().filter_map(|entry| Some(entry.get("BACKUP_RECORD")?.as_str())).collect();
    assert_eq!(names, site.types(), "one entry for each record of the log");
    let run_id = site.records()[0].run_id.clone();
    for entry in &told.entries {
        assert_eq!(
            (&entry["SYSLOG_IDENTIFIER"], &entry["BACKUP_RUN_ID"]),
            (&"backup-runner".to_owned(), &run_id)
        );
        assert!(!entry["MESSAGE"].is_empty() && entry["PRIORITY"].parse::<u8>().unwrap() < 8);
        assert!(!entry.contains_key("BACKUP_RECORD_JSON"));
    }
    let ends: Vec<[&str; 5]> = told
        .entries
        .iter()
        .filter(|entry| entry.get("BACKUP_RECORD").is_some_and(|name| name == "path_finished"))
        .map(|entry| {
            ["PRIORITY", "BACKUP_HOST", "BACKUP_PATH", "BACKUP_STATUS", "BACKUP_REASON"]
                .map(|name| entry[name].as_str())
        })
        .collect();
    let (source, gone) = (site.path("src").display().to_string(), site.path("gone").display().to_string());
    assert!(ends.contains(&["6", "good", &source, "success", "ok"]), "{ends:?}");
    assert!(ends.contains(&["3", "bad", &gone, "failed", "source_missing"]), "{ends:?}");
    assert_eq!(of(&told.entries, "run_started")["PRIORITY"], "6");
    assert_eq!(of(&told.entries, "run_finished")["PRIORITY"], "3");
    let message = told
        .entries
        .iter()
        .find(|entry| entry["MESSAGE"].contains("change_dir") && !entry.contains_key("BACKUP_RECORD"));
    let message = message.unwrap_or_else(|| panic!("{:#?}", told.entries));
    assert_eq!(
        (message["PRIORITY"].as_str(), message["BACKUP_HOST"].as_str(), &message["BACKUP_PATH"]),
        ("3", "bad", &gone)
    );
}

#[test]
#[ignore = "needs root: it mounts a directory in journald's place"]
fn without_journald_plain_lines_take_its_place() {
    let site = site();
    let told = run(&site, &["--backup"], false);
    assert_eq!(told.code, Some(10));
    assert!(told.stdout.contains("backup finished: failed"), "{}", told.stdout);
    assert!(told.stdout.contains("change_dir"), "{}", told.stdout);
}

#[test]
#[ignore = "needs root: it mounts a directory in journald's place"]
fn a_record_that_the_log_can_not_take_stands_in_the_journal() {
    let site = site();
    fs::create_dir(site.path("stats.log")).unwrap();
    let told = run(&site, &["--backup"], true);
    assert_eq!(told.code, Some(10), "{}", told.stderr);
    let records: Vec<Record> = told
        .entries
        .iter()
        .filter_map(|entry| Some(Record::decode(entry.get("BACKUP_RECORD_JSON")?.as_bytes()).unwrap()))
        .collect();
    assert_eq!(records.len(), 8, "{:#?}", told.entries);
    assert_eq!(records.last().unwrap().body.type_name(), "run_finished");
    let warnings =
        told.entries.iter().filter(|entry| entry["MESSAGE"].starts_with("cannot write to the stats log"));
    assert_eq!(warnings.map(|entry| entry["PRIORITY"].as_str()).collect::<Vec<_>>(), ["4"]);
}

#[test]
#[ignore = "needs root: it mounts a directory in journald's place"]
fn a_configuration_that_is_wrong_is_an_error_in_the_journal() {
    let site = site();
    site.configure("  backup_bsae: /x", "  h:\n    paths: [{path: etc}]\n");
    let told = run(&site, &["--backup"], true);
    assert_eq!(told.code, Some(2));
    assert_eq!(told.entries.len(), 3, "{:#?}", told.entries);
    assert!(told.entries.iter().all(|entry| entry["PRIORITY"] == "3"));
    assert!(told.entries[0]["MESSAGE"].contains("did you mean backup_base?"));
    let refused = of(&told.entries, "run_refused");
    assert_eq!(refused["BACKUP_REASON"], "config_invalid");
}

#[test]
#[ignore = "needs root: it mounts a directory in journald's place"]
fn real_journal_files_can_be_searched_by_the_fields() {
    let site = site();
    let told = run(&site, &["--backup"], true);
    // The fields of an entry have the same form in journald's export format, with a time of its own each.
    let mut export = String::new();
    for (number, entry) in told.entries.iter().enumerate() {
        let time = 1_700_000_000_000_000_u64 + number as u64;
        write!(export, "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={:032x}\n", 1)
            .unwrap();
        for (name, value) in entry {
            writeln!(export, "{name}={value}").unwrap();
        }
        export.push('\n');
    }
    fs::write(site.path("export"), export).unwrap();
    let journal = site.path("x.journal");
    let written = process::run(
        Command::new("/lib/systemd/systemd-journal-remote").arg("-o").arg(&journal).arg(site.path("export")),
    );
    assert_eq!(written.code, 0, "{written:?}");
    let read = |fields: &[&str]| {
        let found = process::run(
            Command::new("journalctl").arg("--file").arg(&journal).args(["-o", "cat", "-q"]).args(fields),
        );
        assert_eq!(found.code, 0, "{found:?}");
        found.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(read(&[]).len(), told.entries.len());
    let failed = read(&["BACKUP_RECORD=path_finished", "BACKUP_STATUS=failed"]);
    assert!(failed.len() == 1 && failed[0].starts_with("bad "), "{failed:?}");
    let errors = read(&["-p", "err", "-t", "backup-runner"]);
    assert!(errors.len() >= 3 && errors.iter().all(|line| !line.contains("good ")), "{errors:?}");
}
