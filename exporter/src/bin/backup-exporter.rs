//! The program: command line in, exit code out. 0 after SIGTERM or SIGINT, 2 for errors in the
//! command line or the configuration, 1 for anything else.

use std::path::PathBuf;
use std::process::ExitCode;

use backup_common::error_chain::ErrorChain;
use backup_exporter::cli::Cli;
use backup_exporter::http::front::Source;
use backup_exporter::http::routes::Site;
use backup_exporter::inputs::{config, journal, sizes};
use backup_exporter::log;
use backup_exporter::push::credential;
use backup_exporter::serve::{self, Options, ServeError};
use clap::Parser;

/// Where systemd looks for units of the system, in this order; see systemd.unit(5). Those of generators and
/// of `systemctl set-property` are left out: they hold no timers.
const UNIT_PATH: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.log_level(), cli.log_format);
    let result = if cli.config_check { check(&cli) } else { serve(cli) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup-exporter: {}", ErrorChain(&error));
            let usage = matches!(error, ServeError::Config(_) | ServeError::Web(_) | ServeError::Push(_));
            ExitCode::from(if usage { 2 } else { 1 })
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
    if let Some(file) = &cli.web_config_file {
        Source::open(file)?;
        println!("{} is good", file.display());
    }
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
        timer: cli.timer,
        unit_path: UNIT_PATH.map(PathBuf::from).into(),
        stats_file: cli.stats_file,
        journal: journal::Source {
            unit: cli.unit,
            directory: cli.journal_directory,
            // systemd-journald.service(8): persistent and volatile.
            system_directories: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            state_directory: Some(cli.state_directory.clone()),
        },
        state_directory: cli.state_directory,
        sizes: sizes::Options {
            socket: cli.sizes_socket,
            interval: cli.size_interval,
            limit: cli.size_timeout,
            exclusive_interval: Some(cli.size_exclusive_interval).filter(|interval| !interval.is_zero()),
        },
        influxdb_config: cli.influxdb_config,
        listen_addresses: cli.listen_addresses,
        systemd_socket: cli.systemd_socket,
        web_config_file: cli.web_config_file,
        max_requests: cli.max_requests,
        site: Site { telemetry_path: cli.telemetry_path },
    }))
}
