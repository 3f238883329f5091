//! The first half of `--send-influxdb-wait`: measures the stored sizes, and sends each as soon as it is known.

use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{CommandError, send};
use crate::event::Event;
use crate::event::sizes::{Place, SizesEvent};
use crate::inputs::sizes::{self, Extents, Options, Store, Targets};
use crate::metrics_cli::Cli;
use crate::outputs::influx::{line_protocol, points};
use crate::progress;
use crate::push::courier::Courier;

/// Longest time for one directory, as the exporter has it.
const LIMIT: Duration = Duration::from_secs(3600);

/// What became of the directories.
#[derive(Debug, Default)]
pub struct Measured {
    /// Points that were sent, refused ones among them.
    pub points: usize,
    /// Those that InfluxDB refused for good.
    pub refused: usize,
    /// Directories that could not be measured; those that were never backed up are none.
    pub failed: Vec<Place>,
}

/// Measures in a thread of its own and sends from here.
pub async fn run(cli: &Cli, courier: &mut Courier, server: &str) -> Result<Measured, CommandError> {
    let config = crate::inputs::config::read(&cli.config)?.config;
    let mut targets = Targets::from(&config);
    targets.directories.retain(|(place, _)| cli.host.as_ref().is_none_or(|host| *host == place.host));
    let bar = progress::bar(targets.directories.len() as u64);
    let options = Options {
        socket: cli.sizes_socket.clone(),
        interval: Duration::ZERO,
        limit: LIMIT,
        exclusive_interval: None,
    };
    let stores =
        (Store::open(&cli.state_directory).read_only(), Extents::open(&cli.state_directory).read_only());
    let (sender, mut events) = mpsc::channel(16);
    thread::Builder::new()
        .name("sizes".to_owned())
        .spawn(move || sizes::once(options, targets, stores, &sender))?;
    let mut measured = Measured::default();
    while let Some(batch) = events.recv().await {
        for event in batch {
            match event {
                Event::Sizes(SizesEvent::Measured(place, point)) => {
                    bar.set_message(format!("{} {}", place.host, place.path));
                    let figures = (point.bytes, point.apparent_bytes, point.files);
                    let names = (place.host.as_str(), place.path.as_str());
                    let point = points::size_point(names, server, point.time, figures);
                    let lines: Vec<_> = line_protocol::line(&point).into_iter().collect();
                    measured.points += lines.len();
                    measured.refused += send::send(courier, &lines).await?;
                    bar.inc(1);
                }
                Event::Sizes(SizesEvent::Unmeasured(place, _)) => {
                    measured.failed.push(place);
                    bar.inc(1);
                }
                _ => {}
            }
        }
    }
    bar.finish_and_clear();
    Ok(measured)
}
