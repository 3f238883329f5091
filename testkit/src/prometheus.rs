//! A real Prometheus that scrapes one target, and promtool.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{self, Output, Running};
use crate::{http, wait};

/// A running Prometheus.
pub struct Prometheus {
    _process: Running,
    address: String,
}

/// Labels of a series, its name among them as `__name__`.
pub type Labels = BTreeMap<String, String>;

impl Prometheus {
    /// Starts one that scrapes `target` each second and keeps its data below `directory`.
    pub fn scraping(target: &str, directory: &Path) -> Self {
        Self::configured(
            &format!("- {{job_name: backup, static_configs: [{{targets: ['{target}']}}]}}\n"),
            directory,
        )
    }

    /// Starts one with the items of `scrape_configs`, each second.
    pub fn configured(scrape_configs: &str, directory: &Path) -> Self {
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nscrape_configs:\n{scrape_configs}"
        );
        fs::write(&config, text).unwrap();
        let address = format!("127.0.0.1:{}", process::free_port());
        let log = File::create(directory.join("prometheus.log")).unwrap();
        let process = Running::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdout(Stdio::null())
                .stderr(log),
        );
        wait::until("Prometheus to be ready", || {
            http::get(&address, "/-/ready").filter(|answer| answer.status == 200)
        });
        Self { _process: process, address }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The present value of each series that an expression selects.
    pub fn query(&self, expression: &str) -> Vec<(Labels, f64)> {
        query_at(&self.address, expression)
    }

    /// Waits until an expression selects something that satisfies `wanted`.
    pub fn until(
        &self,
        expression: &str,
        mut wanted: impl FnMut(&[(Labels, f64)]) -> bool,
    ) -> Vec<(Labels, f64)> {
        wait::until(expression, || Some(self.query(expression)).filter(|series| wanted(series)))
    }
}

/// Asks a server that speaks the query API of Prometheus for the present value of each series.
pub fn query_at(address: &str, expression: &str) -> Vec<(Labels, f64)> {
    let path = format!("/api/v1/query?query={}", percent_encoded(expression));
    let answer = http::get(address, &path).expect("the server answers");
    let json: serde_json::Value = serde_json::from_str(&answer.body).expect("it answers in JSON");
    assert_eq!(json["status"], "success", "{expression}: {}", answer.body);
    let series = json["data"]["result"].as_array().expect("a vector");
    series.iter().map(|one| (labels(&one["metric"]), number(&one["value"][1]))).collect()
}

/// `promtool check metrics` over a text exposition.
pub fn promtool_check(exposition: &Path) -> Output {
    process::run(Command::new("sh").arg("-c").arg("promtool check metrics < \"$0\"").arg(exposition))
}

fn labels(metric: &serde_json::Value) -> Labels {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    metric.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).expect("a number in a text")
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}
