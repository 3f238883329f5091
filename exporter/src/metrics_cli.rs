//! The command line of `backup-metrics`.

use std::path::PathBuf;

use backup_common::config;
use backup_common::reason::Reason;
use clap::{ArgGroup, Parser, Subcommand};

use crate::cli::{DEFAULT_STATE, unit};
use crate::history::explain;
use crate::inputs::timer::Timer;
use crate::push;

/// Shows what the backups did, and checks, fills and asks InfluxDB.
///
/// Without any flag it prints a summary: whether everything is backed up, and what to do if it is not.
#[derive(Clone, Debug, Parser)]
#[command(name = "backup-metrics", version, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group(ArgGroup::new("mode").args(MODES)))]
pub struct Cli {
    /// A command of its own.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Show the last run, or with a number the one so many before it: -2 is the third last.
    #[arg(long, value_name = "-N", num_args = 0..=1, default_missing_value = "0", allow_negative_numbers = true, value_parser = back)]
    pub last_run: Option<usize>,

    /// Show so many runs, from that one on into the past.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = OTHERS)]
    pub count: Option<u32>,

    /// Look at the last hours only; how far is otherwise found by how often runs come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_HOURS), conflicts_with_all = OTHERS)]
    pub hours: Option<u32>,

    /// Print one line and end with 0 (ok), 1 (warning), 2 (critical) or 3 (unknown), as monitoring plugins do.
    #[arg(long)]
    pub check: bool,

    /// How old the newest good copy of a path may be for --check, in intervals of the schedule (2.5).
    #[arg(long, value_name = "FACTOR", value_parser = factor, requires = "check")]
    pub max_age: Option<f64>,

    /// Measure what of each directory is its own and what it shares, with btrfs filesystem du; this is slow.
    #[arg(long)]
    pub exclusive: bool,

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

    /// The unit that runs the backups.
    #[arg(long, value_name = "UNIT", default_value = "backup.service", value_parser = unit)]
    pub unit: String,

    /// The timer that starts it: its name, or the path of its unit file.
    #[arg(long, value_name = "UNIT", default_value = "backup.timer", value_parser = Timer::parse)]
    pub timer: Timer,

    /// Directory of journal files to read in place of this machine's journal.
    #[arg(long, value_name = "DIR")]
    pub journal_directory: Option<PathBuf>,

    /// What the exporter keeps: the history of sizes.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    pub state_directory: PathBuf,

    /// The socket of backup-sizes, for --send-influxdb-wait.
    #[arg(long, value_name = "FILE", default_value = "/run/backup-sizes/socket")]
    pub sizes_socket: PathBuf,
}

/// Commands without dashes.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say what a reason means and what to do about it; all of them without a name.
    Explain {
        /// The reason, as it stands behind a bad end.
        #[arg(value_parser = explain::parse)]
        reason: Option<Reason>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Cli {
    /// Whether it is a command of [`crate::history`], which says itself what could not be read.
    pub fn looks_back(&self) -> bool {
        let is_influx =
            self.test_influxdb || self.send_influxdb || self.send_influxdb_wait || self.query_data.is_some();
        !is_influx
    }
}

/// `-N`, or 0.
fn back(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('-').unwrap_or(if text == "0" { text } else { "" });
    number.parse().map_err(|_| "say 0 or nothing for the last run, -2 for the third last".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    (factor.is_finite() && factor > 0.0)
        .then_some(factor)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

/// What it can be asked to do; one at a time.
const MODES: [&str; 7] =
    ["test_influxdb", "send_influxdb", "send_influxdb_wait", "query_data", "last_run", "check", "exclusive"];

/// Those that are not about single runs.
const OTHERS: [&str; 6] =
    ["test_influxdb", "send_influxdb", "send_influxdb_wait", "query_data", "check", "exclusive"];

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

    /// Every combination of the flags about runs, and what it asks for.
    #[test]
    fn combinations() {
        for mask in 0..64u32 {
            let mut line = vec!["backup-metrics"];
            let parts: [&[&str]; 6] = [
                &["--last-run"],
                &["--count", "4"],
                &["--host", "server1"],
                &["--hours", "48"],
                &["--verbose"],
                &["--json"],
            ];
            for (index, part) in parts.iter().enumerate() {
                if mask & (1 << index) != 0 {
                    line.extend(*part);
                }
            }
            let has = |index: u32| mask & (1 << index) != 0;
            let cli = Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert_eq!(cli.last_run, has(0).then_some(0), "{line:?}");
            assert_eq!(cli.count, has(1).then_some(4), "{line:?}");
            assert_eq!(cli.host.as_deref(), has(2).then_some("server1"), "{line:?}");
            assert_eq!(cli.hours, has(3).then_some(48), "{line:?}");
            assert_eq!((cli.verbose, cli.json), (has(4), has(5)), "{line:?}");
            // In the other order, and with a number.
            line[1..].reverse();
            if has(0) && mask & 0b1110 == 0 {
                let place = line.iter().position(|part| *part == "--last-run").unwrap();
                line.insert(place + 1, "-12");
                assert_eq!(Cli::try_parse_from(&line).unwrap().last_run, Some(12), "{line:?}");
            }
        }
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
            "--last-run",
            "--last-run -2",
            "--last-run --count 3",
            "--last-run --host server1",
            "--last-run --hours 48",
            "--last-run -4 --count 4 --host server1",
            "--verbose --last-run",
            "--last-run --verbose",
            "--json",
            "--check --max-age 3.5",
            "--exclusive --host server1",
            "explain",
            "explain connection_refused --json",
        ] {
            let arguments = std::iter::once("backup-metrics").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_ok(), "{line}");
        }
        for line in [
            "--query-data 0",
            "--query-data 1h",
            "--query-data 99999999",
            "--test-influxdb --send-influxdb",
            "--last-run 2",
            "--last-run -x",
            "--last-run --count 0",
            "--check --count 2",
            "--max-age 3",
            "--check --max-age -1",
            "explain nonsense",
        ] {
            let arguments = std::iter::once("backup-metrics").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_err(), "{line}");
        }
    }
}
