//! The program: command line in, exit code out. 0 after SIGTERM or SIGINT, 2 for errors in the
//! command line or the configuration, 1 for anything else.

use std::path::PathBuf;
use std::process::ExitCode;

use backup_common::error_chain::ErrorChain;
use backup_exporter::cli::Cli;
use backup_exporter::http::routes::Site;
use backup_exporter::inputs::config;
use backup_exporter::log;
use backup_exporter::push::credential;
use backup_exporter::serve::{self, Options, ServeError};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.log_level(), cli.log_format);
    let result = if cli.config_check { check(&cli) } else { serve(cli) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup-exporter: {}", ErrorChain(&error));
            ExitCode::from(if matches!(error, ServeError::Config(_) | ServeError::Push(_)) { 2 } else { 1 })
        }
    }
}

fn check(cli: &Cli) -> Result<(), ServeError> {
    let checked = config::read(&cli.config_file)?;
    for warning in checked.warnings {
        println!("warning: {warning}");
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let influxdb = credential::read_config(&cli.influxdb_config, credentials.as_deref())?;
    println!("{} is good", cli.config_file.display());
    if influxdb.is_some() {
        println!("{} is good", cli.influxdb_config.display());
    }
    Ok(())
}

fn serve(cli: Cli) -> Result<(), ServeError> {
    // Two threads: one can render a large scrape while the other goes on.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve::run(Options {
        config_file: cli.config_file,
        stats_file: cli.stats_file,
        influxdb_config: cli.influxdb_config,
        state_directory: cli.state_directory,
        listen_addresses: cli.listen_addresses,
        site: Site { telemetry_path: cli.telemetry_path },
    }))
}
