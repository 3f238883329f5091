//! Starts the inputs, each on a thread of its own, and passes on what they have to know of each other.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc as orders;
use std::thread;
use std::time::Duration;

use backup_common::config::Config;
use backup_common::record::{Body, Record};
use backup_common::status::Status;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::Options;
use crate::event::sizes::{Place, SizesEvent};
use crate::event::{Event, SnapshotListing};
use crate::inputs::sizes::{Extents, Order, Orders, Store, Targets};
use crate::inputs::{journal, process, sizes, snapshots, stats, timer};
use crate::push::config::InfluxConfig;
use crate::push::{self, Push};

/// Batches of events that wait at most before their sender waits too.
const QUEUE: usize = 16;

/// Batches of used records that wait at most to be filled again.
const USED: usize = 4;

/// The running inputs.
pub struct Sources {
    /// What they tell, in batches.
    pub events: mpsc::Receiver<Vec<Event>>,
    /// Ends when the stats input does, even by a panic: the other inputs keep the events' channel open.
    pub stats_ended: oneshot::Receiver<()>,
    sender: mpsc::Sender<Vec<Event>>,
    log: PathBuf,
    timer: orders::SyncSender<()>,
    snapshots: orders::SyncSender<()>,
    snapshot_directory: watch::Sender<Option<PathBuf>>,
    sizes: Orders,
    push: Option<Push>,
    used: orders::SyncSender<Vec<Event>>,
}

impl Sources {
    /// Starts all of them; the error is that the system refuses a thread.
    pub fn start(
        options: &Options,
        config: &Config,
        stores: (Store, Extents),
        influxdb: Option<InfluxConfig>,
    ) -> io::Result<Self> {
        let (sender, events) = mpsc::channel(QUEUE);

        let (timer, woken) = orders::sync_channel(1);
        let (unit, unit_path, to) = (options.timer.clone(), options.unit_path.clone(), sender.clone());
        start("timer", move || timer::run(&unit, &unit_path, &woken, &to))?;

        let (snapshots, woken) = orders::sync_channel(1);
        let (snapshot_directory, directories) = watch::channel(SnapshotListing::from(config).directory);
        let to = sender.clone();
        start("snapshots", move || snapshots::run(&directories, &woken, &to))?;

        let (sizes, ordered) = sizes::orders();
        if options.sizes.interval > Duration::ZERO {
            let (settings, targets, to) = (options.sizes.clone(), Targets::from(config), sender.clone());
            start("sizes", move || sizes::run(settings, targets, stores, ordered, &to))?;
        }

        let (source, to) = (options.journal.clone(), sender.clone());
        start("journal", move || journal::run(&source, &to))?;
        let to = sender.clone();
        start("process", move || process::run(&to))?;

        let log = options.stats_log(config);
        let (alive, stats_ended) = oneshot::channel();
        let (used, given_back) = orders::sync_channel(USED);
        let (file, to) = (log.clone(), sender.clone());
        start("stats", move || {
            stats::run(&file, &to, Some(&given_back));
            drop(alive);
        })?;
        let push = None;
        let mut sources = Self {
            events,
            stats_ended,
            sender,
            log,
            timer,
            snapshots,
            snapshot_directory,
            sizes,
            push,
            used,
        };
        sources.push(options, influxdb)?;
        Ok(sources)
    }

    /// Sends points where this says, from now on or anew; the error is that the system refuses a thread.
    pub fn push(&mut self, options: &Options, influxdb: Option<InfluxConfig>) -> io::Result<()> {
        if let Some(config) = &influxdb {
            info!(server = config.server.url(), "sending points to InfluxDB");
        }
        match (&self.push, influxdb) {
            (Some(push), Some(config)) => push.configure(config),
            (None, Some(config)) => {
                self.push = Some(push(options, config, self.log.clone(), self.sender.clone())?);
            }
            // What has not been sent must go somewhere; where else is not known.
            (Some(_), None) => warn!(
                file = %options.influxdb_config.display(),
                "the configuration of the push is gone; points are sent as before until the exporter is restarted"
            ),
            (None, None) => {}
        }
        Ok(())
    }

    /// Lets the stats input use the memory of records again; what it has no room for is dropped.
    pub fn give_back(&self, records: Vec<Event>) {
        if !records.is_empty() {
            let _ = self.used.try_send(records);
        }
    }

    /// Tells the inputs what an event means for them: when to look again, and at what.
    pub fn pass_on(&self, event: &Event, caught_up: bool) {
        self.offer(event);
        match event {
            Event::SnapshotsConfigured(listing) => {
                self.snapshot_directory.send_replace(listing.directory.clone());
                wake(&self.snapshots);
            }
            Event::Recorded(_, record) => match record.body {
                Body::RunStarted(_) | Body::RunFinished(_) => wake(&self.timer),
                Body::Snapshot(_) => wake(&self.snapshots),
                _ => {}
            },
            _ => {}
        }
        if caught_up && let Some(place) = just_backed_up(event) {
            self.sizes.send(Order::Finished(place));
        }
    }

    /// Hands a measured size to the push, which reads everything else in the stats log.
    fn offer(&self, event: &Event) {
        if let (Some(push), Event::Sizes(SizesEvent::Measured(..))) = (&self.push, event) {
            push.offer(vec![event.clone()]);
        }
    }

    /// The configuration was read again: other directories are measured.
    pub fn measure(&self, config: &Config) {
        self.sizes.send(Order::Targets(Targets::from(config)));
    }
}

fn push(
    options: &Options,
    config: InfluxConfig,
    stats_file: PathBuf,
    events: mpsc::Sender<Vec<Event>>,
) -> io::Result<Push> {
    let options = push::Options {
        config,
        stats_file,
        directory: options.state_directory.join("outbox"),
        cap: push::CAP,
        server: push::server_name(),
        pace: push::engine::Pace::default(),
    };
    push::start(options, events)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// A full channel has woken its thread already.
fn wake(thread: &orders::SyncSender<()>) {
    let _ = thread.try_send(());
}

/// The path that an event says was written to.
fn just_backed_up(event: &Event) -> Option<Place> {
    match event {
        Event::Recorded(_, Record { body: Body::PathFinished(finished), .. })
            if finished.status != Status::Skipped =>
        {
            Some(Place { host: finished.host.clone(), path: finished.path.clone() })
        }
        _ => None,
    }
}
