//! The push against answers that no real server gives on demand, and against InfluxDB 2 and 3, which no
//! Debian package has: the server here is scripted. VictoriaMetrics at the end is real.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backup_exporter::event::{Event, PushHealth};
use backup_exporter::push::answer::Class;
use backup_exporter::push::config::InfluxConfig;
use backup_exporter::push::credential::read_config;
use backup_exporter::push::engine::Pace;
use backup_exporter::push::{self, Options, Push};
use backup_testkit::victoriametrics::VictoriaMetrics;
use backup_testkit::wait;
use support::Home;
use support::influx::{V2, configure, nth, range, v1};
use support::scripted::{Asked, Scripted, answer};
use tokio::sync::mpsc;

/// The push as the exporter runs it, but with short waits.
struct Pushing {
    _runtime: tokio::runtime::Runtime,
    push: Push,
    events: Mutex<(mpsc::Receiver<Vec<Event>>, PushHealth)>,
}

impl Pushing {
    fn start(home: &Home, cap: u64) -> Self {
        Self::patiently(home, cap, Duration::from_millis(50))
    }

    /// With another wait where a person has to mend something.
    fn patiently(home: &Home, cap: u64, keep: Duration) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, events) = mpsc::channel(16);
        let options = Options {
            config: Self::config(home),
            stats_file: home.log(),
            directory: home.path().join("state/outbox"),
            cap,
            server: "here".to_owned(),
            pace: Pace { keep, back_off: 0.01 },
        };
        let entered = runtime.enter();
        let push = push::start(options, sender).unwrap();
        drop(entered);
        Self { _runtime: runtime, push, events: Mutex::new((events, PushHealth::default())) }
    }

    fn config(home: &Home) -> InfluxConfig {
        read_config(&home.path().join("influxdb-config.yaml"), None).ok().flatten().expect("good")
    }

    fn until(&self, what: &str, mut wanted: impl FnMut(&PushHealth) -> bool) -> PushHealth {
        wait::until(what, || {
            let (events, health) = &mut *self.events.lock().unwrap();
            while let Ok(batch) = events.try_recv() {
                for event in batch {
                    if let Event::Pushed(new) = event {
                        *health = new;
                    }
                }
            }
            wanted(health).then(|| health.clone())
        })
    }
}

fn is_write(asked: &Asked) -> bool {
    asked.target.contains("write")
}

/// The numbers of the lines of a request.
fn numbers(asked: &Asked) -> Vec<u64> {
    let number = |line: &str| {
        let (_, rest) = line.split_once("error_count=").unwrap();
        rest.split_once(',').unwrap().0.parse().unwrap()
    };
    asked.body.lines().map(number).collect()
}

fn ok() -> String {
    answer("204 No Content", &["X-Influxdb-Version: v2.7.11"], "")
}

/// Gives each answer once to a write, in order, then takes everything; pings are always answered.
fn scripted(answers: Vec<String>) -> Scripted {
    let next = AtomicUsize::new(0);
    Scripted::start(move |asked| {
        if !is_write(asked) {
            return ok();
        }
        answers.get(next.fetch_add(1, Ordering::SeqCst)).cloned().unwrap_or_else(ok)
    })
}

#[test]
fn answers_that_keep_the_points() {
    let huge = "x".repeat(3 << 20);
    let table = [
        (Class::Unauthorized, answer("401 Unauthorized", &[], r#"{"code":"unauthorized"}"#)),
        (Class::Unauthorized, answer("403 Forbidden", &[], "")),
        (Class::NotFound, answer("404 Not Found", &[], r#"{"error":"database not found"}"#)),
        (Class::NotFound, answer("302 Found", &["Location: http://127.0.0.1:9/elsewhere"], "")),
        (Class::RateLimited, answer("429 Too Many Requests", &["Retry-After: 0"], "")),
        (
            Class::RateLimited,
            answer("429 Too Many Requests", &["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"], ""),
        ),
        (Class::Server, answer("500 Internal Server Error", &[], &huge)),
        (Class::Server, answer("502 Bad Gateway", &[], "")),
        (Class::Server, answer("503 Service Unavailable", &["Retry-After: 0"], "")),
        (Class::Timeout, String::new()),
        (Class::Timeout, "HTTP/1.1 204 No".to_owned()),
        (Class::Timeout, "not HTTP at all\r\n\r\n".to_owned()),
        (Class::Timeout, "HTTP/1.1 500 Error\r\nContent-Length: 10\r\n\r\nhalf".to_owned()),
    ];
    for (class, text) in table {
        let home = Home::new();
        let shown: String = text.chars().take(60).collect();
        // Twice, because a connection that broke off is tried once more by the client itself.
        let server = scripted(vec![text.clone(), text]);
        configure(&home, server.port, V2);
        home.append(range(0..3));
        let pushing = Pushing::start(&home, push::CAP);
        let health = pushing.until(&shown, |health| health.points == 3);
        assert!(health.failures[&class] > 0, "{shown}: {health:?}");
        assert_eq!(health.dropped, 0, "{shown}");
        let last = server.asked().into_iter().rfind(is_write).unwrap();
        assert_eq!(numbers(&last), [0, 1, 2], "{shown}");
    }
}

#[test]
fn another_configuration_ends_the_wait_for_somebody_to_mend_it() {
    let home = Home::new();
    let wrong =
        Scripted::start(|asked| if is_write(asked) { answer("401 Unauthorized", &[], "") } else { ok() });
    configure(&home, wrong.port, V2);
    home.append(range(0..3));
    let day = Duration::from_secs(24 * 60 * 60);
    let pushing = Pushing::patiently(&home, push::CAP, day);
    pushing.until("a refusal", |health| health.failures.contains_key(&Class::Unauthorized));

    let right = Scripted::start(|_| ok());
    configure(&home, right.port, V2);
    pushing.push.configure(Pushing::config(&home));
    pushing.until("the points", |health| health.points == 3);
    let last = right.asked().into_iter().rfind(is_write).unwrap();
    assert_eq!(numbers(&last), [0, 1, 2]);
}

#[test]
fn too_large_is_halved_and_a_refused_line_stands_alone() {
    let home = Home::new();
    let server = Scripted::start(|asked| match asked {
        asked if !is_write(asked) => ok(),
        asked if asked.body.lines().count() > 4 => answer("413 Request Entity Too Large", &[], ""),
        asked if numbers(asked).contains(&13) => {
            answer("422 Unprocessable Entity", &[], "{\"message\":\"no 13\"}")
        }
        _ => ok(),
    });
    configure(&home, server.port, V2);
    home.append(range(0..30));
    let pushing = Pushing::start(&home, push::CAP);
    let health = pushing.until("29 points", |health| health.points == 29);
    assert_eq!((health.dropped, health.failures[&Class::Rejected]), (1, 1));
    let letters = fs::read_to_string(home.path().join("state/outbox/dead-letters")).unwrap();
    assert!(letters.contains("no 13") && letters.contains("error_count=13,"), "{letters}");
    let taken: Vec<u64> = server
        .asked()
        .iter()
        .filter(|asked| is_write(asked) && asked.body.lines().count() <= 4)
        .map(numbers)
        .filter(|numbers| !numbers.contains(&13))
        .flatten()
        .collect();
    assert_eq!(taken, (0..30).filter(|number| *number != 13).collect::<Vec<_>>());
}

#[test]
fn an_answer_that_never_comes_or_never_ends_has_a_deadline() {
    let home = Home::new();
    let first = AtomicUsize::new(0);
    let server = Scripted::start(move |asked| {
        match (is_write(asked), first.fetch_add(usize::from(is_write(asked)), Ordering::SeqCst)) {
            (true, 0) => {
                // Longer than the client waits.
                std::thread::sleep(Duration::from_secs(3));
                ok()
            }
            _ => ok(),
        }
    });
    configure(&home, server.port, V2);
    home.append(range(0..3));
    let pushing = Pushing::start(&home, push::CAP);
    let health = pushing.until("3 points", |health| health.points == 3);
    assert!(health.failures[&Class::Timeout] > 0);
}

#[test]
fn a_token_that_is_changed_is_read_again() {
    let home = Home::new();
    let server = Scripted::start(|asked| {
        if asked.head.contains("Token new-token") { ok() } else { answer("401 Unauthorized", &[], "") }
    });
    let token = home.path().join("token");
    fs::write(&token, "old-token\n").unwrap();
    let keys = format!("  token_file: {}\n  organization: home\n  bucket: backup", token.display());
    configure(&home, server.port, &keys);
    home.append(range(0..3));
    let pushing = Pushing::start(&home, push::CAP);
    pushing.until("401", |health| health.failures.contains_key(&Class::Unauthorized));
    fs::write(&token, "new-token\n").unwrap();
    pushing.until("3 points", |health| health.points == 3);
}

#[test]
fn a_missing_database_and_a_wrong_password_keep_the_points() {
    let home = Home::new();
    let mut influxdb = backup_testkit::influxdb::InfluxDb::start(home.path(), "auth-enabled = true");
    influxdb.query("", "CREATE USER admin WITH PASSWORD 'admin' WITH ALL PRIVILEGES");
    influxdb.authorization = "Authorization: Basic YWRtaW46YWRtaW4=\r\n".to_owned();
    let password = home.path().join("password");
    fs::write(&password, "wrong").unwrap();
    let keys = format!("{}\n  username: admin\n  password_file: {}", v1(), password.display());
    configure(&home, influxdb.port, &keys);
    home.append(range(0..3));
    let pushing = Pushing::start(&home, push::CAP);
    pushing.until("401", |health| health.failures.contains_key(&Class::Unauthorized));
    fs::write(&password, "admin").unwrap();
    pushing.until("404", |health| health.failures.contains_key(&Class::NotFound));
    influxdb.query("", &format!("CREATE DATABASE {}", support::influx::DATABASE));
    let health = pushing.until("3 points", |health| health.points == 3);
    assert_eq!(health.dropped, 0);
    support::influx::until_stored(&influxdb, 0..3);
}

#[test]
fn keys_of_version_2_for_a_server_of_version_1_are_told() {
    let home = Home::new();
    let influxdb = support::influx::influxdb(&home);
    configure(&home, influxdb.port, V2);
    home.append(range(0..3));
    let exporter = home.start();
    let messages = wait::until("a word about it", || {
        Some(exporter.messages()).filter(|messages| messages.contains("the server is InfluxDB 1.6"))
    });
    assert!(messages.contains("give database, username and password"), "{messages}");
    assert!(!messages.contains("the-token"));
    exporter.until("backup_exporter_push_failures_total{class=\"mismatch\"}", 1.0);
}

#[test]
fn beyond_the_cap_the_oldest_are_dropped_and_counted() {
    let home = Home::new();
    let open = std::sync::Arc::new(AtomicUsize::new(0));
    let gate = std::sync::Arc::clone(&open);
    let server = Scripted::start(move |asked| {
        if is_write(asked) && gate.load(Ordering::SeqCst) == 0 {
            return answer("503 Service Unavailable", &[], "");
        }
        ok()
    });
    configure(&home, server.port, V2);
    let cap = 256 << 10;
    let pushing = Pushing::start(&home, cap);
    home.append(range(0..5000));
    // The batch that is being sent is in memory and arrives all the same.
    pushing.until("drops", |health| health.dropped > 2000);
    let used: u64 = fs::read_dir(home.path().join("state/outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().map_or(0, |metadata| metadata.len()))
        .sum();
    assert!(used <= cap + (200 << 10), "{used}");
    wait::until("all records to be in the outbox", || {
        let mark = fs::read_to_string(home.path().join("state/outbox/last-record")).ok()?;
        mark.starts_with("2026-01-02T03:04:09.999Z").then_some(())
    });
    open.store(1, Ordering::SeqCst);
    pushing.until("the rest", |health| health.outbox_bytes == 0 && health.points > 0);
    let sent: BTreeSet<u64> =
        server.asked().iter().filter(|asked| is_write(asked)).flat_map(numbers).collect();
    assert!(sent.contains(&4999));
    let health = pushing.until("the end", |health| health.oldest.is_none());
    assert!(sent.len() as u64 + health.dropped >= 5000, "{} sent, {health:?}", sent.len());
}

#[test]
fn tls_needs_an_authority_that_is_trusted() {
    let home = Home::new();
    let other = support::influx_tls::authority(home.path(), "other");
    let authority = support::influx_tls::authority(home.path(), "ours");
    let pem = support::influx_tls::server(home.path(), &authority);
    let https = format!("https-enabled = true\nhttps-certificate = \"{}\"", pem.display());
    let influxdb = backup_testkit::influxdb::InfluxDb::start(home.path(), &https);
    let keys = |ca: &std::path::Path| format!("{}\n  ssl: true\n  ca_file: {}", v1(), ca.display());
    home.append(range(0..3));

    for untrusted in [format!("{}\n  ssl: true", v1()), keys(&other.certificate)] {
        configure(&home, influxdb.port, &untrusted);
        let pushing = Pushing::start(&home, push::CAP);
        let health = pushing.until("a refusal", |health| health.failures.contains_key(&Class::Tls));
        assert_eq!(health.points, 0);
    }
    configure(&home, influxdb.port, &keys(&authority.certificate));
    let pushing = Pushing::start(&home, push::CAP);
    // The connection is good: what is missing now is the database.
    pushing.until("404", |health| health.failures.contains_key(&Class::NotFound));
    // And without TLS on our side nothing is understood.
    configure(&home, influxdb.port, &v1());
    let pushing = Pushing::start(&home, push::CAP);
    pushing.until("a failure", |health| !health.failures.is_empty());
}

#[test]
fn victoriametrics_takes_the_points_by_version_2() {
    let home = Home::new();
    let victoria = VictoriaMetrics::start(home.path());
    configure(&home, victoria.port, V2);
    home.append(range(0..20));
    home.append(nth("a, b=c", "/d e", 20));
    let exporter = home.start();
    exporter.until("backup_exporter_push_points_total", 21.0);
    let count = |series: &serde_json::Value| series["values"].as_array().unwrap().len();
    let series = wait::until("both series", || {
        let series = victoria.export("backup_path_error_count");
        (series.iter().map(count).sum::<usize>() == 21).then_some(series)
    });
    let hosts: BTreeSet<_> = series.iter().map(|one| one["metric"]["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, BTreeSet::from(["a, b=c", "server1"]));
}
