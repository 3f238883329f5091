//! The built exporter pushes to a real InfluxDB 1.6.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backup_common::reason::Reason;
use backup_common::record::{Body, Record};
use backup_testkit::influxdb::InfluxDb;
use backup_testkit::process::{self, Running};
use backup_testkit::wait;
use support::influx::{DATABASE, configure, failures, influxdb, nth, range, until_stored, v1};
use support::{Home, path_finished};

const DROPPED: &str = "backup_exporter_push_dropped_total";

#[test]
fn without_a_configuration_there_is_no_push_and_no_complaint() {
    let home = Home::new();
    home.append(range(0..3));
    let exporter = home.start();
    assert!(!exporter.scrape().contains("backup_exporter_push"));
    assert!(!exporter.messages().to_lowercase().contains("influx"), "{}", exporter.messages());
    assert!(!home.path().join("state").exists());
}

#[test]
fn a_bad_configuration_is_refused_with_every_line_and_no_secret() {
    let home = Home::new();
    configure(&home, 1, "  databse: x\n  token: very-secret");
    let output = process::run(&mut home.command());
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("databse: unknown key; did you mean database?"), "{}", output.stderr);
    assert!(!output.stderr.contains("very-secret"), "{}", output.stderr);
}

#[test]
fn where_points_go_is_read_again_on_sighup() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    influxdb.query("", "CREATE DATABASE other");
    let exporter = home.start();
    let count = |database: &str| influxdb.count(database, "backup_path", "error_count");
    let reload = |success: f64| {
        exporter.process.signal("HUP");
        exporter.until("backup_exporter_config_reload_success", success);
    };
    home.append(range(0..3));
    configure(&home, influxdb.port, &v1());
    exporter.process.signal("HUP");
    wait::until("the push to begin", || (count(DATABASE) == 3).then_some(()));

    configure(&home, influxdb.port, "  databse: other\n  token: very-secret");
    reload(0.0);
    home.append(range(3..5));
    wait::until("the push to go on as it was", || (count(DATABASE) == 5).then_some(()));
    assert!(!exporter.messages().contains("very-secret"), "{}", exporter.messages());

    configure(&home, influxdb.port, "  database: other");
    reload(1.0);
    home.append(range(5..9));
    wait::until("the points in the other database", || (count("other") == 4).then_some(()));
    assert_eq!(count(DATABASE), 5);

    fs::remove_file(home.path().join("influxdb-config.yaml")).unwrap();
    reload(1.0);
    wait::until("a warning", || {
        exporter
            .messages()
            .contains("points are sent as before until the exporter is restarted")
            .then_some(())
    });
    home.append(range(9..10));
    wait::until("the points as before", || (count("other") == 5).then_some(()));
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of_and_never_printed() {
    let home = Home::new();
    configure(&home, process::free_port(), support::influx::V2);
    home.append(range(0..1));
    let file = home.path().join("influxdb-config.yaml");
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let exporter = home.start();
        wait::until("a failure", || (failures(&exporter, "unreachable") > 0.0).then_some(()));
        let messages = exporter.messages();
        assert_eq!(messages.contains("every user of this machine can read the secret"), warned, "{messages}");
        assert!(!messages.contains("the-token") && !exporter.scrape().contains("the-token"));
    }
}

#[test]
fn each_thing_that_ended_arrives_with_its_fields() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    let exporter = home.start();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push-records.jsonl");
    home.append(fs::read(scenario).unwrap());
    exporter.until("backup_exporter_push_points_total", 6.0);

    let rows = influxdb.rows(
        DATABASE,
        "SELECT status, status_numeric, exit_code, error_count, transfer_rate, speedup, message, host, path FROM backup_path",
    );
    let row = |index: usize| serde_json::Value::from(rows[index][1..].to_vec()).to_string();
    assert_eq!(row(0), r#"["success",1,0,0,123456.5,2.5,null,"server1","/etc"]"#);
    assert_eq!(row(1), r#"["failed",0,23,1,null,null,"rsync: \"no\"","server1","/home"]"#);
    // 2026-01-02T03:04:06.5Z
    assert_eq!(rows[0][0].as_i64(), Some(1_767_323_046_500_000_000));
    for (measurement, field, count) in [
        ("backup_host", "duration_seconds", 1),
        ("backup_run", "duration_seconds", 1),
        ("backup_run", "refused", 1),
        ("backup_snapshot", "complete", 1),
    ] {
        assert_eq!(influxdb.count(DATABASE, measurement, field), count, "{measurement} {field}");
    }
    assert_eq!(exporter.value("backup_exporter_outbox_bytes"), Some(0.0));
    assert!(exporter.value("backup_exporter_push_last_success_timestamp_seconds").unwrap() > 1.7e9);
    assert_eq!(exporter.value(DROPPED), Some(0.0));
}

#[test]
fn a_server_that_is_down_at_first_and_restarted_later_gets_everything() {
    let home = Home::new();
    let mut influxdb = InfluxDb::prepare(home.path(), "");
    configure(&home, influxdb.port, &v1());
    home.append(range(0..50));
    let exporter = home.start();
    wait::until("a failure", || (failures(&exporter, "unreachable") > 0.0).then_some(()));
    assert!(exporter.value("backup_exporter_outbox_bytes").unwrap() > 0.0);
    assert_eq!(exporter.value("backup_exporter_outbox_oldest_timestamp_seconds"), Some(1_767_323_045.0));
    influxdb.resume();
    influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
    until_stored(&influxdb, 0..50);

    influxdb.stop();
    home.append(range(50..100));
    influxdb.resume();
    until_stored(&influxdb, 0..100);
    exporter.until("backup_exporter_outbox_bytes", 0.0);
    assert_eq!(exporter.value(DROPPED), Some(0.0));
}

#[test]
fn a_frozen_server_holds_up_no_scrape() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    home.append(range(0..5));
    let exporter = home.start();
    until_stored(&influxdb, 0..5);
    influxdb.signal("STOP");
    home.append(range(5..10));
    // Scrapes go on, and show the records, while the push waits for its answer again and again.
    wait::until("two timeouts", || (failures(&exporter, "timeout") >= 2.0).then_some(()));
    exporter.until(&support::attempts("server1", "/etc"), 10.0);
    influxdb.signal("CONT");
    until_stored(&influxdb, 0..10);
}

#[test]
fn a_restarted_exporter_sends_what_is_new_and_nothing_again() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    home.append(range(0..30));
    let exporter = home.start();
    until_stored(&influxdb, 0..30);
    exporter.until("backup_exporter_outbox_bytes", 0.0);
    drop(exporter);
    // Older by its time, and new all the same: the clock was set back.
    let mut late =
        Record::decode(path_finished("server1", "/etc", Reason::Ok).trim_end().as_bytes()).unwrap();
    late.time = "2026-01-01T00:00:00Z".parse().unwrap();
    let Body::PathFinished(finished) = &mut late.body else { panic!() };
    finished.error_count = 30;
    home.append(late.encode());
    let exporter = home.start();
    until_stored(&influxdb, 0..31);
    exporter.until("backup_exporter_push_points_total", 1.0);
}

#[test]
fn hostile_names_come_back_equal_or_spelled_out() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    let long = "x".repeat(64 << 10);
    let names = [
        ("/a,b=c d", "/a,b=c d"),
        ("/say \"no\"", "/say \"no\""),
        ("/C:\\dir", "/C:\\dir"),
        ("/end\\", "/end\\u5c"),
        ("/a\\,b\\=c\\ d", "/a\\u5c,b\\u5c=c\\u5c d"),
        ("/line\nbackup_run,server=x status_numeric=1 1", "/line\\uabackup_run,server=x status_numeric=1 1"),
        ("/é☃🦀", "/é☃🦀"),
        (" lead", " lead"),
        (long.as_str(), &long[..4096]),
    ];
    for (number, (name, _)) in names.iter().enumerate() {
        home.append(nth("server1", name, number as u64));
    }
    let exporter = home.start();
    exporter.until("backup_exporter_push_points_total", names.len() as f64);
    let rows = influxdb.rows(DATABASE, "SELECT error_count, path FROM backup_path");
    let found: Vec<_> = rows.iter().map(|row| row[2].as_str().unwrap()).collect();
    let expected: Vec<_> = names.iter().map(|(_, shown)| *shown).collect();
    assert_eq!(found, expected);
    assert_eq!(influxdb.count(DATABASE, "backup_run", "status_numeric"), 0);
    assert_eq!(exporter.value(DROPPED), Some(0.0));
}

#[test]
fn a_poison_line_costs_itself_alone() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    // A field that is a text in this shard takes no number.
    let address = influxdb.address();
    let body = "backup_host,host=x duration_seconds=\"text\" 1767323045000000000";
    let path = format!("/write?db={DATABASE}");
    let length = format!("Content-Length: {}\r\n", body.len());
    let answer = backup_testkit::http::send(&address, "POST", &path, &length, body);
    assert_eq!(answer.unwrap().status, 204);
    let host = r#"{"v":1,"type":"host_finished","time":"2026-01-02T03:04:07Z","run_id":"r","host":"server1","status":"success","reason":"ok","duration_seconds":2.0,"paths":{"success":1}}"#;
    home.append(range(0..500));
    home.append(format!("{host}\n"));
    home.append(range(500..1000));
    let exporter = home.start();
    until_stored(&influxdb, 0..1000);
    exporter.until(DROPPED, 1.0);
    assert!((failures(&exporter, "rejected") - 1.0).abs() < f64::EPSILON);
    let letters = fs::read_to_string(home.path().join("state/outbox/dead-letters")).unwrap();
    assert!(
        letters.contains("field type conflict") && letters.contains("\nbackup_host,host=server1"),
        "{letters}"
    );
    assert_eq!(letters.lines().count(), 2, "{letters}");
    home.append(range(1000..1001));
    until_stored(&influxdb, 0..1001);
}

#[test]
fn what_is_older_than_the_retention_is_counted_and_not_tried_again() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    influxdb
        .query("", &format!("CREATE RETENTION POLICY short ON {DATABASE} DURATION 1h REPLICATION 1 DEFAULT"));
    configure(&home, influxdb.port, &v1());
    let now = jiff::Timestamp::now().as_millisecond() - 1_767_323_045_000;
    home.append(range(0..20));
    home.append(range(u64::try_from(now).unwrap()..u64::try_from(now).unwrap() + 5));
    let exporter = home.start();
    exporter.until("backup_exporter_push_points_total", 5.0);
    exporter.until(DROPPED, 20.0);
    assert!((failures(&exporter, "too_old") - 20.0).abs() < f64::EPSILON);
    assert_eq!(influxdb.count(DATABASE, "backup_path", "error_count"), 5);
    assert!(!home.path().join("state/outbox/dead-letters").exists());
}

/// `BACKUP_DRAIN_POINTS` sets how many; what it prints means something with `--release` only.
#[test]
fn a_backlog_drains() {
    let points: u64 = std::env::var("BACKUP_DRAIN_POINTS").map_or(10_000, |text| text.parse().unwrap());
    let home = Home::new();
    let mut influxdb = InfluxDb::prepare(home.path(), "");
    configure(&home, influxdb.port, &v1());
    home.append(range(0..points));
    let exporter = home.start();
    let last = Record::decode(range(points - 1..points).trim_end().as_bytes()).unwrap().time.to_string();
    wait::until("all points to be in the outbox", || {
        let mark = fs::read_to_string(home.path().join("state/outbox/last-record")).ok()?;
        mark.starts_with(&last).then_some(())
    });
    drop(exporter);
    influxdb.resume();
    influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
    let begun = Instant::now();
    let exporter = home.start();
    // To ask the database all the time would slow it down.
    exporter.until("backup_exporter_push_points_total", points as f64);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{points} points in {seconds:.2} s, {:.0} a second, the start of the exporter included",
        points as f64 / seconds
    );
    until_stored(&influxdb, 0..points);
}

#[test]
#[ignore = "needs root: it mounts a small tmpfs"]
fn a_full_disk_costs_nothing() {
    let home = Home::new();
    let mut influxdb = InfluxDb::prepare(home.path(), "");
    configure(&home, influxdb.port, &v1());
    let state = home.path().join("state");
    fs::create_dir(&state).unwrap();
    let tmpfs = Mounted::tmpfs(&state, "size=256k");
    let exporter = home.start();
    // Much more than fits, while nobody takes it.
    home.append(range(0..5000));
    wait::until("a full disk", || exporter.messages().contains("cannot write to the outbox").then_some(()));
    exporter.until(&support::attempts("server1", "/etc"), 5000.0);
    influxdb.resume();
    influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
    until_stored(&influxdb, 0..5000);
    assert_eq!(exporter.value(DROPPED), Some(0.0));
    drop(exporter);

    // No byte is left from the start: points go out from memory, one batch after the other.
    fs::write(state.join("filler"), vec![0; 300 << 10]).unwrap_err();
    home.append(range(5000..7000));
    let exporter = home.start();
    until_stored(&influxdb, 0..7000);
    drop(exporter);
    drop(tmpfs);
}

struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(place: &std::path::Path, options: &str) -> Self {
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place).status().unwrap();
        assert!(status.success());
        Self(place.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// `BACKUP_KILLS` and `BACKUP_KILL_SECONDS` set how often and how long.
#[test]
fn an_exporter_that_is_killed_at_any_point_loses_nothing_and_doubles_nothing() {
    let setting =
        |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (kills, seconds) = (setting("BACKUP_KILLS", 60), setting("BACKUP_KILL_SECONDS", 60));
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    let begun = Instant::now();
    let (mut written, mut killed, mut in_between) = (0, 0, 0);
    while killed < kills && begun.elapsed() < Duration::from_secs(seconds) {
        home.append(range(written..written + 3));
        let exporter = Running::start(home.command().stderr(Stdio::null()));
        let random = RandomState::new().build_hasher().finish();
        // Not a wait for a state: the point of time is what varies.
        std::thread::sleep(Duration::from_micros(random % 120_000));
        home.append(range(written + 3..written + 5));
        std::thread::sleep(Duration::from_micros((random >> 32) % 120_000));
        // Dropping it is SIGKILL.
        drop(exporter);
        written += 5;
        killed += 1;
        in_between += u64::from(support::influx::stored(&influxdb).0 > 0);
    }
    assert!(killed >= kills.min(10) && in_between > 0, "{killed} kills, points after {in_between} of them");
    let exporter = home.start();
    until_stored(&influxdb, 0..written);
    exporter.until("backup_exporter_outbox_bytes", 0.0);
    assert_eq!(exporter.value(DROPPED), Some(0.0));
    println!("{killed} kills, {written} points, in {:.0} s", begun.elapsed().as_secs_f64());
}
