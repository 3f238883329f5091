//! Pulls files from many hosts with rsync over ssh into one volume: one shot, started by a timer.

mod backup;
mod check;
mod cli;
mod command_line;
mod destination;
mod dry_run;
mod exit_code;
mod identity;
mod journal_socket;
mod lock;
mod plan;
mod print;
mod process;
mod report;
mod rsync;
mod run;
mod stats_log;
mod stop;
mod volume;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if cli.print_schema {
        return check::print_schema();
    }
    if cli.check_config {
        return check::check_config(&cli.config, &cli);
    }
    let config = match run::read_config(&cli.config) {
        Ok(config) => config,
        Err(problems) => {
            report::refuse_config(&problems);
            return exit_code::CONFIG.into();
        }
    };
    run::back_up(&cli, &config)
}
