//! A real VictoriaMetrics, which takes InfluxDB's line protocol at `/api/v2/write`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{Running, free_port};
use crate::{http, wait};

/// A running VictoriaMetrics.
pub struct VictoriaMetrics {
    _process: Running,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl VictoriaMetrics {
    /// Starts one that keeps its data below `directory`.
    pub fn start(directory: &Path) -> Self {
        let port = free_port();
        let process = Running::start(
            Command::new("victoria-metrics")
                .arg(format!("-storageDataPath={}", directory.join("victoria").display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args(["-retentionPeriod=100y", "-search.latencyOffset=0s", "-search.disableCache"])
                .stdout(Stdio::null())
                .stderr(File::create(directory.join("victoria.log")).unwrap()),
        );
        let victoria = Self { _process: process, port };
        wait::until("VictoriaMetrics to answer", || {
            http::get(&victoria.address(), "/health").filter(|answer| answer.status == 200)
        });
        victoria
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Every stored series of a name: labels, values and times in milliseconds, one JSON object each.
    pub fn export(&self, name: &str) -> Vec<Value> {
        // What was written a moment ago becomes visible by this.
        let _ = http::get(&self.address(), "/internal/force_flush");
        let path = format!("/api/v1/export?match[]={name}&start=0&end=4102444800");
        let answer = http::get(&self.address(), &path).expect("VictoriaMetrics answers");
        answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }
}
