//! The program: command line in, exit code out.

use std::process::ExitCode;

use backup_common::error_chain::ErrorChain;
use backup_exporter::cli::LogFormat;
use backup_exporter::influx_command;
use backup_exporter::log;
use backup_exporter::metrics_cli::Cli;
use clap::{CommandFactory, Parser};
use tracing::Level;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(if cli.verbose { Level::INFO } else { Level::WARN }, LogFormat::Logfmt);
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
        None => {
            // Writing the help can only fail when nobody reads it.
            let _ = Cli::command().print_help();
            ExitCode::from(2)
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("backup-metrics: {}", ErrorChain(error));
    ExitCode::FAILURE
}
