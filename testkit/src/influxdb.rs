//! A real InfluxDB 1.x with a configuration and data of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{Running, free_port};
use crate::{http, wait};

/// A running influxd.
pub struct InfluxDb {
    process: Option<Running>,
    config: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Sent with each question, for a server that wants a password.
    pub authorization: String,
    encrypted: bool,
}

impl InfluxDb {
    /// Starts one that keeps its data below `directory`, with further lines for the section `[http]`.
    pub fn start(directory: &Path, http_options: &str) -> Self {
        let mut influxdb = Self::prepare(directory, http_options);
        influxdb.resume();
        influxdb
    }

    /// Makes everything ready for [`Self::resume`].
    pub fn prepare(directory: &Path, http_options: &str) -> Self {
        let home = directory.join("influxdb");
        fs::create_dir_all(&home).unwrap();
        let port = free_port();
        let config = home.join("influxdb.conf");
        let text = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n\
             [meta]\ndir = \"{home}/meta\"\n\
             [data]\ndir = \"{home}/data\"\nwal-dir = \"{home}/wal\"\nquery-log-enabled = false\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{http_options}\n",
            free_port(),
            home = home.display(),
        );
        fs::write(&config, text).unwrap();
        let encrypted = http_options.contains("https-enabled = true");
        Self { process: None, config, port, authorization: String::new(), encrypted }
    }

    /// Starts it again on the same data, and waits until it answers.
    pub fn resume(&mut self) {
        let log = File::create(self.config.with_extension("log")).unwrap();
        let mut command = Command::new("influxd");
        command.arg("-config").arg(&self.config).env("HOME", self.config.parent().unwrap());
        self.process = Some(Running::start(command.stdout(Stdio::null()).stderr(log)));
        wait::until("InfluxDB to answer", || {
            if self.encrypted {
                std::net::TcpStream::connect(self.address()).ok().map(drop)
            } else {
                http::get(&self.address(), "/ping").filter(|answer| answer.status == 204).map(drop)
            }
        });
    }

    /// Kills it; its data stays.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks it something in `InfluxQL` and gives the first result.
    pub fn query(&self, database: &str, query: &str) -> Value {
        let encoded = query.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let path = format!("/query?epoch=ns&db={database}&q={encoded}");
        let headers = format!("Content-Length: 0\r\n{}", self.authorization);
        let answer = http::ask(&self.address(), "POST", &path, &headers).expect("InfluxDB answers");
        let json: Value = serde_json::from_str(&answer.body).expect("InfluxDB answers in JSON");
        assert!(json.get("error").is_none(), "{query}: {json}");
        json["results"][0].clone()
    }

    /// The rows of the first series that a query selects.
    pub fn rows(&self, database: &str, query: &str) -> Vec<Vec<Value>> {
        let result = self.query(database, query);
        let rows = result["series"][0]["values"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect()
    }

    /// How many points of a measurement have a field.
    pub fn count(&self, database: &str, measurement: &str, field: &str) -> u64 {
        let rows = self.rows(database, &format!("SELECT count(\"{field}\") FROM \"{measurement}\""));
        rows.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
    }
}
