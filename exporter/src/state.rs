//! What is known, and the only place where facts combine.
//!
//! [`State::apply`] folds events into it and asks nobody for the time, so the same events give the
//! same state, in whatever batches they come. All maps are ordered, so the same state gives the
//! same bytes. A clone shares every host that did not change.

mod host;
mod notices;
mod path;
mod phase;
mod run;
mod schedule;
mod snapshots;

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_common::record::{Body, Record};
use jiff::Timestamp;

use crate::event::{Event, Input, Listing, Skip};
pub use host::Host;
pub use notices::{History, Notice, Point, REMEMBERED};
pub use path::{Outcome, Path};
pub use phase::Phase;
pub use run::Run;
pub use schedule::Expected;
pub use snapshots::{SnapshotSchedule, Snapshots};

/// Paths that are remembered though no configuration lists them, so that their history is there
/// when they come back. Records about further ones are dropped: the log must not be able to fill
/// the memory with names.
pub const UNLISTED_PATHS: usize = 1000;

/// Longest host or path that is remembered, in bytes; Linux takes none longer (`PATH_MAX`).
const NAME_BYTES: usize = 4096;

/// All that the outputs show.
#[derive(Clone, Debug, Default)]
pub struct State {
    run: Run,
    expected: Expected,
    snapshots: Snapshots,
    hosts: BTreeMap<String, Arc<Host>>,
    inputs: BTreeMap<Input, InputHealth>,
    config_rejected: bool,
}

/// How an input is doing.
#[derive(Clone, Debug, Default)]
pub struct InputHealth {
    /// It can read its source.
    pub up: bool,
    /// It has handed over what was there at the start.
    pub caught_up: bool,
    /// Time of the last record, by the clock of its writer.
    pub last_event: Option<Timestamp>,
    /// Records that were read.
    pub records: u64,
    /// What was passed over, by reason.
    pub skipped: BTreeMap<Skip, u64>,
}

impl State {
    /// Takes in one event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Configured(listing) => {
                self.config_rejected = false;
                self.list(&listing);
            }
            Event::ConfigRejected => self.config_rejected = true,
            Event::InputUp(input) => self.health(input).up = true,
            Event::InputDown(input) => self.health(input).up = false,
            Event::CaughtUp(input) => self.health(input).caught_up = true,
            Event::Scheduled(timer) => self.expected.learn(timer),
            Event::SnapshotsConfigured(listing) => self.snapshots.configure(listing.limits),
            Event::SnapshotsSeen(counts) => self.snapshots.see(counts),
            Event::Skipped(input, skip) => *self.health(input).skipped.entry(skip).or_default() += 1,
            Event::Recorded(input, record) => {
                let health = self.health(input);
                health.records += 1;
                health.last_event = Some(record.time);
                self.record(record);
            }
        }
    }

    /// The runs as a whole.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// When runs are expected.
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The snapshots of the configured schedules.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The configured hosts, by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &Host)> {
        self.hosts.iter().filter(|(_, host)| host.listed).map(|(name, host)| (name.as_str(), &**host))
    }

    /// Every input with its health; one that never spoke is down.
    pub fn inputs(&self) -> impl Iterator<Item = (Input, InputHealth)> {
        Input::ALL.into_iter().map(|input| (input, self.inputs.get(&input).cloned().unwrap_or_default()))
    }

    /// Whether the configuration in use is the one on the disk when it was last read.
    pub fn config_is_current(&self) -> bool {
        !self.config_rejected
    }

    /// Whether every input has handed over what was there at the start: before that, counters
    /// stand below where they stood before a restart.
    pub fn has_caught_up(&self) -> bool {
        self.inputs().all(|(_, health)| health.caught_up)
    }

    fn health(&mut self, input: Input) -> &mut InputHealth {
        self.inputs.entry(input).or_default()
    }

    fn list(&mut self, listing: &Listing) {
        for host in listing.0.keys().filter(|name| name.len() <= NAME_BYTES) {
            self.hosts.entry(host.clone()).or_default();
        }
        for (name, host) in &mut self.hosts {
            Arc::make_mut(host).list(listing.0.get(name));
        }
    }

    fn record(&mut self, record: Record) {
        let Record { time, run_id: _, body } = record;
        match body {
            Body::RunStarted(started) => {
                self.abandon();
                self.expected.start(time, started.trigger);
                self.run.start(time);
            }
            Body::RunRefused(refused) => self.run.refuse(refused.reason),
            Body::RunFinished(finished) => {
                self.run.finish(time, &finished);
                self.abandon();
            }
            Body::PathStarted(started) => {
                self.on_path(started.host, started.path, |host, path| {
                    host.running = true;
                    path.start(time);
                });
            }
            Body::PathProgress(progress) => {
                self.on_path(progress.host, progress.path, |_, path| path.progress(progress.percent));
            }
            Body::PathFinished(mut finished) => {
                let (host, path) = (std::mem::take(&mut finished.host), std::mem::take(&mut finished.path));
                self.on_path(host, path, |host, path| {
                    host.learn_reachable(finished.reason);
                    path.finish(time, &finished);
                });
            }
            Body::HostFinished(finished) => {
                if let Some(host) = self.hosts.get_mut(&finished.host) {
                    Arc::make_mut(host).finish(time, &finished);
                }
            }
            Body::Snapshot(snapshot) => self.snapshots.record(&snapshot),
        }
    }

    /// What still runs when its run is over, or when the next run starts, has died.
    fn abandon(&mut self) {
        self.run.abandon();
        for host in self.hosts.values_mut().filter(|host| host.is_running()) {
            Arc::make_mut(host).abandon();
        }
    }

    /// Changes a path and its host, unless it is one too many that no configuration lists.
    fn on_path(&mut self, host: String, path: String, change: impl FnOnce(&mut Host, &mut Path)) {
        let known = self.hosts.get(&host).is_some_and(|host| host.paths.contains_key(&path));
        if !known && (host.len().max(path.len()) > NAME_BYTES || self.unlisted_paths() >= UNLISTED_PATHS) {
            return;
        }
        let host = Arc::make_mut(self.hosts.entry(host).or_default());
        // Out and in again, so that both can be changed at once.
        let mut changed = host.paths.remove(&path).unwrap_or_default();
        change(host, &mut changed);
        host.paths.insert(path, changed);
    }

    fn unlisted_paths(&self) -> usize {
        self.hosts.values().map(|host| host.paths.values().filter(|path| !path.listed).count()).sum()
    }
}
