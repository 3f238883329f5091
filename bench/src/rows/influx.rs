use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backup_common::record::Record;
use backup_exporter::outputs::influx::{line_protocol, points};
use backup_testkit::influxdb::InfluxDb;
use backup_testkit::wait;

use super::Row;
use crate::exporter::Exporter;
use crate::results::Section;
use crate::{Bench, data, measure, web};

pub const ROW: Row = Row {
    name: "influx",
    title: "a backlog for InfluxDB",
    about: "100,000 points wait in the outbox while InfluxDB 1.6 is away; then the exporter is started with an InfluxDB that is stopped by a signal, and goes on when \
            the exporter has read its log; the first batch is on its way then. `influx -import` imports the points of the same log, written to a file beforehand as line protocol, into an empty database on the same \
            server.",
    measure,
};

const DATABASE: &str = "backup_metrics";
const IMPORTED: &str = "imported";
const HOSTS: usize = 10;
const PATHS: usize = 10;

fn measure(bench: &Bench, section: &mut Section) {
    let wanted = bench.scaled(100_000).max(10_000);
    // A run leaves one point for itself, one for each host and one for each path.
    let runs = wanted.div_ceil(1 + HOSTS + HOSTS * PATHS);
    for _ in 0..bench.rounds {
        let folder = bench.folder();
        data::config::write(folder.path(), "", &data::config::fleet(HOSTS, PATHS));
        let log = folder.path().join("stats.log");
        for run in 0..runs {
            data::log::append_run(&log, HOSTS, PATHS, run.try_into().unwrap());
        }
        let mut influxdb = InfluxDb::prepare(folder.path(), "");
        let text =
            format!("influxdb:\n  host: 127.0.0.1\n  port: {}\n  database: {DATABASE}\n", influxdb.port);
        fs::write(folder.path().join("influxdb-config.yaml"), text).unwrap();
        fill_outbox(bench, folder.path(), &log);

        influxdb.resume();
        influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
        // Few points are sent before the exporter has read its log, unless nobody takes them.
        influxdb.signal("STOP");
        let exporter = Exporter::start(bench, folder.path(), &[]);
        let (before, _) = look(&exporter);
        let (seconds, points) = measure::seconds(|| {
            influxdb.signal("CONT");
            until_drained(&exporter)
        });
        assert!(points > before, "{before} points were taken by a server that was stopped");
        section.add("drain", "exporter", "rate", "points/s", (points - before) / seconds);
        section.add("drain", "exporter", "points", "", points - before);
        drop(exporter);
        section.add("drain", "influx -import", "rate", "points/s", import(&influxdb, folder.path(), &log));
    }
    section.at_least(
        "rate beside influx -import",
        section.ratio("drain", "rate", "exporter", "influx -import"),
        "×",
        0.8,
    );
    section.at_least("points in a second", section.median("drain", "exporter", "rate"), "points/s", 10_000.0);
}

/// Lets the exporter read the log while nobody takes its points.
fn fill_outbox(bench: &Bench, folder: &Path, log: &Path) {
    let text = fs::read_to_string(log).unwrap();
    let last = Record::decode(text.lines().next_back().unwrap().as_bytes()).unwrap().time.to_string();
    let exporter = Exporter::start(bench, folder, &[]);
    wait::until("all points to be in the outbox", || {
        let mark = fs::read_to_string(folder.join("state/outbox/last-record")).ok()?;
        mark.starts_with(&last).then_some(())
    });
    drop(exporter);
}

/// How many points were sent, and the bytes that wait.
fn look(exporter: &Exporter) -> (f64, f64) {
    let text = String::from_utf8(web::get(&exporter.address, "/metrics", "").body).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or(0.0)
    };
    (value("backup_exporter_push_points_total"), value("backup_exporter_outbox_bytes"))
}

/// Waits until nothing waits any more; how many points were sent by then.
fn until_drained(exporter: &Exporter) -> f64 {
    wait::until("an empty outbox", || {
        // Each look makes a whole scrape, which costs the exporter more than the pause is inexact.
        std::thread::sleep(Duration::from_millis(50));
        let (sent, waiting) = look(exporter);
        (sent > 0.0 && waiting < 1.0).then_some(sent)
    })
}

/// Points in a second that `influx -import` brings into an empty database.
fn import(influxdb: &InfluxDb, folder: &Path, log: &Path) -> f64 {
    let file = folder.join("points");
    let mut out = BufWriter::new(File::create(&file).unwrap());
    write!(out, "# DDL\nCREATE DATABASE {IMPORTED}\n# DML\n# CONTEXT-DATABASE: {IMPORTED}\n").unwrap();
    for record in BufReader::new(File::open(log).unwrap()).split(b'\n') {
        let record = Record::decode(&record.unwrap()).unwrap();
        if let Some(line) = points::of_record(&record, "server").and_then(|point| line_protocol::line(&point))
        {
            writeln!(out, "{line}").unwrap();
        }
    }
    out.flush().unwrap();
    let port = influxdb.port.to_string();
    let mut influx = Command::new("influx");
    influx.args(["-host", "127.0.0.1", "-port", &port, "-import", "-precision", "ns", "-path"]).arg(&file);
    let usage = measure::run(influx.stderr(Stdio::null()), &[0]);
    let points: u64 = ["backup_path", "backup_host", "backup_run"]
        .into_iter()
        .map(|measurement| influxdb.count(IMPORTED, measurement, "status_numeric"))
        .sum();
    points as f64 / usage.wall
}
