//! The commands of `backup-metrics` that talk to InfluxDB.

mod check;
mod flux;
mod influxql;
mod query;
pub mod samples;
mod send;
mod table;
mod v2;

use std::path::PathBuf;
use std::process::ExitCode;

use backup_common::config::Checked;

use crate::inputs;
use crate::metrics_cli::Cli;
use crate::push::config::InfluxConfig;
use crate::push::credential::{self, CredentialError};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no configuration of InfluxDB.
    #[error("cannot find {0}: it says where InfluxDB is; influxdb-config.yaml.example shows its two forms")]
    NoConfig(PathBuf),
    /// It can not be used.
    #[error(transparent)]
    Influx(#[from] CredentialError),
    /// The configuration of the backups can not be used.
    #[error(transparent)]
    Backup(#[from] inputs::config::ConfigError),
    /// The stats log can not be read.
    #[error("cannot read the stats log {0}")]
    Log(PathBuf),
    /// The server did not do what it was asked.
    #[error("cannot {0}: {1}")]
    Server(&'static str, String),
    /// Sizes are measured by another part.
    #[error("cannot measure the stored sizes: this version can not do that; the rest was sent")]
    NoSizes,
    /// The system refuses a thread.
    #[error("cannot start")]
    System(#[from] std::io::Error),
}

impl CommandError {
    /// 2 for what stands in a configuration, 1 for anything else.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NoConfig(_) | Self::Influx(_) | Self::Backup(_) => 2,
            _ => 1,
        })
    }
}

/// Does what the command line asks for; nothing if that is none of the commands here.
///
/// # Errors
/// Why it could not be done.
pub async fn run(cli: &Cli) -> Option<Result<ExitCode, CommandError>> {
    if cli.test_influxdb {
        return Some(test(cli).await);
    }
    if cli.send_influxdb || cli.send_influxdb_wait {
        return Some(send::run(cli).await);
    }
    match cli.query_data {
        Some(hours) => Some(query::run(cli, hours).await),
        None => None,
    }
}

async fn test(cli: &Cli) -> Result<ExitCode, CommandError> {
    let config = influx_config(cli)?;
    let mut report = check::Report::new(cli.json);
    check::run(config, &mut report).await;
    Ok(report.finish())
}

fn influx_config(cli: &Cli) -> Result<InfluxConfig, CommandError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    credential::read_config(&cli.influxdb_config, credentials.as_deref())?
        .ok_or_else(|| CommandError::NoConfig(cli.influxdb_config.clone()))
}

fn stats_file(cli: &Cli) -> Result<PathBuf, CommandError> {
    if let Some(file) = &cli.stats_file {
        return Ok(file.clone());
    }
    let Checked { config, .. } = inputs::config::read(&cli.config)?;
    Ok(config.stats_file)
}
