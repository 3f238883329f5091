//! The command line of `backup-exporter`, in the style of every Prometheus exporter.

use std::path::PathBuf;
use std::time::Duration;

use backup_common::config;
use clap::{Parser, ValueEnum};
use tracing::Level;

use crate::inputs::timer::Timer;
use crate::push;

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

    /// The unit that runs the backups; any unit that runs rsync can be watched.
    #[arg(long, value_name = "UNIT", default_value = "backup.service", value_parser = unit)]
    pub unit: String,

    /// Directory of journal files to read in place of this machine's journal.
    #[arg(long = "journal.directory", value_name = "DIR")]
    pub journal_directory: Option<PathBuf>,

    /// Directory for what is kept over restarts: the position in the journal, the history of sizes, the points
    /// that wait for InfluxDB.
    #[arg(long = "state.directory", value_name = "DIR", default_value = DEFAULT_STATE)]
    pub state_directory: PathBuf,

    /// Time between two scans of the stored sizes, such as 6h, 30m or 90s; 0 means no scan.
    #[arg(long = "size.interval", value_name = "TIME", default_value = "6h", value_parser = time)]
    pub size_interval: Duration,

    /// Longest time to measure one directory; after it the last size stays.
    #[arg(long = "size.timeout", value_name = "TIME", default_value = "1h", value_parser = time)]
    pub size_timeout: Duration,

    /// Time between two runs of `btrfs filesystem du` for exclusive bytes, which are slow; 0 means none.
    #[arg(long = "size.exclusive-interval", value_name = "TIME", default_value = "0", value_parser = time)]
    pub size_exclusive_interval: Duration,

    /// The socket of backup-sizes; where nobody answers, directories are walked.
    #[arg(long = "sizes.socket", value_name = "FILE", default_value = "/run/backup-sizes/socket")]
    pub sizes_socket: PathBuf,

    /// Where points are sent to InfluxDB; without this file none are.
    #[arg(long = "influxdb.config", value_name = "FILE", default_value = push::config::DEFAULT_FILE)]
    pub influxdb_config: PathBuf,

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

/// Where systemd's `StateDirectory=backup-exporter` is.
const DEFAULT_STATE: &str = "/var/lib/backup-exporter";

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

/// A name as systemd.unit(5) has it; `.service` is added where no type is given, as systemctl(1) does.
fn unit(name: &str) -> Result<String, String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    if name.is_empty() || name.len() > 255 || !name.chars().all(safe) || name.starts_with('-') {
        return Err("a unit's name has letters, digits and : - _ . \\ @ only".to_owned());
    }
    Ok(if name.contains('.') { name.to_owned() } else { format!("{name}.service") })
}

/// A number of seconds, or one with a unit.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err("end it with s, m, h or d".to_owned()),
    };
    let seconds = digits.parse::<u32>().map_err(|_| "begin it with a whole number".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds) * unit))
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
    fn units() {
        assert_eq!(unit("backup").as_deref(), Ok("backup.service"));
        assert_eq!(unit("sync@a.service").as_deref(), Ok("sync@a.service"));
        for bad in ["", "a b", "-x", "a/b", "a\n"] {
            assert!(unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("30m", 1800), ("6h", 21600), ("7d", 604_800)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "h", "-1h", "1.5h", "6 h", "6w", "99999999999"] {
            assert!(time(bad).is_err(), "{bad}");
        }
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
