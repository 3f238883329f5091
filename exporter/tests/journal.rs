//! The built exporter reads real journal files through everything that happens to a journal.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::{Body, Record, RunStarted, Trigger};
use backup_testkit::wait;
use journal::Journal;
use support::{Exporter, Home, path_finished};

const UP: &str = "backup_exporter_input_up{input=\"journal\"}";
const FAILED: &str = "backup_run_state{state=\"failed\"}";
const RUNS: &str = "backup_runs_total";

fn id(letter: char) -> String {
    letter.to_string().repeat(32)
}

fn file(home: &Home, name: &str) -> PathBuf {
    home.journal().join(name)
}

/// A session that was killed; without records it counts as a failed run.
fn killed(journal: &mut Journal, letter: char) {
    journal
        .starting(&id(letter))
        .line(&id(letter), "rsync", "receiving incremental file list")
        .killed(&id(letter));
}

fn reason(name: &str) -> String {
    format!("backup_run_reason{{reason=\"{name}\"}}")
}

fn run_started(run_id: &str, pid: u32) -> String {
    let started = RunStarted {
        trigger: Trigger::Timer,
        pid,
        version: String::new(),
        hosts: 1,
        paths: 1,
        rsync_version: None,
    };
    let time = jiff::Timestamp::now();
    Record { time, run_id: run_id.to_owned(), body: Body::RunStarted(started) }.encode()
}

#[test]
fn a_killed_run_does_not_stay_running() {
    let home = Home::new();
    let mut journal = Journal::ago(600);
    journal.starting(&id('a')).line(&id('a'), "backup-runner", "backup of 1 host with 1 path started");
    journal.write(&file(&home, "system.journal"));
    home.append(run_started(&id('a'), 1));
    let exporter = home.start();
    assert_eq!(exporter.value("backup_run_state{state=\"running\"}"), Some(1.0));
    journal.killed(&id('a')).write(&file(&home, "system.journal"));
    exporter.until(&reason("killed"), 1.0);
    assert_eq!(exporter.value(FAILED), Some(1.0));
    assert_eq!(exporter.value("backup_runs_failed_total"), Some(1.0));
    assert_eq!(exporter.value(UP), Some(1.0));
}

/// Without a journal: the process that was seen is gone.
#[test]
fn a_runner_that_vanishes_is_noticed_without_a_journal() {
    let home = Home::new();
    let mut sleeper = backup_testkit::process::Running::start(Command::new("sleep").arg("1000"));
    home.append(run_started(&id('a'), sleeper.id()));
    let exporter = home.start();
    assert_eq!(exporter.value("backup_run_state{state=\"running\"}"), Some(1.0));
    sleeper.signal("KILL");
    sleeper.wait();
    exporter.until(&reason("died"), 1.0);
    assert_eq!(exporter.value(FAILED), Some(1.0));
}

#[test]
fn two_boots_are_read_once() {
    let home = Home::new();
    let mut journal = Journal::ago(3000);
    journal.starting(&id('a')).success(&id('a')).starting(&id('b'));
    journal.write(&file(&home, "system@1.journal"));
    journal.reboot('3').starting(&id('c')).success(&id('c')).write(&file(&home, "system.journal"));
    let exporter = home.start();
    exporter.until(RUNS, 3.0);
    // The one that the machine took down with it failed, and the one after it is the last.
    assert_eq!(exporter.value("backup_runs_failed_total"), Some(1.0));
    assert_eq!(exporter.value("backup_run_state{state=\"success\"}"), Some(1.0));
    drop(exporter);
    let again = home.start();
    again.until(RUNS, 3.0);
}

/// Anybody may write `UNIT=` into the journal; only PID 1 is believed.
#[test]
fn another_process_can_not_speak_for_pid_1() {
    let home = Home::new();
    let mut journal = Journal::ago(3000);
    let failed = "d9b373ed55a64feb8242e02dbe79a49c";
    journal.claim(failed, &id('a'), "Failed with result 'signal'.");
    journal.starting(&id('b')).claim(failed, &id('b'), "Failed with result 'signal'.");
    journal.line(&id('b'), "rsync", "sent 1 byte").success(&id('b'));
    journal.claim(failed, &id('c'), "Failed with result 'signal'.").write(&file(&home, "system.journal"));
    let exporter = home.start();
    exporter.until(RUNS, 1.0);
    exporter.until("backup_run_state{state=\"success\"}", 1.0);
    assert_eq!(exporter.value("backup_runs_failed_total"), Some(0.0));
    let entries = exporter.value("backup_exporter_input_records_total{input=\"journal\"}");
    assert_eq!(entries, Some(3.0), "what was claimed is no entry of the unit");
}

/// Files are added and removed as rotation and vacuum do, while the exporter reads.
#[test]
fn rotation_and_vacuum_leave_no_descriptor_open() {
    let home = Home::new();
    let mut journal = Journal::ago(100_000);
    killed(&mut journal, 'a');
    journal.write(&file(&home, "system.journal"));
    let exporter = home.start();
    exporter.until(RUNS, 1.0);
    let before = descriptors(&exporter, "").len();
    for round in 1..=40_u32 {
        let archived = file(&home, &format!("system@{round}.journal"));
        fs::rename(file(&home, "system.journal"), &archived).unwrap();
        journal.starting(&format!("{round:032x}")).success(&format!("{round:032x}"));
        journal.write(&file(&home, "system.journal"));
        exporter.until(RUNS, f64::from(round) + 1.0);
        fs::remove_file(archived).unwrap();
    }
    wait::until("the deleted files to be closed", || {
        descriptors(&exporter, "(deleted)").is_empty().then_some(())
    });
    assert!(descriptors(&exporter, "").len() <= before + 2, "{:?}", descriptors(&exporter, ""));
    assert_eq!(exporter.value(RUNS), Some(41.0));
}

fn descriptors(exporter: &Exporter, ending: &str) -> Vec<String> {
    let folder = format!("/proc/{}/fd", exporter.process.id());
    let links = fs::read_dir(folder).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.ends_with(ending)).collect()
}

/// Flipped bytes and a zeroed tail cost what they hit, not the rest and not the processor.
#[test]
fn damaged_files_do_not_stop_the_others() {
    for damage in 0..6 {
        let home = Home::new();
        let mut journal = Journal::ago(5000);
        for letter in ['a', 'b', 'c', 'd'] {
            killed(&mut journal, letter);
        }
        journal.write(&file(&home, "system@1.journal"));
        corrupt(&file(&home, "system@1.journal"), damage);
        killed(&mut journal, 'e');
        journal.write(&file(&home, "system.journal"));
        let exporter = home.start();
        wait::until("the file that is whole", || exporter.value(RUNS).filter(|runs| *runs >= 1.0));
        assert_eq!(exporter.value(FAILED), Some(1.0));
        // It goes on, and it rests.
        killed(&mut journal, 'f');
        let runs = exporter.value(RUNS).unwrap();
        journal.write(&file(&home, "system.journal"));
        exporter.until(RUNS, runs + 1.0);
        // What turns in a circle never comes to half a second without a tick.
        wait::until("the exporter to rest", || {
            let ticks = cpu_ticks(&exporter);
            std::thread::sleep(std::time::Duration::from_millis(500));
            (cpu_ticks(&exporter) == ticks).then_some(())
        });
    }
}

fn corrupt(path: &Path, damage: usize) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    match damage {
        0 => bytes[used / 2..].fill(0),
        1 => bytes.truncate(used / 2),
        2 => bytes[..8].fill(b'x'),
        3 => bytes.clear(),
        _ => (0..200).for_each(|step| bytes[(step * 7919 * damage) % length] ^= 0x55),
    }
    fs::write(path, bytes).unwrap();
}

fn cpu_ticks(exporter: &Exporter) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", exporter.process.id())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn without_a_journal_the_rest_goes_on() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let exporter = home.start();
    assert_eq!(exporter.value(UP), Some(0.0));
    assert_eq!(exporter.value(&support::attempts("server1", "/etc")), Some(1.0));
    assert!(exporter.messages().contains("cannot find a journal"), "{}", exporter.messages());
    let mut journal = Journal::ago(600);
    killed(&mut journal, 'a');
    journal.write(&file(&home, "system.journal"));
    exporter.until(UP, 1.0);
    exporter.until(RUNS, 1.0);
}

#[test]
#[ignore = "needs root: runs the exporter as a user who may not read the journal"]
fn without_permission_the_rest_goes_on() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let mut journal = Journal::ago(600);
    killed(&mut journal, 'a');
    journal.write(&file(&home, "system.journal"));
    for (path, mode) in [
        (home.path().to_owned(), 0o755),
        (home.log(), 0o644),
        (home.config(), 0o644),
        (home.journal(), 0o755),
        (file(&home, "system.journal"), 0o640),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // The program itself may be in a directory that is closed to others.
    let program = home.path().join("exporter");
    fs::copy(env!("CARGO_BIN_EXE_backup-exporter"), &program).unwrap();
    let mut command = Command::new(program);
    command.args(home.command().get_args()).uid(65534).gid(65534);
    let exporter = home.start_with(&mut command);
    assert_eq!(exporter.value(UP), Some(0.0));
    assert_eq!(exporter.value(&support::attempts("server1", "/etc")), Some(1.0));
    assert!(exporter.messages().contains("systemd-journal"), "{}", exporter.messages());
    fs::set_permissions(file(&home, "system.journal"), fs::Permissions::from_mode(0o644)).unwrap();
    exporter.until(UP, 1.0);
    exporter.until(RUNS, 1.0);
}

/// Order is the journal's, not the clock's.
#[test]
fn a_clock_that_was_set_back_changes_no_order() {
    let home = Home::new();
    let mut journal = Journal::ago(600);
    killed(&mut journal, 'a');
    journal.now -= 3600 * 1_000_000;
    journal.starting(&id('b')).success(&id('b'));
    journal.write(&file(&home, "system.journal"));
    let exporter = home.start();
    exporter.until(RUNS, 2.0);
    assert_eq!(exporter.value("backup_run_state{state=\"success\"}"), Some(1.0));
    let duration = exporter.value("backup_run_duration_seconds").unwrap();
    assert!((0.0..10.0).contains(&duration), "{duration}");
}

#[test]
fn any_rsync_unit_can_be_watched() {
    let home = Home::new();
    let mut journal = Journal::ago(600);
    let run = id('a');
    journal.starting(&run);
    for line in include_str!("../../common/tests/rsync_output/thousands.txt").lines() {
        journal.line(&run, "rsync", line);
    }
    journal.success(&run).write(&file(&home, "system.journal"));
    let exporter = home.start();
    exporter.until("backup_run_files", 1005.0);
    assert_eq!(exporter.value("backup_run_source_size_bytes"), Some(9_001_000.0));
    assert_eq!(exporter.value(&reason("ok")), Some(1.0));
    let run = id('b');
    journal.starting(&run);
    for line in [
        "root@server1: Permission denied (publickey,password).",
        "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]",
        "rsync error: unexplained error (code 255) at io.c(232) [Receiver=3.5.0]",
    ] {
        journal.line(&run, "rsync", line);
    }
    let exit = [("EXIT_CODE", "exited"), ("EXIT_STATUS", "255")];
    journal.manager("98e322203f7a4ed290d09fe03c09fe15", &run, "Main process exited", &exit);
    let result = [("UNIT_RESULT", "exit-code")];
    journal.manager("d9b373ed55a64feb8242e02dbe79a49c", &run, "Failed with result 'exit-code'.", &result);
    journal.write(&file(&home, "system.journal"));
    exporter.until(&reason("auth_failed"), 1.0);
    assert_eq!(exporter.value("backup_run_errors{kind=\"connection\"}"), Some(2.0));
}

/// A burst that journald dropped takes the run's end from the journal, and the record still tells it.
#[test]
fn the_record_decides_where_the_journal_has_a_gap() {
    let home = Home::new();
    let mut journal = Journal::ago(600);
    journal.starting(&id('a')).write(&file(&home, "system.journal"));
    let run = include_str!("scenarios/good_run/events.jsonl");
    home.append(run);
    let exporter = home.start();
    exporter.until(UP, 1.0);
    assert_eq!(exporter.value("backup_run_state{state=\"success\"}"), Some(1.0));
}

/// Read once and for all, the inputs give what the resident exporter shows.
#[test]
fn reading_once_gives_the_same_as_following() {
    use backup_exporter::event::{Event, Input};
    use backup_exporter::inputs::journal::{Source, collect};
    use backup_exporter::state::State;
    let home = Home::new();
    let mut journal = Journal::ago(600);
    journal.starting(&id('a')).line(&id('a'), "backup-runner", "backup of 1 host with 1 path started");
    journal.killed(&id('a')).write(&file(&home, "system.journal"));
    home.append(run_started(&id('a'), 1));
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let source = Source {
        unit: "backup.service".to_owned(),
        directory: Some(home.journal()),
        system_directories: Vec::new(),
        state_directory: None,
    };
    let mut state = State::default();
    collect(&source, jiff::Timestamp::UNIX_EPOCH, |event| state.apply(event)).unwrap();
    backup_exporter::inputs::stats::collect(&home.log(), |event| state.apply(event));
    for input in Input::ALL.into_iter().filter(|input| !input.is_replayed()) {
        state.apply(Event::CaughtUp(input));
    }
    assert!(state.has_caught_up() && !state.is_settling());
    let (_, session) = state.sessions()[0];
    assert_eq!(session.lines.len(), 4);
    assert_eq!(session.end.as_ref().unwrap().signal, Some(9));

    let exporter = home.start();
    exporter.until(&reason("killed"), 1.0);
    let run = |shown: &str| -> Vec<String> {
        let lines = shown.lines().filter(|line| line.starts_with("backup_run"));
        lines.map(ToOwned::to_owned).collect()
    };
    let once = backup_exporter::outputs::metrics::openmetrics(std::sync::Arc::new(state));
    assert_eq!(run(&once), run(&exporter.scrape()));
}
