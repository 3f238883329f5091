//! `--send-influxdb`: the last outcome of everything, now; `--send-influxdb-wait` with the sizes before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use backup_common::record::{Body, Record};
use tokio::sync::mpsc;

use super::sizes::{self, Measured};
use super::{CommandError, influx_config, stats_file};
use crate::event::{Event, Input};
use crate::inputs;
use crate::metrics_cli::Cli;
use crate::outputs::influx::{line_protocol, points};
use crate::push::answer::Verdict;
use crate::push::courier::Courier;
use crate::push::payload::Payload;
use crate::push::plan::Plan;
use crate::push::server_name;

/// Lines in one request.
const BATCH: usize = 5000;

/// Sends once; there is no outbox, so a failure is told and nothing is kept.
pub async fn run(cli: &Cli) -> Result<ExitCode, CommandError> {
    let mut courier = Courier::new(influx_config(cli)?);
    let records = last_records(&stats_file(cli)?).await?;
    let server = server_name();
    let lines: Vec<_> = records
        .values()
        .filter(|record| cli.host.as_deref().is_none_or(|host| host_of(record) == Some(host)))
        .filter_map(|record| line_protocol::line(&points::of_record(record, &server)?))
        .collect();
    // First the log is read: when it can not be, nothing is measured in vain.
    let measured = if cli.send_influxdb_wait {
        sizes::run(cli, &mut courier, &server).await?
    } else {
        Measured::default()
    };
    let mut refused = measured.refused;
    for batch in lines.chunks(BATCH) {
        refused += send(&mut courier, batch).await?;
    }
    let sent = lines.len() + measured.points - refused;
    let taken = backup_common::units::counted(sent as u64, "point");
    if cli.json {
        println!("{}", serde_json::json!({"sent": sent, "refused": refused}));
    } else {
        println!("{taken} sent to InfluxDB");
    }
    if refused > 0 {
        return Err(CommandError::Server(
            "send everything",
            format!("InfluxDB refused {refused} of the points"),
        ));
    }
    if !measured.failed.is_empty() {
        let names = measured.failed.iter().map(|place| format!("{} {}", place.host, place.path));
        let names = backup_common::text::clean(&names.collect::<Vec<_>>().join(", "), 2000);
        return Err(CommandError::Sizes(names));
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends lines and says how many were refused for good.
pub async fn send(courier: &mut Courier, lines: &[String]) -> Result<usize, CommandError> {
    let mut plan = Plan::new(lines.len());
    let mut refused = 0;
    while let Some(part) = plan.next() {
        let outcome = courier.send(&Payload::of(&lines[part])).await;
        match outcome.verdict {
            Verdict::Done => plan.done(),
            Verdict::TooOld(count) => {
                refused += count;
                plan.done();
            }
            Verdict::Split(_) => refused += usize::from(plan.split().is_some()),
            Verdict::Keep(_) | Verdict::Wait(..) => {
                return Err(CommandError::Server("send to InfluxDB", outcome.message));
            }
        }
    }
    Ok(refused)
}

/// The last record of each run, host, path and schedule.
async fn last_records(log: &Path) -> Result<BTreeMap<[String; 3], Record>, CommandError> {
    let (sender, mut events) = mpsc::channel(4);
    let file = log.to_owned();
    thread::Builder::new()
        .name("stats".to_owned())
        .spawn(move || inputs::stats::run(&file, &sender, None))?;
    let mut last = BTreeMap::new();
    let (mut up, mut caught_up) = (false, false);
    while let Some(batch) = events.recv().await {
        for event in batch {
            match event {
                Event::Recorded(_, record) => {
                    if let Some(key) = key(&record) {
                        last.insert(key, record);
                    }
                }
                Event::InputUp(Input::Stats) => up = true,
                Event::InputDown(Input::Stats) => return Err(CommandError::Log(log.to_owned())),
                Event::CaughtUp(Input::Stats) => caught_up = true,
                _ => {}
            }
        }
        if up && caught_up {
            break;
        }
    }
    Ok(last)
}

fn key(record: &Record) -> Option<[String; 3]> {
    let (host, name) = match &record.body {
        Body::PathFinished(finished) => (finished.host.as_str(), finished.path.as_str()),
        Body::HostFinished(finished) => (finished.host.as_str(), ""),
        Body::Snapshot(decision) => ("", decision.schedule.as_str()),
        Body::RunFinished(_) | Body::RunRefused(_) => ("", ""),
        Body::RunStarted(_) | Body::PathStarted(_) | Body::PathProgress(_) => return None,
    };
    Some([record.body.type_name(), host, name].map(str::to_owned))
}

fn host_of(record: &Record) -> Option<&str> {
    match &record.body {
        Body::PathFinished(finished) => Some(&finished.host),
        Body::HostFinished(finished) => Some(&finished.host),
        _ => None,
    }
}
