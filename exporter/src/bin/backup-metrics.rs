//! The program: command line in, exit code out.

use std::process::ExitCode;

use backup_common::error_chain::ErrorChain;
use backup_exporter::cli::LogFormat;
use backup_exporter::history;
use backup_exporter::influx_command;
use backup_exporter::log;
use backup_exporter::metrics_cli::Cli;
use clap::Parser;
use jiff::Timestamp;
use tracing::Level;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let level = if cli.looks_back() { Level::ERROR } else { Level::WARN };
    log::start(if cli.verbose { Level::INFO } else { level }, LogFormat::Logfmt);
    if cli.looks_back() {
        return history::run(&cli, Timestamp::now()).unwrap_or_else(|error| {
            failed(&error);
            ExitCode::from(2)
        });
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(influx_command::run(&cli)) {
        Some(Ok(code)) => code,
        Some(Err(error)) => {
            failed(&error);
            error.exit_code()
        }
        None => ExitCode::from(2),
    }
}

/// For a monitoring system 2 would be "critical", and wrong arguments are "unknown".
fn wrong_usage(error: &clap::Error) -> ExitCode {
    // Writing it can only fail when nobody reads it.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if std::env::args_os().any(|argument| argument == "--check") => ExitCode::from(3),
        _ => ExitCode::from(2),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("backup-metrics: {}", ErrorChain(error));
    ExitCode::FAILURE
}
