//! A running exporter over a configuration and a log in a folder.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use backup_testkit::http;
use backup_testkit::process::{Running, free_port};

use crate::Bench;

/// It ends when it is dropped.
pub struct Exporter {
    process: Running,
    /// Address and port.
    pub address: String,
    /// Seconds from before its start until it was ready.
    pub ready_after: f64,
}

impl Exporter {
    /// Starts one over `backup.yaml` and `stats.log` in a folder, and waits until it is ready.
    pub fn start(bench: &Bench, folder: &Path, further: &[&str]) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        fs::create_dir_all(folder.join("state")).unwrap();
        fs::create_dir_all(folder.join("journal")).unwrap();
        fs::write(folder.join("backup.timer"), "[Timer]\nOnCalendar=hourly\n").unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = File::create(folder.join("exporter.log")).unwrap();
        let begun = Instant::now();
        let process = Running::start(
            Command::new(bench.program("backup-exporter"))
                .args(["--config.file", &at("backup.yaml"), "--timer", &at("backup.timer")])
                .args(["--web.listen-address", &address, "--log.level", "warn"])
                .args(["--state.directory", &at("state"), "--journal.directory", &at("journal")])
                .args(["--influxdb.config", &at("influxdb-config.yaml"), "--sizes.socket", &at("none")])
                .args(["--size.interval", "0"])
                .args(further)
                .stdout(Stdio::null())
                .stderr(log),
        );
        let mut exporter = Self { process, address, ready_after: 0.0 };
        while http::get(&exporter.address, "/-/ready").is_none_or(|answer| answer.status != 200) {
            assert!(
                exporter.process.is_running(),
                "{}",
                fs::read_to_string(folder.join("exporter.log")).unwrap()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        exporter.ready_after = begun.elapsed().as_secs_f64();
        exporter
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
