//! Measured sizes in a real InfluxDB 1.6: from the resident exporter, and from `--send-influxdb-wait`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use backup_testkit::influxdb::InfluxDb;
use backup_testkit::process::{self, Output};
use backup_testkit::wait;
use support::Home;
use support::influx::{DATABASE, configure, influxdb, range, v1};

/// A host with two directories, one of them never backed up, and another host.
fn fill(home: &Home) -> std::path::PathBuf {
    let base = home.path().join("base");
    home.configure(&format!(
        "config: {{backup_base: {}}}\nhosts:\n  a: {{ssh_user: '', paths: [{{path: /x}}, {{path: /never}}]}}\n  \
         b: {{ssh_user: '', paths: [{{path: /y}}]}}\n",
        base.display()
    ));
    for (directory, bytes) in [("a/x/deep", 100_000), ("b/y", 5)] {
        fs::create_dir_all(base.join(directory)).unwrap();
        fs::write(base.join(directory).join("file"), vec![1; bytes]).unwrap();
    }
    process::run(Command::new("sync").arg("-f").arg(&base));
    base
}

/// Bytes on disk of each path, as the database has them, with the number of points of each.
fn sizes(influxdb: &InfluxDb) -> BTreeMap<String, (f64, u64)> {
    let of = |host: &str, path: &str| {
        let condition = format!("WHERE host = '{host}' AND path = '{path}'");
        let rows = influxdb.rows(
            DATABASE,
            &format!("SELECT last(total_size_bytes), count(files) FROM backup_size {condition}"),
        );
        let row = rows.first()?;
        Some((format!("{host} {path}"), (row[1].as_f64()?, row[2].as_u64()?)))
    };
    [("a", "/x"), ("a", "/never"), ("b", "/y")]
        .into_iter()
        .filter_map(|(host, path)| of(host, path))
        .collect()
}

fn du(directory: &Path) -> f64 {
    let output = process::run(Command::new("du").args(["-s", "--block-size=1"]).arg(directory));
    output.stdout.split('\t').next().unwrap().parse().unwrap()
}

fn expected(base: &Path) -> BTreeMap<String, (f64, u64)> {
    [("a /x", "a/x"), ("b /y", "b/y")]
        .map(|(name, directory)| (name.to_owned(), (du(&base.join(directory)), 1)))
        .into()
}

fn send(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backup-metrics"));
    command.arg("--send-influxdb-wait").args(arguments);
    for (flag, place) in [
        ("--config", home.config()),
        ("--stats-file", home.log()),
        ("--influxdb-config", home.path().join("influxdb-config.yaml")),
        ("--state-directory", home.path().join("state")),
        ("--sizes-socket", home.path().join("sizes")),
    ] {
        command.arg(flag).arg(place);
    }
    process::run(command.env_remove("CREDENTIALS_DIRECTORY"))
}

#[test]
fn what_the_exporter_measures_arrives() {
    let home = Home::new();
    let base = fill(&home);
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    home.append("");
    let _exporter = home.start();
    wait::until("both sizes", || (sizes(&influxdb) == expected(&base)).then_some(()));
}

#[test]
fn sizes_are_measured_and_sent_before_the_rest() {
    let home = Home::new();
    let base = fill(&home);
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    home.append(range(0..3));
    let sent = send(&home, &[]);
    assert_eq!((sent.code, sent.stdout.as_str()), (0, "3 points sent to InfluxDB\n"), "{sent:?}");
    assert_eq!(sizes(&influxdb), expected(&base));
    assert_eq!(influxdb.count(DATABASE, "backup_path", "exit_code"), 1);
    assert!(!home.path().join("state").exists(), "the exporter's directory is left alone");

    let one = send(&home, &["--host", "b", "--json"]);
    assert_eq!(one.stdout.trim(), r#"{"refused":0,"sent":1}"#);
    assert_eq!(sizes(&influxdb)["a /x"].1, 1);
    assert_eq!(sizes(&influxdb)["b /y"].1, 2);

    // A directory that was measured before and is gone: the rest is sent, and it is named.
    fs::create_dir(home.path().join("state")).unwrap();
    let line = r#"{"v":1,"time":"2026-01-02T03:04:05Z","host":"a","path":"/x","method":"walk","duration_seconds":1.0,"bytes":1,"apparent_bytes":1,"files":1}"#;
    fs::write(home.path().join("state/sizes.jsonl"), format!("{line}\n")).unwrap();
    fs::remove_dir_all(base.join("a")).unwrap();
    let partly = send(&home, &[]);
    assert_eq!(partly.code, 1, "{partly:?}");
    assert_eq!(partly.stdout, "2 points sent to InfluxDB\n");
    assert!(
        partly.stderr.contains("cannot measure the stored size of a /x; the rest was sent"),
        "{partly:?}"
    );
    let kept = fs::read_to_string(home.path().join("state/sizes.jsonl")).unwrap();
    assert_eq!(kept, format!("{line}\n"));
}
