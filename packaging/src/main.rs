//! Writes the manual pages and the completions of all programs into a directory: `backup-manuals DIRECTORY`.
//!
//! Everything comes from the programs' own command lines and from the keys of the configuration, so that a
//! manual can not tell of an option that is not there.

mod config_manual;
mod influx_manual;
#[path = "../../runner/src/cli.rs"]
#[allow(dead_code, reason = "only the definition of the command line is used, not its values")]
mod runner_cli;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};

/// The programs, with the section of their manual.
fn programs() -> Vec<(Command, &'static str)> {
    vec![
        (runner_cli::Cli::command().name("backup-runner"), "8"),
        (backup_exporter::cli::Cli::command().name("backup-exporter"), "8"),
        (backup_exporter::metrics_cli::Cli::command().name("backup-metrics"), "1"),
        (backup_sizes::cli::Cli::command().name("backup-sizes"), "8"),
    ]
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: backup-manuals DIRECTORY");
        return ExitCode::from(2);
    };
    match write_all(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup-manuals: cannot write below {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    for (command, section) in programs() {
        let name = command.get_name().to_owned();
        let manuals = directory.join(format!("man/man{section}"));
        fs::create_dir_all(&manuals)?;
        let mut page = File::create(manuals.join(format!("{name}.{section}")))?;
        clap_mangen::Man::new(command.clone()).section(section).manual("Backup system").render(&mut page)?;
        for (shell, place) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            let place = directory.join(place);
            fs::create_dir_all(&place)?;
            let file = generate_to(shell, &mut command.clone(), &name, &place)?;
            if shell == Shell::Bash {
                // bash-completion loads the file that has the name of the command.
                fs::rename(file, place.join(&name))?;
            }
        }
    }
    let manuals = directory.join("man/man5");
    fs::create_dir_all(&manuals)?;
    fs::write(manuals.join("backup.yaml.5"), config_manual::page())?;
    fs::write(manuals.join("influxdb-config.yaml.5"), influx_manual::page())
}
