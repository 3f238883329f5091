//! The built `backup-metrics` against a real InfluxDB 1.6, and against a scripted server that speaks the
//! documented API of 2.x and 3.x, which no Debian package has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::process::Command;

use backup_testkit::influxdb::InfluxDb;
use backup_testkit::process::{self, Output};
use support::Home;
use support::influx::{DATABASE, V2, configure, influxdb, range, v1};
use support::scripted::{Asked, Scripted, answer};

fn run(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backup-metrics"));
    command
        .args(arguments)
        .arg("--influxdb-config")
        .arg(home.path().join("influxdb-config.yaml"))
        .arg("--stats-file")
        .arg(home.log())
        .env_remove("CREDENTIALS_DIRECTORY");
    process::run(&mut command)
}

/// The last line that begins with FAIL, and the remedy below it.
fn failed(output: &Output) -> (String, String) {
    assert_eq!(output.code, 1, "{output:?}");
    let mut lines = output.stdout.lines().skip_while(|line| !line.starts_with("FAIL"));
    let step = lines.next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let remedy = lines.next().unwrap().trim().to_owned();
    assert_eq!(lines.next(), None, "{}", output.stdout);
    (step, remedy)
}

#[test]
fn the_test_names_the_first_thing_that_is_wrong() {
    let home = Home::new();
    assert_eq!(run(&home, &["--test-influxdb"]).code, 2);

    let mut influxdb = InfluxDb::start(home.path(), "auth-enabled = true");
    influxdb.query("", "CREATE USER admin WITH PASSWORD 'admin' WITH ALL PRIVILEGES");
    influxdb.authorization = "Authorization: Basic YWRtaW46YWRtaW4=\r\n".to_owned();
    let test = |port: u16, keys: &str| {
        configure(&home, port, keys);
        run(&home, &["--test-influxdb"])
    };
    let steps = |port: u16, keys: &str| failed(&test(port, keys));

    let (step, remedy) = steps(process::free_port(), &v1());
    assert_eq!(step, "connect");
    assert!(remedy.starts_with("-> start InfluxDB there"), "{remedy}");
    assert_eq!(steps(influxdb.port, &format!("{}\n  ssl: true", v1())).0, "tls");
    let (step, remedy) = steps(influxdb.port, V2);
    assert!(step == "server" && remedy.contains("no tokens"), "{step} {remedy}");
    assert_eq!(steps(influxdb.port, &v1()).0, "authentication");
    let user = |name: &str| format!("{}\n  username: {name}\n  password: {name}", v1());
    assert_eq!(steps(influxdb.port, &user("nobody")).0, "authentication");
    let (step, remedy) = steps(influxdb.port, &user("admin"));
    assert!(step == "database" && remedy.contains("CREATE DATABASE"), "{step} {remedy}");

    influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
    influxdb.query("", "CREATE USER reader WITH PASSWORD 'reader'");
    influxdb.query("", &format!("GRANT READ ON {DATABASE} TO reader"));
    let (step, remedy) = steps(influxdb.port, &user("reader"));
    assert!(step == "write" && remedy.contains("GRANT WRITE"), "{step} {remedy}");

    let good = test(influxdb.port, &user("admin"));
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.stdout.contains("InfluxDB 1.6.7"), "{}", good.stdout);
    assert_eq!(good.stdout.lines().filter(|line| line.starts_with("ok")).count(), 8, "{}", good.stdout);
    assert_eq!(influxdb.count(DATABASE, "backup_test", "value"), 1);
    let json = run(&home, &["--test-influxdb", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["ok"], json["steps"].as_array().unwrap().len()), (&true.into(), 8));

    fs::write(
        home.path().join("influxdb-config.yaml"),
        format!("influxdb:\n  host: no-such-host.invalid\n{}\n", v1()),
    )
    .unwrap();
    assert_eq!(failed(&run(&home, &["--test-influxdb"])).0, "name");
}

#[test]
fn what_is_sent_can_be_asked_for() {
    let home = Home::new();
    let influxdb = influxdb(&home);
    configure(&home, influxdb.port, &v1());
    home.append(range(0..3));
    let now = jiff::Timestamp::now();
    let records =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push-records.jsonl")).unwrap();
    // The same records as of now: the query is about the last hours.
    for (index, line) in (0..).zip(records.lines()) {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = now - jiff::SignedDuration::from_secs(600 - index);
        record["time"] = time.to_string().into();
        home.append(format!("{record}\n"));
    }
    let sent = run(&home, &["--send-influxdb"]);
    assert_eq!((sent.code, sent.stdout.as_str()), (0, "6 points sent to InfluxDB\n"), "{sent:?}");
    let again = run(&home, &["--send-influxdb", "--host", "server1", "--json"]);
    assert_eq!(again.stdout.trim(), r#"{"refused":0,"sent":3}"#);
    // Only the last outcome of each path was sent, and sending it again doubled nothing.
    assert_eq!(influxdb.count(DATABASE, "backup_path", "exit_code"), 2);

    let table = run(&home, &["--query-data", "1"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(table.stdout.contains("source_missing") && table.stdout.contains("/home"), "{}", table.stdout);
    let json = run(&home, &["--query-data", "1", "--json", "--host", "server1"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2);
    assert_eq!(json["paths"][1]["ends"][0]["error_count"], 1.0);
    let other = run(&home, &["--query-data", "1", "--json", "--host", "other"]);
    let other: serde_json::Value = serde_json::from_str(&other.stdout).unwrap();
    assert_eq!(other["paths"].as_array().unwrap().len(), 0);

    drop(influxdb);
    let down = run(&home, &["--send-influxdb"]);
    assert!(down.code == 1 && down.stderr.contains("cannot send to InfluxDB: cannot connect"), "{down:?}");
}

/// What InfluxDB 2.7 answers by its API reference.
fn influxdb2(token: &'static str) -> Scripted {
    let version = "X-Influxdb-Version: v2.7.11";
    Scripted::start(move |asked: &Asked| {
        let json =
            |status: &str, body: &str| answer(status, &["Content-Type: application/json", version], body);
        let may = asked.head.to_lowercase().contains(&format!("authorization: token {token}"));
        match asked.target.split(['?', ' ']).nth(1).unwrap() {
            "/ping" => answer("204 No Content", &[version, "X-Influxdb-Build: OSS"], ""),
            "/health" => json(
                "200 OK",
                r#"{"name":"influxdb","message":"ready","status":"pass","checks":[],"version":"v2.7.11"}"#,
            ),
            _ if !may => {
                json("401 Unauthorized", r#"{"code":"unauthorized","message":"unauthorized access"}"#)
            }
            "/api/v2/buckets" if asked.target.contains("name=backup") => json(
                "200 OK",
                r#"{"links":{"self":"/api/v2/buckets?name=backup"},"buckets":[{"id":"0a1b","orgID":"2c3d","type":"user","name":"backup","retentionRules":[{"type":"expire","everySeconds":0,"shardGroupDurationSeconds":604800}],"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z","links":{"labels":"/l","members":"/m","org":"/o","owners":"/w","self":"/s","write":"/x"},"labels":[]}]}"#,
            ),
            "/api/v2/buckets" => json("200 OK", r#"{"links":{"self":"/api/v2/buckets"},"buckets":[]}"#),
            "/api/v2/write" => answer("204 No Content", &[version], ""),
            "/api/v2/query" => {
                let time = jiff::Timestamp::now();
                let csv = format!(
                    "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string,string\r\n\
                     #group,false,false,true,true,false,false,true,true,true,true\r\n\
                     #default,_result,,,,,,,,,\r\n\
                     ,result,table,_start,_stop,_time,_value,_field,_measurement,host,path\r\n\
                     ,,0,{time},{time},{time},2,error_count,backup_path,server1,/etc\r\n\
                     ,,1,{time},{time},{time},4096,total_size_bytes,backup_size,server1,/etc\r\n\r\n\
                     #datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,string,string,string,string,string\r\n\
                     #group,false,false,true,true,false,false,true,true,true,true\r\n\
                     #default,_result,,,,,,,,,\r\n\
                     ,result,table,_start,_stop,_time,_value,_field,_measurement,host,path\r\n\
                     ,,2,{time},{time},{time},failed,status,backup_path,server1,/etc\r\n\r\n"
                );
                answer("200 OK", &["Content-Type: text/csv; charset=utf-8", version], &csv)
            }
            _ => json("404 Not Found", "{}"),
        }
    })
}

#[test]
fn version_2_is_tested_and_asked_in_flux() {
    let home = Home::new();
    let server = influxdb2("the-token");
    configure(&home, server.port, V2);
    let good = run(&home, &["--test-influxdb"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.stdout.contains("InfluxDB v2.7.11 (OSS), healthy, spoken to as 2.x"), "{}", good.stdout);
    assert!(good.stdout.contains("backup is there, in home"), "{}", good.stdout);

    let table = run(&home, &["--query-data", "48"]);
    assert!(
        table.code == 0 && table.stdout.contains("4.00 KiB") && table.stdout.contains("failed"),
        "{table:?}"
    );
    let query = server.asked().into_iter().find(|asked| asked.target.contains("/api/v2/query")).unwrap();
    assert!(query.body.contains("range(start: -48h)") && query.target.contains("org=home"), "{query:?}");

    configure(&home, server.port, &V2.replace("bucket: backup", "bucket: other"));
    assert_eq!(failed(&run(&home, &["--test-influxdb"])).0, "bucket");
    configure(&home, server.port, &V2.replace("the-token", "old-token"));
    let (step, remedy) = failed(&run(&home, &["--test-influxdb"]));
    assert!(step == "authentication" && remedy.contains("correct token"), "{step} {remedy}");
    let denied = run(&home, &["--query-data", "48"]);
    assert!(denied.code == 1 && denied.stderr.contains("401"), "{denied:?}");
    assert!(!denied.stderr.contains("old-token"));
}

#[test]
fn an_answer_that_is_no_flux_is_an_error_and_no_panic() {
    for body in [
        "",
        "<html>",
        "a,b\r\nc",
        "#datatype,string,long\r\n,,x,y,z\r\n",
        "#datatype,string,double\r\n#group,f,f\r\n#default,,\r\n,a,_value\r\n,,x\r\n",
    ] {
        let home = Home::new();
        let server = Scripted::start(move |_| answer("200 OK", &["X-Influxdb-Version: v2.7.11"], body));
        configure(&home, server.port, V2);
        let output = run(&home, &["--query-data", "1"]);
        assert!(output.code <= 1 && !output.stderr.contains("panic"), "{body:?}: {output:?}");
    }
}

#[test]
fn version_3_is_tested_and_asked_in_influxql() {
    let home = Home::new();
    let server = Scripted::start(|asked: &Asked| {
        let may = asked.head.to_lowercase().contains("authorization: bearer the-token");
        match asked.target.split(['?', ' ']).nth(1).unwrap() {
            _ if !may => answer("401 Unauthorized", &[], r#"{"error": "the request was not authenticated"}"#),
            "/ping" => answer(
                "200 OK",
                &["x-influxdb-build: Core"],
                r#"{"version":"3.2.1","revision":"abc","process_id":"1"}"#,
            ),
            "/query" if asked.target.contains("backup_path") => answer(
                "200 OK",
                &[],
                r#"{"results":[{"statement_id":0,"series":[{"name":"backup_path","columns":["time","host","path","status"],"values":[[1767323045500000000,"server1","/etc","success"]]}]}]}"#,
            ),
            "/query" => answer("200 OK", &[], r#"{"results":[{"statement_id":0}]}"#),
            "/api/v2/write" if asked.target.contains("bucket=backup") => answer("204 No Content", &[], ""),
            _ => answer("404 Not Found", &[], ""),
        }
    });
    configure(&home, server.port, "  token: the-token\n  database: backup");
    let good = run(&home, &["--test-influxdb"]);
    assert!(good.code == 0 && good.stdout.contains("InfluxDB 3.2.1 (Core), spoken to as 3.x"), "{good:?}");
    let table = run(&home, &["--query-data", "48"]);
    assert!(table.code == 0 && table.stdout.contains("success"), "{table:?}");
    configure(&home, server.port, "  token: old-token\n  database: backup");
    assert_eq!(failed(&run(&home, &["--test-influxdb"])).0, "authentication");
}
