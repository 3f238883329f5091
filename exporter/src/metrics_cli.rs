//! The command line of `backup-metrics`.

use std::path::PathBuf;

use backup_common::config;
use clap::{ArgGroup, Parser};

use crate::push;

/// Shows what the backups did, and checks, fills and asks InfluxDB.
#[derive(Clone, Debug, Parser)]
#[command(name = "backup-metrics", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group(ArgGroup::new("mode").args(MODES)))]
pub struct Cli {
    /// Check step by step whether points can be sent to InfluxDB.
    #[arg(long)]
    pub test_influxdb: bool,

    /// Send the last outcome of each run, host, path and schedule to InfluxDB now.
    #[arg(long)]
    pub send_influxdb: bool,

    /// The same, and measure the stored sizes first.
    #[arg(long)]
    pub send_influxdb_wait: bool,

    /// Show what InfluxDB holds of the last hours.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=MOST_HOURS))]
    pub query_data: Option<u32>,

    /// Only this host.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,

    /// Say more.
    #[arg(long)]
    pub verbose: bool,

    /// The configuration of the backups.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config: PathBuf,

    /// Where InfluxDB is.
    #[arg(long, value_name = "FILE", default_value = push::config::DEFAULT_FILE)]
    pub influxdb_config: PathBuf,

    /// The stats log, if not the one that the configuration names.
    #[arg(long, value_name = "FILE")]
    pub stats_file: Option<PathBuf>,
}

/// What it can be asked to do; one at a time.
const MODES: [&str; 4] = ["test_influxdb", "send_influxdb", "send_influxdb_wait", "query_data"];

/// Ten years.
const MOST_HOURS: i64 = 87_600;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_older_command_lines() {
        for line in [
            "--test-influxdb",
            "--send-influxdb",
            "--send-influxdb-wait",
            "--query-data 48",
            "--query-data 24 --json",
            "--verbose --query-data 1 --host server1",
        ] {
            let arguments = std::iter::once("backup-metrics").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_ok(), "{line}");
        }
        for line in
            ["--query-data 0", "--query-data 1h", "--query-data 99999999", "--test-influxdb --send-influxdb"]
        {
            let arguments = std::iter::once("backup-metrics").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_err(), "{line}");
        }
    }
}
