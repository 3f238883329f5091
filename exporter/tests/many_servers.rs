//! Several backup servers below one Prometheus that writes on into a VictoriaMetrics: the rules tell the servers
//! apart there and there, one that is gone is noticed, and the documentation says what a server costs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use backup_common::reason::Reason;
use backup_testkit::prometheus::{Labels, Prometheus, query_at};
use backup_testkit::victoriametrics::VictoriaMetrics;
use backup_testkit::wait;
use support::{Exporter, Home, path_finished};

/// An exporter on its own loopback address, as on a machine of its own.
fn on_address(home: &Home, address: &str) -> Exporter {
    let plain = home.command();
    let arguments = plain.get_args().map(|argument| {
        if argument == "127.0.0.1:0" { OsString::from(format!("{address}:0")) } else { argument.to_owned() }
    });
    home.start_with(Command::new(plain.get_program()).args(arguments.collect::<Vec<_>>()))
}

/// The rules as they are delivered, but evaluated each second and without their patience.
fn impatient_rules() -> String {
    let text = include_str!("../../dashboards/rules.yml");
    let lines = text.lines().map(|line| match line.trim_start() {
        rest if rest.starts_with("for: ") => format!("{}for: 1s\n", &line[..line.len() - rest.len()]),
        rest if rest.starts_with("- name: ") => format!("{line}\n    interval: 1s\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

fn prometheus(targets: &[&Exporter], victoria: &VictoriaMetrics, directory: &Path) -> Prometheus {
    let rules = directory.join("rules.yml");
    fs::write(&rules, impatient_rules()).unwrap();
    let mut config = String::from("- job_name: backup\n  static_configs:\n  - targets:\n");
    for target in targets {
        writeln!(config, "    - '{}'", target.address).unwrap();
    }
    writeln!(config, "rule_files: ['{}']", rules.display()).unwrap();
    writeln!(config, "remote_write: [{{url: 'http://{}/api/v1/write'}}]", victoria.address()).unwrap();
    Prometheus::configured(&config, directory)
}

fn instances(series: &[(Labels, f64)]) -> BTreeSet<&str> {
    series.iter().map(|(labels, _)| labels["instance"].as_str()).collect()
}

#[test]
fn servers_are_told_apart_and_a_lost_one_is_noticed() {
    let homes = [Home::new(), Home::new(), Home::new()];
    homes[0].append(path_finished("server1", "/etc", Reason::Ok));
    homes[1].append(path_finished("server1", "/etc", Reason::PermissionDenied));
    homes[2].append(path_finished("server2", "/var/www", Reason::Ok));
    let [good, bad, mut lost] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|address| {
        let home = match address {
            "127.0.0.2" => &homes[0],
            "127.0.0.3" => &homes[1],
            _ => &homes[2],
        };
        on_address(home, address)
    });
    let victoria = VictoriaMetrics::start(homes[0].path());
    let prometheus = prometheus(&[&good, &bad, &lost], &victoria, homes[0].path());
    let all = BTreeSet::from([good.address.as_str(), &bad.address, &lost.address]);
    // What was written on comes a moment later.
    let in_victoria = |expression: &str, wanted: &BTreeSet<&str>| {
        wait::until(&format!("{expression} in VictoriaMetrics"), || {
            let series = query_at(&victoria.address(), expression);
            (instances(&series) == *wanted).then_some(series)
        })
    };

    // The same host and path on three servers are three series, and each has its own state.
    prometheus
        .until("backup_path_state{host=\"server1\",path=\"/etc\"} == 1", |series| instances(series) == all);
    for (state, expected) in
        [("success", BTreeSet::from([&*good.address, &*lost.address])), ("failed", [&*bad.address].into())]
    {
        let expression = format!("instance:backup_paths:count{{state=\"{state}\"}} == 1");
        prometheus.until(&expression, |series| instances(series) == expected);
        in_victoria(&expression, &expected);
    }
    let expression = "ALERTS{alertname=\"BackupFailed\",alertstate=\"firing\"}";
    let alerts = prometheus.until(expression, |series| instances(series) == BTreeSet::from([&*bad.address]));
    assert_eq!((&*alerts[0].0["host"], &*alerts[0].0["reason"]), ("server1", "permission_denied"));
    in_victoria(expression, &[&*bad.address].into());

    lost.process.signal_kill();
    let gone = BTreeSet::from([&*lost.address]);
    for expression in ["up == 0", "ALERTS{alertname=\"BackupExporterDown\",alertstate=\"firing\"}"] {
        prometheus.until(expression, |series| instances(series) == gone);
        in_victoria(expression, &gone);
    }
    // Of the others nothing changed.
    assert_eq!(instances(&prometheus.query("up == 1")), BTreeSet::from([&*good.address, &*bad.address]));
}

/// Series of a server with so many paths in hosts of a hundred, each with a good backup behind it.
fn series_of(paths: usize) -> usize {
    let home = Home::new();
    let (mut config, mut log) = (String::from("hosts:\n"), String::new());
    for number in 0..paths {
        if number % 100 == 0 {
            writeln!(config, "  server{}:\n    ssh_user: backup\n    paths:", number / 100).unwrap();
        }
        writeln!(config, "    - path: /srv/{number}").unwrap();
        log += &path_finished(&format!("server{}", number / 100), &format!("/srv/{number}"), Reason::Ok);
    }
    home.configure(&config);
    home.append(log);
    let exporter = home.start();
    exporter.until(support::RECORDS, paths as f64);
    exporter.scrape().lines().filter(|line| !line.starts_with('#')).count()
}

/// The documentation's figure comes from the real exporter.
#[test]
fn what_ten_thousand_paths_cost_in_series() {
    let text = include_str!("../../docs/many-servers.md");
    let (small, large) = (series_of(100), series_of(10_000));
    let each = (large - small) as f64 / 9_900.0;
    println!("100 paths: {small} series; 10,000 paths: {large} series; {each:.1} for each path");
    let told = |name: &str| -> f64 {
        let row = text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no row {name}"));
        row.rsplit('|').nth(1).unwrap().trim().replace(',', "").parse().unwrap()
    };
    // A new metric makes the figure wrong by some of a hundred.
    for (name, counted) in
        [("100 paths in 1 host", small as f64), ("10,000 paths in 100 hosts", large as f64)]
    {
        let told = told(name);
        assert!(
            (told / counted - 1.0).abs() < 0.02,
            "docs/many-servers.md says {told} for {name}; it is {counted}"
        );
    }
}
