//! The built exporter as a process and as a server: signals, configuration, hostile clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::process::Command;

use backup_common::reason::Reason;
use backup_testkit::{http, process, prometheus, wait};
use support::{CONFIG, Home, RECORDS, attempts, path_finished};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[test]
fn both_formats_by_accept() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let exporter = home.start();
    let ask = |accept: &str| http::ask(&exporter.address, "GET", "/metrics", accept).unwrap();
    let openmetrics = ask("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert_eq!(openmetrics.header("content-type"), Some(OPENMETRICS));
    assert!(openmetrics.body.ends_with("# EOF\n"));
    // An input can have come up in between.
    let (text, head) = wait::until("two equal texts", || {
        let text = ask("");
        let head = http::ask(&exporter.address, "HEAD", "/metrics", "").unwrap();
        (ask("").body == text.body).then_some((text, head))
    });
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!text.body.contains("# EOF") && !text.body.contains("# UNIT"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(text.body.len().to_string().as_str()));
    assert_eq!(http::ask(&exporter.address, "POST", "/metrics", "").unwrap().status, 405);
    assert_eq!(exporter.get("/nothing").unwrap().status, 404);
    assert!(exporter.get("/").unwrap().body.contains("href=\"./metrics\""));
}

/// curl asks for a compressed body and shows what is in it.
#[test]
fn a_compressed_scrape_holds_the_same() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    let exporter = home.start();
    exporter.until(RECORDS, 1.0);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--compressed", "--max-time", "30", "--dump-header", "-"]);
    let output = process::run(curl.arg(format!("http://{}/metrics", exporter.address)));
    let (head, body) = output.stdout.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
    // What the exporter tells of itself may have changed since.
    let paths =
        |text: &str| text.lines().filter(|line| line.contains("backup_path_")).collect::<Vec<_>>().join("\n");
    assert_eq!(paths(body), paths(&exporter.scrape()));
}

#[test]
fn promtool_has_nothing_to_say() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    home.append(path_finished("server1", "/home", Reason::AuthFailed));
    let exporter = home.start();
    exporter.until(RECORDS, 2.0);
    let file = home.path().join("metrics.txt");
    fs::write(&file, exporter.scrape()).unwrap();
    let checked = prometheus::promtool_check(&file);
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
}

#[test]
fn ends_well_on_sigterm_and_sigint() {
    for signal in ["TERM", "INT"] {
        let home = Home::new();
        let mut exporter = home.start();
        // A connection that rests does not hold it up.
        let _resting = TcpStream::connect(&exporter.address).unwrap();
        exporter.process.signal(signal);
        assert_eq!(exporter.process.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_host_that_left_is_gone_after_sighup() {
    let home = Home::new();
    home.append(path_finished("server2", "/var/www", Reason::Ok));
    let exporter = home.start();
    exporter.until(&attempts("server2", "/var/www"), 1.0);

    home.configure(CONFIG.split_once("  server2").unwrap().0);
    exporter.process.signal("HUP");
    wait::until("server2 to be gone", || (!exporter.scrape().contains("server2")).then_some(()));

    home.configure("hosts: {server1: {colour: red}}");
    exporter.process.signal("HUP");
    exporter.until("backup_exporter_config_reload_success", 0.0);
    assert!(exporter.scrape().contains("server1"), "the configuration before stays in use");

    home.configure(CONFIG);
    exporter.process.signal("HUP");
    exporter.until("backup_exporter_config_reload_success", 1.0);
    assert_eq!(exporter.value(&attempts("server2", "/var/www")), Some(1.0), "its history came back");
}

#[test]
fn counters_survive_a_restart() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok).repeat(1000));
    let first = home.start().lasting();
    assert_eq!(home.start().lasting(), first);
}

#[test]
fn all_errors_of_the_configuration_at_once() {
    let home = Home::new();
    home.configure("hosts:\n  a:\n    colour: red\n    paths: []\n  b:\n    ssh_user: -x\n");
    for check in [false, true] {
        let mut command = home.command();
        if check {
            command.arg("--config.check");
        }
        let output = process::run(&mut command);
        assert_eq!(output.code, 2, "{output:?}");
        for word in ["line 3: hosts.a.colour", "line 6: hosts.b.ssh_user"] {
            assert!(output.stderr.contains(word), "{word}: {output:?}");
        }
    }
    home.configure(CONFIG);
    assert_eq!(process::run(home.command().arg("--config.check")).code, 0);
    assert_eq!(process::run(home.command().arg("--no-such-flag")).code, 2);
    fs::remove_file(home.config()).unwrap();
    let output = process::run(&mut home.command());
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("cannot read the configuration"), "{output:?}");
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let home = Home::new();
    let exporter = home.start();
    let output = process::run(home.command().args(["--web.listen-address", &exporter.address]));
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains(&format!("cannot listen on {}", exporter.address)), "{output:?}");
}

/// They hold a connection each and send nothing, or the beginning of a request.
#[test]
fn idle_clients_do_not_stop_a_scrape() {
    use std::io::Write;
    let home = Home::new();
    let exporter = home.start();
    let mut idle: Vec<_> = (0..60).map(|_| TcpStream::connect(&exporter.address).unwrap()).collect();
    for stream in idle.iter_mut().step_by(2) {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    }
    for _ in 0..20 {
        assert!(exporter.scrape().contains("backup_run_state"));
    }
    // Each loses its connection by the header timeout.
    for stream in &mut idle {
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(stream, &mut rest);
    }
}

/// With no descriptor left, accept(2) fails at once, again and again.
#[test]
fn failing_accepts_do_not_end_the_listener() {
    let home = Home::new();
    let direct = home.command();
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=24").arg(direct.get_program()).args(direct.get_args());
    let exporter = home.start_with(&mut limited);
    let idle: Vec<_> = (0..60).map(|_| TcpStream::connect(&exporter.address).unwrap()).collect();
    wait::until("accepting to fail", || {
        exporter.messages().contains("cannot accept a connection").then_some(())
    });
    drop(idle);
    wait::until("a scrape", || exporter.get("/metrics").filter(|answer| answer.status == 200));
    home.append(path_finished("server1", "/etc", Reason::Ok));
    exporter.until(RECORDS, 1.0);
}

#[test]
fn heads_that_are_too_long_or_no_http_are_refused() {
    let home = Home::new();
    let exporter = home.start();
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    let answer = http::ask(&exporter.address, "GET", "/metrics", &long);
    assert!(answer.is_none_or(|answer| answer.status == 431));
    let answer = http::ask(&exporter.address, "\u{1}\u{2}", "/metrics", "");
    assert!(answer.is_none_or(|answer| answer.status == 400));
    assert_eq!(exporter.get("/-/healthy").unwrap().status, 200);
}

#[test]
fn messages_are_json_when_asked_for() {
    let home = Home::new();
    home.configure("nonsense");
    let output =
        process::run(home.command().args(["--log.format", "json", "--web.listen-address", "nonsense"]));
    assert_eq!(output.code, 2);
    home.configure(CONFIG);
    let output =
        process::run(home.command().args(["--log.format", "json", "--web.listen-address", "nonsense"]));
    let line = output.stderr.lines().next().unwrap();
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&message["level"], &message["msg"]), (&"info".into(), &"listening".into()));
}

#[test]
fn a_post_reads_the_configuration_again() {
    let home = Home::new();
    let exporter = home.start();
    let post = || http::ask(&exporter.address, "POST", "/-/reload", "").expect("an answer");
    home.configure("hosts: {other: {ssh_user: '', paths: [{path: /x}]}}");
    assert_eq!(post().status, 200);
    exporter.until("backup_host_state{host=\"other\",state=\"never\"}", 1.0);
    let loaded = exporter.value("backup_exporter_config_last_reload_success_timestamp_seconds").unwrap();
    home.configure("hosts: 1");
    assert_eq!(post().status, 500);
    exporter.until("backup_exporter_config_reload_success", 0.0);
    assert_eq!(exporter.value("backup_exporter_config_last_reload_success_timestamp_seconds"), Some(loaded));
    assert_eq!(exporter.value("backup_host_state{host=\"other\",state=\"never\"}"), Some(1.0));
}

/// With 200 hosts of 5 paths, 60,000 records and a journal, in little memory. What is counted has the touched
/// pages of the program in it, and one without optimization has many.
#[test]
fn memory_stays_small() {
    let home = Home::new();
    let mut config = "hosts:\n".to_owned();
    let mut log = String::new();
    for host in 0..200 {
        let _ = writeln!(config, "  h{host}:\n    ssh_user: ''\n    paths:");
        for path in 0..5 {
            let _ = writeln!(config, "      - path: /p{path}");
            log.push_str(&path_finished(&format!("h{host}"), &format!("/p{path}"), Reason::Ok));
        }
    }
    home.configure(&config);
    for _ in 0..60 {
        home.append(&log);
    }
    // A line without end, which must cost no memory.
    home.append(vec![b'x'; 64 * 1024 * 1024]);
    let exporter = home.start();
    exporter.until(RECORDS, 60_000.0);
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process.id())).unwrap();
    let kilobytes = |field: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // Without the pages of the program itself, which are large in a debug build and cost a log nothing.
    let own = kilobytes("VmHWM:").saturating_sub(kilobytes("RssFile:"));
    assert!(own < 20 * 1024, "{own} kB");
}
