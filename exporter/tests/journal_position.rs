//! The built exporter goes on in the journal where it was, or says why it can not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::fs;
use std::process::Command;

use journal::Journal;
use support::Home;

const UP: &str = "backup_exporter_input_up{input=\"journal\"}";
const RUNS: &str = "backup_runs_total";

/// Writes a journal with another session that was killed; without records it counts as a failed run.
fn write_killed(journal: &mut Journal, letter: char, home: &Home) {
    let id = letter.to_string().repeat(32);
    journal.starting(&id).line(&id, "rsync", "receiving incremental file list").killed(&id);
    journal.write(&home.journal().join("system.journal"));
}

#[test]
fn a_bad_position_is_said_and_passed_over() {
    let foreign =
        "s=0639b26a4c5c4c1b8a4b0d5d3d8e6f10;i=2a;b=7f3e6c1d8a9b4c5d8e7f6a5b4c3d2e1f;m=1c;t=5f0;x=9d";
    for (content, said) in [
        (&b""[..], "holds no cursor"),
        (b"\0\xff\xfe", "holds no cursor"),
        (b"hello", "holds no cursor"),
        (foreign.as_bytes(), "not in this journal"),
    ] {
        let home = Home::new();
        let mut journal = Journal::ago(600);
        write_killed(&mut journal, 'a', &home);
        let state = home.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("journal-cursor"), content).unwrap();
        let exporter = home.start();
        exporter.until(RUNS, 1.0);
        assert!(exporter.messages().contains(said), "{content:?}: {}", exporter.messages());
        assert!(fs::read_to_string(state.join("journal-cursor")).unwrap().starts_with("s="));
    }
}

#[test]
fn a_position_that_can_not_be_kept_is_said() {
    // A directory in its place, and a state directory that is a file.
    for in_place in [true, false] {
        let home = Home::new();
        let mut journal = Journal::ago(600);
        write_killed(&mut journal, 'a', &home);
        let state = home.path().join("state");
        if in_place {
            fs::create_dir_all(state.join("journal-cursor")).unwrap();
        } else {
            fs::write(&state, "").unwrap();
        }
        let exporter = home.start();
        exporter.until(RUNS, 1.0);
        assert!(exporter.messages().contains("cannot save the journal position"), "{}", exporter.messages());
    }
}

/// What happened long ago is read if the exporter was not running since.
#[test]
fn nothing_is_lost_over_a_long_stop() {
    let home = Home::new();
    let mut journal = Journal::ago(20 * 24 * 3600);
    write_killed(&mut journal, 'a', &home);
    // Never started before: the last 7 days.
    let exporter = home.start();
    exporter.until(UP, 1.0);
    assert_eq!(exporter.value(RUNS), Some(0.0));
    drop(exporter);
    let cursor = Command::new("journalctl")
        .arg("-D")
        .arg(home.journal())
        .args(["-n1", "-o", "export"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&cursor.stdout).into_owned();
    let cursor = text.lines().find_map(|line| line.strip_prefix("__CURSOR=")).unwrap();
    fs::create_dir_all(home.path().join("state")).unwrap();
    fs::write(home.path().join("state/journal-cursor"), cursor).unwrap();
    write_killed(&mut journal, 'b', &home);
    let exporter = home.start();
    // The rest of the first session, and the second.
    exporter.until(RUNS, 2.0);
}
