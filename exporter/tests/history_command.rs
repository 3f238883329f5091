//! The built `backup-metrics` over a stats log and a journal: every documented command line, what can not
//! be read, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::{Body, Record, RunFinished, RunRefused, RunStarted, Trigger};
use backup_common::status::Status;
use backup_testkit::btrfs::Volume;
use backup_testkit::process::{self, Output};
use jiff::{SignedDuration, Timestamp};
use journal::Journal;
use serde_json::Value;
use support::{Home, path_finished};

const PROGRAM: &str = env!("CARGO_BIN_EXE_backup-metrics");

/// Everything comes from the directory of the test.
fn command(home: &Home, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    let places = [
        ("--config", home.config()),
        ("--stats-file", home.log()),
        ("--journal-directory", home.journal()),
        ("--state-directory", home.path().join("state")),
        ("--timer", home.path().join("backup.timer")),
    ];
    if arguments.first() != Some(&"explain") {
        for (flag, place) in places {
            command.arg(flag).arg(place);
        }
    }
    command.env_remove("COLUMNS");
    command
}

fn run(home: &Home, line: &str) -> Output {
    process::run(&mut command(home, PROGRAM, &line.split_whitespace().collect::<Vec<_>>()))
}

fn json(home: &Home, line: &str) -> Value {
    let output = run(home, &format!("{line} --json"));
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {output:?}"))
}

/// The numbers of the runs that are shown.
fn shown(value: &Value) -> Vec<usize> {
    let runs = value["runs"].as_array().unwrap().iter();
    runs.map(|run| usize::from_str_radix(&run["id"].as_str().unwrap()[..1], 16).unwrap()).collect()
}

/// The id of the run that is this many before the last one.
fn id(back: usize) -> String {
    format!("{back:x}").repeat(32)
}

fn record(id: &str, time: Timestamp, body: Body) -> String {
    Record { time, run_id: id.to_owned(), body }.encode()
}

/// Ten daily runs: the fifth last is about `server2` alone, the third last failed, the fourth last was killed, the
/// seventh last refused; the others are good.
fn ten_runs(home: &Home) {
    fs::write(home.path().join("backup.timer"), "[Timer]\nOnCalendar=daily\n").unwrap();
    let now = Timestamp::now();
    for back in (0..10).rev() {
        let started = now - SignedDuration::from_hours(24 * i64::try_from(back).unwrap() + 1);
        let id = id(back);
        if back == 6 {
            let message = "another run holds /run/backup-runner.lock".to_owned();
            let refused = RunRefused { reason: Reason::Locked, message };
            home.append(record(&id, started, Body::RunRefused(refused)));
            continue;
        }
        let start = RunStarted {
            trigger: Trigger::Timer,
            pid: 4242,
            version: "0".to_owned(),
            hosts: 2,
            paths: 2,
            rsync_version: None,
        };
        home.append(record(&id, started, Body::RunStarted(start)));
        let reason = if back == 2 { Reason::ConnectionLost } else { Reason::Ok };
        let mut paths = vec![("server2", "/var/www")];
        if back != 4 {
            paths.insert(0, ("server1", "/etc"));
        }
        for (number, (host, path)) in (1..).zip(paths) {
            let line = path_finished(host, path, if host == "server1" { reason } else { Reason::Ok });
            let mut path = Record::decode(line.trim_end().as_bytes()).unwrap();
            path.run_id.clone_from(&id);
            path.time = started + SignedDuration::from_secs(number);
            if back != 3 {
                home.append(path.encode());
            }
        }
        if back == 3 {
            continue;
        }
        let finished = RunFinished {
            status: reason.status(),
            reason,
            duration_seconds: 5.0,
            hosts: [(Status::Success, 1)].into(),
            paths: [(Status::Success, 1)].into(),
        };
        home.append(record(&id, started + SignedDuration::from_secs(5), Body::RunFinished(finished)));
    }
    // Sessions of the killed and of the last run.
    let mut journal = Journal::ago(24 * 3 * 3600 + 3600);
    journal.starting(&id(3)).line(&id(3), "backup-runner", "server1:/etc begins").killed(&id(3));
    journal.write(&home.journal().join("1.journal"));
    let mut journal = Journal::ago(3600);
    journal.reboot('3').starting(&id(0));
    for number in 0..30 {
        journal.line(&id(0), "backup-runner", &format!("line {number} of server{}", number % 2 + 1));
    }
    journal.success(&id(0));
    journal.write(&home.journal().join("2.journal"));
}

#[test]
fn the_older_command_lines_to_the_letter() {
    let home = Home::new();
    ten_runs(&home);
    for (line, expected, found) in [
        ("--last-run", vec![0], 10),
        ("--last-run -2", vec![2], 10),
        ("--last-run --count 3", vec![0, 1, 2], 10),
        ("--last-run --host server1", vec![0], 9),
        ("--last-run --hours 48", vec![0], 2),
        ("--last-run -4 --count 4 --host server1", vec![5, 6, 7, 8], 9),
        ("--verbose --last-run", vec![0], 10),
        ("--count 2", vec![0, 1], 10),
        ("--last-run -8 --count 7", vec![8, 9], 10),
        ("--last-run -20", vec![], 10),
    ] {
        let value = json(&home, line);
        assert_eq!((shown(&value), &value["found"]), (expected, &found.into()), "{line}");
        assert_eq!(value["unread"], serde_json::json!([]), "{line}");
        let plain = run(&home, line);
        let is_empty = value["runs"].as_array().unwrap().is_empty();
        assert_eq!(plain.code, i32::from(is_empty), "{line}: {plain:?}");
        assert!(plain.stderr.is_empty() || line.contains("--verbose"), "{plain:?}");
        assert!(!plain.stdout.contains('\u{1b}'), "{plain:?}");
    }

    let last = run(&home, "--last-run").stdout;
    assert!(last.starts_with("Last run: success (ok)\n"), "{last}");
    assert!(last.contains("1 d after the run before; expected every 1 d: on time"), "{last}");
    assert!(last.contains("by the timer") && last.contains("took       5.0 s"), "{last}");
    assert!(last.contains("log, 32 lines, the last 20 of them (--verbose shows all)"), "{last}");
    assert!(last.contains("line 29 of server2") && !last.contains("line 5 of"), "{last}");
    let verbose = run(&home, "--verbose --last-run").stdout;
    assert!(verbose.contains("line 0 of server1") && verbose.contains(&id(0)), "{verbose}");
    let host = run(&home, "--last-run --host server1").stdout;
    assert!(host.contains("line 28 of server1") && !host.contains("server2"), "{host}");

    let third = run(&home, "--last-run -2").stdout;
    assert!(third.starts_with("3rd last run: failed (connection_lost)\n"), "{third}");
    assert!(third.contains(Reason::ConnectionLost.remedy()), "{third}");
    let killed = run(&home, "--last-run -3").stdout;
    assert!(killed.starts_with("4th last run: failed (killed)\n"), "{killed}");
    assert!(killed.contains("ended with signal, signal 9"), "{killed}");
    let refused = run(&home, "--last-run -6").stdout;
    assert!(refused.starts_with("7th last run: refused (locked)\n"), "{refused}");
    assert!(refused.contains("another run holds /run/backup-runner.lock"), "{refused}");

    let more = run(&home, "--last-run -8 --count 7").stdout;
    assert!(
        more.ends_with("There are only 10 runs; asked for were 7, from the 9th last run on.\n"),
        "{more}"
    );
    let none = run(&home, "--last-run -20").stdout;
    assert_eq!(none, "There are only 10 runs; asked for was the 21st last run.\n");
    let nobody = run(&home, "--last-run --host nobody --hours 1").stdout;
    assert!(nobody.starts_with("There is no run of nobody since "), "{nobody}");
}

#[test]
fn the_summary_and_its_json() {
    let home = Home::new();
    ten_runs(&home);
    let summary = run(&home, "");
    assert_eq!(summary.code, 0, "{summary:?}");
    assert!(summary.stdout.starts_with("WARNING: 1 of 3 paths needs a look.\n"), "{}", summary.stdout);
    assert!(
        summary.stdout.contains("every 1 d at most, by the unit file of the timer"),
        "{}",
        summary.stdout
    );
    assert!(summary.stdout.contains("- server1 /home: It was never backed up."), "{}", summary.stdout);
    let value = json(&home, "");
    assert_eq!((&value["version"], &value["verdict"]["level"]), (&1.into(), &"warning".into()));
    assert_eq!(value["run"]["state"], "success");
    assert_eq!(value["hosts"][0]["paths"][0]["stats"]["files"], 7);
    let one = json(&home, "--host server2");
    assert_eq!(one["hosts"].as_array().unwrap().len(), 1);
    assert!(summary.stdout.contains("not measured yet"), "{}", summary.stdout);
    fs::create_dir(home.path().join("state")).unwrap();
    let now = Timestamp::now();
    let size = |days: i64, bytes: u64| {
        let time = now - SignedDuration::from_hours(24 * days);
        format!(
            "{{\"v\":1,\"time\":\"{time}\",\"host\":\"server1\",\"path\":\"/etc\",\"method\":\"tree\",\"duration_seconds\":1.0,\"bytes\":{bytes},\"apparent_bytes\":1,\"files\":1}}\n"
        )
    };
    let sizes = size(31, 1 << 30) + &size(8, 3 << 30) + &size(1, 5 << 30) + &size(0, 4 << 30);
    fs::write(home.path().join("state/sizes.jsonl"), sizes).unwrap();
    let wide = process::run(command(&home, PROGRAM, &[]).env("COLUMNS", "150"));
    let row = wide.stdout.lines().find(|line| line.contains("/etc")).unwrap();
    let words = row.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    assert_eq!(words[6..], ["0 B", "4.00 GiB", "-1.00 GiB", "+1.00 GiB", "+3.00 GiB"], "{row}");
    assert!(wide.stdout.contains("4.00 GiB stored; measured "), "{}", wide.stdout);
    assert!(wide.stdout.contains(" ago by tree"), "{}", wide.stdout);
    // A pager that is left early.
    let piped = Command::new("sh")
        .args(["-c", "\"$0\" --last-run --count 10 --config \"$1\" --stats-file \"$2\" | head -n 1", PROGRAM])
        .args([home.config(), home.log()])
        .output()
        .unwrap();
    assert!(piped.stderr.is_empty(), "{piped:?}");
    // A narrow terminal is told by COLUMNS.
    let narrow = process::run(command(&home, PROGRAM, &["--last-run"]).env("COLUMNS", "50"));
    assert!(narrow.stdout.lines().all(|line| line.chars().count() <= 50), "{}", narrow.stdout);
}

#[test]
fn the_exit_codes_of_a_check() {
    let home = Home::new();
    let nothing = run(&home, "--check");
    assert_eq!(nothing.code, 3, "{nothing:?}");
    home.append("");
    let never = run(&home, "--check");
    assert_eq!(never.code, 2, "{never:?}");
    assert!(never.stdout.starts_with("BACKUP CRITICAL - No run is known."), "{never:?}");

    ten_runs(&home);
    let warning = run(&home, "--check");
    assert_eq!(warning.code, 1, "{warning:?}");
    assert_eq!(warning.stdout.lines().count(), 1);
    home.configure(
        "hosts: {server1: {ssh_user: '', paths: [{path: /etc}]}, server2: {ssh_user: '', paths: [{path: /var/www}]}}",
    );
    let good = run(&home, "--check");
    assert_eq!(good.code, 0, "{good:?}");
    let (text, figures) = good.stdout.trim_end().split_once(" | ").unwrap();
    assert_eq!(text, "BACKUP OK - Everything is backed up.");
    assert!(figures.starts_with("last_start_age=36") && figures.contains("s;;95640;0 "), "{figures}");
    assert!(figures.ends_with(" duration=5.0s;;;0 paths=2;;;0 warning=0;0;;0 failed=0;;0;0"), "{figures}");
    let late = run(&home, "--check --max-age 0.01");
    assert!(late.code == 2 && late.stdout.contains("Its newest good copy is "), "{late:?}");
    // The same age is fine once a week.
    fs::write(home.path().join("backup.timer"), "[Timer]\nOnCalendar=weekly\n").unwrap();
    assert_eq!(run(&home, "--check --max-age 0.01").code, 0);
    assert_eq!(run(&home, "--check --nonsense").code, 3);
    assert_eq!(run(&home, "--last-run --nonsense").code, 2);
}

#[test]
fn reasons_are_explained() {
    let home = Home::new();
    let all = run(&home, "explain");
    for reason in Reason::all() {
        assert!(all.stdout.contains(&format!("{reason} (")), "{reason}");
    }
    let one = run(&home, "explain connection_refused");
    assert!(one.stdout.contains(Reason::ConnectionRefused.remedy()), "{one:?}");
    assert_eq!(run(&home, "explain nonsense").code, 2);
}

#[test]
fn an_older_system_without_records() {
    let home = Home::new();
    let line = |path: &str, code: u8, time: &str| {
        format!(
            "RSYNC_STATS: host=server1 path={path} bytes_sent=10 bytes_received=20 transfer_rate=5.0 total_size=3000 speedup=100.0 exit_code={code} error_count={code} warning_count=0 permission_errors=0 connection_errors=0 timestamp={time}\n"
        )
    };
    home.append(line("/etc", 0, "2026-01-01 02:00:10") + &line("/home", 12, "2026-01-01 02:10:00"));
    home.append(line("/etc", 0, "2026-01-01 04:00:10") + &line("/home", 0, "2026-01-01 04:10:00"));
    let value = json(&home, "--last-run --count 3");
    assert_eq!(value["found"], 2);
    let states: Vec<_> = value["runs"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["success", "failed"]);
    let path = &value["runs"][0]["hosts"][0]["paths"][0];
    assert_eq!((&path["stats"]["received_bytes"], &path["stats"]["files"]), (&20.into(), &Value::Null));
    let text = run(&home, "--last-run --count 2").stdout;
    assert!(text.contains("without records"), "{text}");
}

/// Copies the program to where another user can start it.
fn as_nobody(home: &Home, line: &str) -> Output {
    let program = home.path().join("backup-metrics");
    if !program.exists() {
        fs::copy(PROGRAM, &program).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut arguments =
        vec!["--reuid=65534", "--regid=65534", "--clear-groups", "--", program.to_str().unwrap()];
    arguments.extend(line.split_whitespace());
    process::run(&mut command(home, "setpriv", &arguments))
}

#[test]
#[ignore = "needs root: it becomes another user"]
fn an_ordinary_user_is_told_what_could_not_be_read() {
    let home = Home::new();
    ten_runs(&home);
    let close = |path: &std::path::Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let good = as_nobody(&home, "--last-run");
    assert_eq!(good.code, 0, "{good:?}");

    for file in ["1.journal", "2.journal"] {
        close(&home.journal().join(file));
    }
    let without_journal = as_nobody(&home, "--last-run");
    assert_eq!(without_journal.code, 0, "{without_journal:?}");
    assert!(without_journal.stdout.starts_with("Last run: success (ok)\n"), "{without_journal:?}");
    assert!(
        without_journal.stdout.contains("you must be in the group systemd-journal"),
        "{without_journal:?}"
    );

    close(&home.config());
    let without_config = as_nobody(&home, "");
    assert!(without_config.stdout.contains("shown are the hosts and paths of the log"), "{without_config:?}");
    assert!(without_config.stdout.contains("/var/www"), "{without_config:?}");

    close(&home.log());
    let blind = as_nobody(&home, "");
    assert_eq!(blind.code, 1, "{blind:?}");
    assert!(blind.stdout.contains("cannot read the stats log"), "{blind:?}");
    assert!(blind.stdout.starts_with("UNKNOWN: "), "{blind:?}");
    let check = as_nobody(&home, "--check");
    assert!(check.code == 3 && check.stdout.starts_with("BACKUP UNKNOWN - "), "{check:?}");
}

#[test]
#[ignore = "needs root: mounts a btrfs"]
fn what_is_exclusive_on_btrfs() {
    let home = Home::new();
    let btrfs = Volume::temporary(256);
    home.configure(&format!(
        "config: {{backup_base: {}}}\nhosts:\n  a: {{ssh_user: '', paths: [{{path: /x}}]}}\n  \
         b: {{ssh_user: '', paths: [{{path: /y}}, {{path: /never}}]}}\n",
        btrfs.path().display()
    ));
    for directory in ["a/x", "b/y"] {
        fs::create_dir_all(btrfs.path().join(directory)).unwrap();
    }
    fs::write(btrfs.path().join("a/x/own"), vec![1; 100 << 10]).unwrap();
    fs::write(btrfs.path().join("a/x/shared"), vec![2; 200 << 10]).unwrap();
    let copy = process::run(
        Command::new("cp")
            .arg("--reflink=always")
            .arg(btrfs.path().join("a/x/shared"))
            .arg(btrfs.path().join("b/y/shared")),
    );
    assert_eq!(copy.code, 0, "{copy:?}");
    process::run(Command::new("sync").arg("-f").arg(btrfs.path()));

    let value = json(&home, "--exclusive --host a");
    let paths = value["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 1);
    assert_eq!(
        (&paths[0]["exclusive_bytes"], &paths[0]["total_bytes"]),
        (&(100 << 10).into(), &(300 << 10).into())
    );
    let all = run(&home, "--exclusive");
    assert_eq!(all.code, 1, "one directory is not there: {all:?}");
    assert!(all.stdout.contains("! cannot measure") && all.stdout.contains("100 KiB"), "{all:?}");
    // The summary has them from now on, beside the sizes.
    let stored = &json(&home, "")["hosts"][0]["paths"][0]["stored"];
    assert_eq!(stored["exclusive_bytes"], 100 << 10, "{stored}");
    let summary = run(&home, "").stdout;
    assert!(summary.contains("exclusive") && summary.contains("100 KiB"), "{summary}");
}
