//! The command line of `backup-exporter`, in the style of every Prometheus exporter.

use std::path::PathBuf;

use backup_common::config;
use clap::{Parser, ValueEnum};
use tracing::Level;

use crate::inputs::timer::Timer;

/// Serves the state of the backups as Prometheus metrics.
#[derive(Clone, Debug, Parser)]
#[command(name = "backup-exporter", version)]
pub struct Cli {
    /// The configuration of the backups.
    #[arg(long = "config.file", value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config_file: PathBuf,

    /// Check the configuration and exit: 0 if it is good, 2 if it is not.
    #[arg(long = "config.check")]
    pub config_check: bool,

    /// The stats log that the runner writes; the configuration names it at the start, if this does not.
    #[arg(long = "stats.file", value_name = "FILE")]
    pub stats_file: Option<PathBuf>,

    /// The timer that starts the runs: its name, or the path of its unit file, for which systemd is not asked.
    #[arg(long = "timer", value_name = "UNIT", default_value = "backup.timer", value_parser = Timer::parse)]
    pub timer: Timer,

    /// Address to listen on; :PORT means all addresses, port 0 any free one. Can be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = DEFAULT_ADDRESS)]
    pub listen_addresses: Vec<String>,

    /// Listen on the sockets that systemd hands over, instead of --web.listen-address.
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,

    /// TLS, client certificates, users and headers, in the format of all Prometheus exporters.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,

    /// Requests that are answered at a time; 0 is no limit.
    #[arg(long = "web.max-requests", value_name = "NUMBER", default_value_t = 40)]
    pub max_requests: usize,

    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,

    /// Least important messages that are logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    log_level: String,

    /// Form of the messages on standard error.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
}

/// The range that the Prometheus project allocates, 9100 to 9999, is full; this port is above it and
/// below the kernel's ephemeral ports.
const DEFAULT_ADDRESS: &str = "127.0.0.1:19187";

/// Form of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl Cli {
    /// Least important messages that are logged.
    pub fn log_level(&self) -> Level {
        // The values are checked above and are all names of levels.
        self.log_level.parse().unwrap_or(Level::INFO)
    }
}

fn telemetry_path(path: &str) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~');
    if !path.starts_with('/') || !path.chars().all(safe) {
        return Err("begin it with / and use letters, digits, . _ - ~ only".to_owned());
    }
    if path.starts_with("/-/") {
        return Err("/-/ is taken by health and readiness".to_owned());
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn telemetry_paths() {
        for good in ["/", "/metrics", "/a/b.c"] {
            assert!(telemetry_path(good).is_ok(), "{good}");
        }
        for bad in ["", "metrics", "/a b", "/\"><script>", "/-/ready", "/a?b"] {
            assert!(telemetry_path(bad).is_err(), "{bad}");
        }
    }
}
