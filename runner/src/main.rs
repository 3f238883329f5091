//! Pulls files from many hosts with rsync over ssh into one volume: one shot, started by a timer.

mod backup;
mod capture;
mod cli;
mod connect;
mod console;
mod destination;
mod exit_code;
mod hooks;
mod identity;
mod lock;
mod plan;
mod print;
mod process;
mod programs;
mod report;
mod rsync;
mod run;
mod stats_log;
mod stop;
mod trust;
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
    if cli.check_config {
        run::check_config(&config)
    } else if cli.verify_hosts {
        connect::verify_hosts(&cli, &config.config)
    } else {
        run::back_up(&cli, &config)
    }
}
