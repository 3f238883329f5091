//! The command line.

use std::path::PathBuf;

use backup_common::config;
use clap::{ArgGroup, Parser};

/// Pulls files from many hosts with rsync over ssh into one volume.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(
    version,
    arg_required_else_help = true,
    group = ArgGroup::new("mode").required(true).args(["backup", "dry_run", "verify_hosts", "check_config", "print_schema"]),
    after_help = EXIT_CODES
)]
pub struct Cli {
    /// Back up all hosts, or those named with --host.
    #[arg(long)]
    pub backup: bool,

    /// Show what a backup would run, transfer and delete; change nothing, and run beside a backup if need be.
    #[arg(long)]
    pub dry_run: bool,

    /// Check that each host can be reached and its paths can be read; on a terminal, help with keys.
    #[arg(long)]
    pub verify_hosts: bool,

    /// Read the configuration and report all its problems; touch nothing else. With --verbose or --json also
    /// what counts after inheritance and defaults.
    #[arg(long)]
    pub check_config: bool,

    /// Print the JSON Schema of the configuration, for editors.
    #[arg(long)]
    pub print_schema: bool,

    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config: PathBuf,

    /// Only this host; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,

    /// Accept once that more is deleted in this path's backup than its budget allows; may be given more than once.
    #[arg(long, value_name = "HOST:PATH")]
    pub force_delete: Vec<String>,

    /// Machine-readable: the records of a run as JSON Lines, a checked configuration as one JSON document.
    #[arg(long)]
    pub json: bool,

    /// Also show the commands that are run, and what rsync says, as it happens.
    #[arg(long, short)]
    pub verbose: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  everything was backed up
    2  wrong usage or configuration; nothing was touched
    3  finished with warnings
   10  at least one host or path failed
   11  another run holds the lock
   12  refused: the backup directory or rsync is missing, or there is no space
   75  nothing to do
  128+ ended by this signal";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mode_is_needed_and_only_one() {
        assert!(Cli::try_parse_from(["backup-runner", "--host", "a"]).is_err());
        assert!(Cli::try_parse_from(["backup-runner", "--backup", "--check-config"]).is_err());
        let cli =
            Cli::try_parse_from(["backup-runner", "--backup", "--host", "a", "--host", "b"]).expect("parses");
        assert_eq!(cli.host, ["a", "b"]);
    }
}
