//! `--query-data`: what the database holds.

use std::process::ExitCode;

use backup_common::error_chain::ErrorChain;

use super::samples::{Held, Sample};
use super::{CommandError, flux, influx_config, influxql, table, v2};
use crate::metrics_cli::Cli;
use crate::push::api::{Api, ServerInfo};
use crate::push::client::{self, Client};
use crate::push::config::{Access, InfluxConfig, Version};

/// Largest answer that is read.
const ANSWER_BYTES: usize = 256 << 20;

/// Asks in the language of the server and prints a table or JSON.
pub async fn run(cli: &Cli, hours: u32) -> Result<ExitCode, CommandError> {
    let samples = ask(influx_config(cli)?, hours).await?;
    let held = Held::collect(samples, cli.host.as_deref());
    if cli.json {
        println!("{:#}", held.to_json(hours));
    } else {
        print!("{}", table::render(&held, hours));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(config: InfluxConfig, hours: u32) -> Result<Vec<Sample>, CommandError> {
    let mut client = Client::new(config.server.clone());
    let mut api = Api::new(config);
    let failed = |error: &(dyn std::error::Error + 'static)| {
        CommandError::Server("ask InfluxDB", ErrorChain(error).to_string())
    };
    let request = api.ping().map_err(|error| failed(&error))?;
    let answer = client.send(request, client::SHORT).await.map_err(|error| failed(&error))?;
    api.learn(ServerInfo::from_ping(&answer));
    if let (Version::V2, Access::Bucket { organization, bucket, token }) =
        (api.version(), &api.config().access)
    {
        let organization = organization.as_deref().unwrap_or_default();
        let client = v2::client(api.config(), organization, token).map_err(|error| failed(&error))?;
        let records =
            v2::flux(client, flux::question(bucket, hours)).await.map_err(|error| failed(&error))?;
        return Ok(records.iter().filter_map(flux::sample).collect());
    }
    let mut samples = Vec::new();
    for (measurement, question) in influxql::questions(hours) {
        let request = api.influxql(&question).map_err(|error| failed(&error))?;
        let answer = client.send(request, ANSWER_BYTES).await.map_err(|error| failed(&error))?;
        match influxql::error(&answer) {
            // 3.x says so of a measurement that nobody wrote to yet.
            Some(error) if error.contains("not found") && error.contains("table") => {}
            Some(error) => return Err(CommandError::Server("ask InfluxDB", error)),
            None => samples.extend(influxql::samples(measurement, &answer.body)),
        }
    }
    Ok(samples)
}
