//! The exporter is killed again and again while records arrive, and shows what an undisturbed one shows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_common::reason::Reason;
use backup_testkit::process::Running;
use backup_testkit::wait;
use journal::Journal;
use support::{Home, RECORDS, at, path_finished};

/// Starts that are cut short, at a random instant each.
const KILLS: u32 = 1000;
/// Latest instant: a start to the first answer takes some 20 ms.
const INSTANTS: u64 = 25;
/// Records between two rotations.
const ROTATION: u64 = 400;

#[test]
fn killed_at_random_instants_it_shows_the_same_as_undisturbed() {
    let home = Home::new();
    home.append("");
    let mut sessions = Journal::ago(3600);
    for letter in ["a", "b", "c"] {
        sessions.starting(&letter.repeat(32)).killed(&letter.repeat(32));
    }
    sessions.write(&home.journal().join("system.journal"));
    // Only the killed ones share their state directory.
    let own = home.path().join("undisturbed").into_os_string();
    let command = home.command();
    let arguments = command
        .get_args()
        .map(|argument| if argument == home.path().join("state") { &own } else { argument });
    let undisturbed = home.start_with(Command::new(command.get_program()).args(arguments));

    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let reason = if written % 3 == 0 { Reason::Timeout } else { Reason::Ok };
                home.append(at(written, &path_finished("server1", "/etc", reason)));
                written += 1;
                if written % ROTATION == 0 {
                    rotate(&home);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            written
        });
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..KILLS {
            let mut exporter = Running::start(home.command().stderr(Stdio::null()).stdout(Stdio::null()));
            // xorshift: spread over the start, the reading and the first answers.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_micros(random % (INSTANTS * 1000)));
            exporter.signal_kill();
            exporter.wait();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    undisturbed.until(RECORDS, written as f64);
    undisturbed.until("backup_runs_total", 3.0);
    let last = home.start();
    let differs = || {
        let (last, other) = (last.lasting(), undisturbed.lasting());
        last.lines().zip(other.lines()).find(|(last, other)| last != other).map(|pair| format!("{pair:?}"))
    };
    wait::until("the start to settle", || (last.value("backup_runs_total") == Some(3.0)).then_some(()));
    assert_eq!(differs(), None);
    assert_eq!(last.value(RECORDS), Some(written as f64));
}

/// As logrotate(8) does with `compress` and `delaycompress`.
fn rotate(home: &Home) {
    let part = |age: usize, gz: &str| home.path().join(format!("backup-stats.log.{age}{gz}"));
    for age in (2..99).rev().filter(|age| part(*age, ".gz").exists()) {
        fs::rename(part(age, ".gz"), part(age + 1, ".gz")).unwrap();
    }
    if part(1, "").exists() {
        fs::rename(part(1, ""), part(2, "")).unwrap();
        assert!(Command::new("gzip").arg(part(2, "")).status().unwrap().success());
    }
    fs::rename(home.log(), part(1, "")).unwrap();
}
