//! Pulls files from many hosts with rsync over ssh into one volume: one shot, started by a timer.

mod backup;
mod capture;
mod check;
mod cli;
mod command_line;
mod connect;
mod console;
mod destination;
mod dry_run;
mod exit_code;
mod free_space;
mod hooks;
mod identity;
mod journal_socket;
mod lock;
mod plan;
mod print;
mod process;
mod programs;
mod report;
mod rsync;
mod run;
mod snapshots;
mod stats_log;
mod stop;
mod trust;
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
    if cli.verify_hosts { connect::verify_hosts(&cli, &config.config) } else { run::back_up(&cli, &config) }
}
