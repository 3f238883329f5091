//! The built exporter in a directory of its own, and records to feed it.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod influx;
pub mod influx_tls;
pub mod scripted;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record, TransferStats};
use backup_testkit::http::{self, Answer};
use backup_testkit::process::Running;
use backup_testkit::wait;
use tempfile::TempDir;

/// Two hosts; `server1` has two paths.
pub const CONFIG: &str = "
hosts:
  server1:
    ssh_user: backup
    hostname: server1.example.com
    paths:
      - path: /etc
      - path: /home
  server2:
    ssh_user: root@server2.example.com
    paths:
      - path: /var/www
";

/// A directory with a configuration and a place for the stats log.
pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        home.configure(CONFIG);
        home
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("backup.yaml")
    }

    pub fn log(&self) -> PathBuf {
        self.path().join("backup-stats.log")
    }

    /// The journal's directory; there is none before a test makes it.
    pub fn journal(&self) -> PathBuf {
        self.path().join("journal")
    }

    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// Appends to the log as the runner does: opened for it, one write.
    pub fn append(&self, bytes: impl AsRef<[u8]>) {
        let mut log = OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        log.write_all(bytes.as_ref()).unwrap();
    }

    /// The command that starts the exporter on a free port.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup-exporter"));
        command
            .arg("--config.file")
            .arg(self.config())
            .arg("--stats.file")
            .arg(self.log())
            .arg("--journal.directory")
            .arg(self.journal())
            .arg("--state.directory")
            .arg(self.path().join("state"))
            .arg("--sizes.socket")
            .arg(self.path().join("sizes"))
            .arg("--influxdb.config")
            .arg(self.path().join("influxdb-config.yaml"))
            .args(["--web.listen-address", "127.0.0.1:0"]);
        command
    }

    /// Starts the exporter and waits until it is ready.
    pub fn start(&self) -> Exporter {
        self.start_with(&mut self.command())
    }

    /// The same for a command that ends up as [`Self::command`].
    pub fn start_with(&self, command: &mut Command) -> Exporter {
        let exporter = self.listening(command);
        wait::until("the exporter to be ready", || {
            exporter.get("/-/ready").filter(|answer| answer.status == 200)
        });
        exporter
    }

    /// Starts it and waits until it listens.
    pub fn listening(&self, command: &mut Command) -> Exporter {
        let log = self.path().join("exporter.log");
        let process = Running::start(command.stderr(File::create(&log).unwrap()));
        let address = wait::until("the exporter to listen", || {
            let text = fs::read_to_string(&log).unwrap();
            let (_, rest) = text.split_once("msg=listening address=")?;
            Some(rest.split_once('\n')?.0.to_owned())
        });
        Exporter { process, address, log }
    }
}

/// A running exporter.
pub struct Exporter {
    pub process: Running,
    pub address: String,
    log: PathBuf,
}

impl Exporter {
    pub fn get(&self, path: &str) -> Option<Answer> {
        http::get(&self.address, path)
    }

    /// The metrics in text format.
    pub fn scrape(&self) -> String {
        let answer = self.get("/metrics").expect("the exporter answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The metrics without those that say when and how this very process runs and measures.
    pub fn lasting(&self) -> String {
        let own = ["process_", "backup_exporter_config_last_reload", "backup_size_scan_"];
        let scrape = self.scrape();
        let lines = scrape.lines().filter(|line| !own.iter().any(|name| line.contains(name)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The value of a series, written as in the text format.
    pub fn value(&self, series: &str) -> Option<f64> {
        let scrape = self.scrape();
        let value = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// Waits until a series has a value.
    pub fn until(&self, series: &str, value: f64) {
        wait::until(&format!("{series} to be {value}"), || (self.value(series) == Some(value)).then_some(()));
    }

    /// What it wrote to standard error.
    pub fn messages(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// Counter of the records that were read.
pub const RECORDS: &str = "backup_exporter_input_records_total{input=\"stats\"}";

/// Counter of what was skipped.
pub fn skipped(reason: &str) -> String {
    format!("backup_exporter_input_skipped_total{{input=\"stats\",reason=\"{reason}\"}}")
}

/// Counter of the tries of a path.
pub fn attempts(host: &str, path: &str) -> String {
    format!("backup_path_attempts_total{{host=\"{host}\",path=\"{path}\"}}")
}

/// The same record of another moment; no two records of a log are alike.
pub fn at(moment: u64, line: &str) -> String {
    let time = jiff::Timestamp::from_microsecond(1_767_323_045_500_000).unwrap();
    let other = time + jiff::SignedDuration::from_micros(i64::try_from(moment).unwrap());
    line.replacen(&format!("{time:.6}"), &format!("{other:.6}"), 1)
}

/// The end of a path as one line of the log.
pub fn path_finished(host: &str, path: &str, reason: Reason) -> String {
    let time = "2026-01-02T03:04:05.5Z".parse().unwrap();
    let finished = PathFinished {
        host: host.to_owned(),
        path: path.to_owned(),
        dest: format!("/share/backup/{host}{path}"),
        status: reason.status(),
        reason,
        exit_code: (reason == Reason::Ok).then_some(0),
        signal: None,
        attempts: 1,
        started: time,
        duration_seconds: 1.5,
        stats: (reason == Reason::Ok).then(|| TransferStats { files: 7, ..TransferStats::default() }),
        error_count: 0,
        warning_count: 0,
        errors: [].into(),
        messages: Vec::new(),
    };
    Record {
        time,
        run_id: "0123456789abcdef0123456789abcdef".to_owned(),
        body: Body::PathFinished(Box::new(finished)),
    }
    .encode()
}
