//! Pulls files from many hosts with rsync over ssh into one volume: one shot, started by a timer.

mod backup;
mod cli;
mod destination;
mod exit_code;
mod free_space;
mod identity;
mod lock;
mod plan;
mod print;
mod process;
mod report;
mod rsync;
mod run;
mod snapshots;
mod stats_log;
mod stop;
mod volume;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let config = match run::read_config(&cli.config) {
        Ok(config) => config,
        Err(problems) => {
            print::error_line(&problems);
            return exit_code::CONFIG.into();
        }
    };
    if cli.check_config { run::check_config(&config) } else { run::back_up(&cli, &config) }
}
