//! What is known, and the only place where facts combine.
//!
//! [`State::apply`] folds events into it and asks nobody for the time, so the same events give the
//! same state, in whatever batches they come. All maps are ordered, so the same state gives the
//! same bytes. A clone shares every host that did not change.

mod host;
mod messages;
mod notices;
mod path;
mod phase;
mod run;
mod schedule;
mod sessions;
mod sizes;
mod snapshots;

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_common::reason::Reason;
use backup_common::record::{Body, Record, Trigger};
use jiff::Timestamp;

use crate::event::sizes::SizesEvent;
use crate::event::{Event, Input, Listing, ProcessSample, PushHealth, SessionEvent, Skip, Verdict};
pub use host::Host;
pub use messages::{KEPT_BYTES, KEPT_MESSAGES, Messages};
pub use notices::{History, Notice, Point, REMEMBERED};
pub use path::{Outcome, Path};
pub use phase::Phase;
pub use run::{Run, death};
pub use schedule::Expected;
pub use sessions::{LINES, SESSIONS, SESSIONS_WITH_LINES, Session};
use sessions::{Sessions, Waiting};
pub use sizes::{Sizes, Stored};
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
    sessions: Sessions,
    hosts: BTreeMap<String, Arc<Host>>,
    inputs: BTreeMap<Input, InputHealth>,
    config_rejected: bool,
    config_loaded: Option<Timestamp>,
    process: Option<ProcessSample>,
    sizes: Sizes,
    push: Option<PushHealth>,
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
            Event::ConfigLoaded(time) => self.config_loaded = Some(time),
            Event::ConfigRejected => self.config_rejected = true,
            Event::Process(sample) => self.process = Some(sample),
            Event::InputUp(input) => self.health(input).up = true,
            Event::InputDown(input) => self.health(input).up = false,
            Event::Scheduled(timer) => self.expected.learn(timer),
            Event::SnapshotsConfigured(listing) => self.snapshots.configure(listing.schedules),
            Event::SnapshotsSeen(counts) => self.snapshots.see(counts),
            Event::CaughtUp(input) => {
                self.health(input).caught_up = true;
                if input == Input::Stats {
                    self.judge_waiting();
                }
            }
            Event::Session(event) => self.session(event),
            Event::Booted(time) if self.run.started_before(time) => self.abandon(None),
            Event::RunnerGone(run_id) if self.run.is_running(&run_id) => self.abandon(None),
            Event::Booted(_) | Event::RunnerGone(_) => {}
            Event::Skipped(input, skip) => *self.health(input).skipped.entry(skip).or_default() += 1,
            Event::Sizes(event) => self.size(&event),
            Event::Clock(now) => self.expected.judge(now, self.run.phase == Phase::Running),
            Event::Pushed(health) => self.push = Some(health),
            Event::Recorded(input, record) => self.apply_record(input, &record),
        }
    }

    /// Takes in a record, as [`Event::Recorded`], and leaves its memory to be used again.
    pub fn apply_record(&mut self, input: Input, record: &Record) {
        let health = self.health(input);
        health.records += 1;
        health.last_event = Some(record.time);
        match input {
            Input::Stats | Input::Timer | Input::Snapshots => self.record(record),
            // The same line may stand in the log, which was perhaps not read yet.
            Input::Journal => self.sessions.wait(Waiting::Older(Box::new(record.clone()))),
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

    /// The sessions that the journal tells of, in its order; the last [`SESSIONS_WITH_LINES`] with lines.
    pub fn sessions(&self) -> Vec<(&str, &Session)> {
        self.sessions.all()
    }

    /// What the exporter uses of the machine.
    pub fn process(&self) -> Option<&ProcessSample> {
        self.process.as_ref()
    }

    /// When the configuration was last read without errors.
    pub fn config_loaded(&self) -> Option<Timestamp> {
        self.config_loaded
    }

    /// Whether something waits for the next looks of the stats input.
    pub fn is_settling(&self) -> bool {
        self.sessions.is_waiting()
    }

    /// What the directories in the backup take together.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
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

    /// How the push to InfluxDB is doing, if there is one.
    pub fn push(&self) -> Option<&PushHealth> {
        self.push.as_ref()
    }

    /// Whether every input has handed over what was there at the start: before that, counters
    /// stand below where they stood before a restart.
    pub fn has_caught_up(&self) -> bool {
        Input::ALL.iter().all(|input| self.inputs.get(input).is_some_and(|health| health.caught_up))
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

    fn size(&mut self, event: &SizesEvent) {
        match event {
            SizesEvent::Volume(volume) => self.sizes.volume = Some(*volume),
            SizesEvent::Scanned(scan) => self.sizes.scan = Some(*scan),
            SizesEvent::Differences(count) => {
                self.sizes.differences = self.sizes.differences.saturating_add(*count);
            }
            SizesEvent::Remembered(place, _)
            | SizesEvent::Measured(place, _)
            | SizesEvent::Unmeasured(place, _)
            | SizesEvent::Exclusive(place, _)
            | SizesEvent::Quota(place, _) => {
                self.on_path(&place.host, &place.path, |_| (), |path| path.stored.apply(event));
            }
        }
    }

    fn session(&mut self, event: SessionEvent) {
        if let SessionEvent::Line { line, .. } = &event {
            let time = line.time;
            let health = self.health(Input::Journal);
            health.records += 1;
            health.last_event = Some(time);
        }
        self.sessions.take(event);
        self.run.watch(self.sessions.running_since());
    }

    fn judge_waiting(&mut self) {
        for waiting in self.sessions.looked() {
            match waiting {
                Waiting::Older(record) => self.older_from_journal(&record),
                Waiting::Session(id) => self.judge(&id),
            }
        }
    }

    /// A session is over, and everything that was written during it is read.
    fn judge(&mut self, id: &str) {
        let Some((end, first)) = self.sessions.judge(id) else { return };
        if !self.sessions.may_be_recorded(&end) {
            if first && matches!(end.verdict, Verdict::Ended(..)) {
                self.expected.start(end.started, Trigger::Service);
            }
            self.run.end_unrecorded(&end, first);
            self.run.watch(self.sessions.running_since());
        } else if self.run.is_running(id) {
            self.abandon(None);
        } else {
            let reason = death(&end);
            self.run.refine(&end);
            for host in self.hosts.values_mut().filter(|host| host.died_in(id)) {
                Arc::make_mut(host).refine(id, reason);
            }
        }
    }

    fn older_from_journal(&mut self, record: &Record) {
        let Body::PathFinished(finished) = &record.body else { return };
        let path = self.hosts.get(&finished.host).and_then(|host| host.paths.get(&finished.path));
        if path.and_then(|path| path.last_older).is_none_or(|last| last < record.time) {
            self.record(record);
        }
    }

    fn record(&mut self, record: &Record) {
        let Record { time, run_id, body } = record;
        let time = *time;
        self.sessions.recorded(run_id, time);
        match body {
            Body::RunStarted(started) => {
                self.abandon(None);
                self.expected.start(time, started.trigger);
                self.run.start(time, run_id);
            }
            Body::RunRefused(refused) => self.run.refuse(time, refused.reason, &refused.message),
            Body::RunFinished(finished) => {
                self.run.finish(time, finished);
                self.abandon(Some(Reason::Died));
            }
            Body::PathStarted(started) => {
                self.on_path(
                    &started.host,
                    &started.path,
                    |host| host.running = true,
                    |path| path.start(time),
                );
            }
            Body::PathProgress(progress) => {
                self.on_path(&progress.host, &progress.path, |_| (), |path| path.progress(progress.percent));
            }
            Body::PathFinished(finished) => {
                let learn = |host: &mut Host| host.learn_reachable(finished.reason);
                let finish = |path: &mut Path| path.finish(time, finished, run_id.is_empty());
                self.on_path(&finished.host, &finished.path, learn, finish);
            }
            Body::HostFinished(finished) => {
                if let Some(host) = self.hosts.get_mut(&finished.host) {
                    Arc::make_mut(host).finish(time, finished);
                }
            }
            Body::Snapshot(snapshot) => self.snapshots.record(snapshot),
        }
    }

    /// What still runs when its run is over, or can not run any more, has died: for a reason that is
    /// known, or for the one that the journal gives now or later.
    fn abandon(&mut self, known: Option<Reason>) {
        let run_id = self.run.id().cloned();
        let end = run_id.as_ref().and_then(|id| self.sessions.end_of(id)).cloned();
        self.run.abandon(end.as_deref());
        let reason = known.unwrap_or_else(|| end.as_deref().map_or(Reason::Died, death));
        let in_run = if known.is_some() { None } else { run_id };
        for host in self.hosts.values_mut().filter(|host| host.is_running()) {
            Arc::make_mut(host).abandon(reason, in_run.as_ref());
        }
    }

    /// Changes a path and its host, unless it is one too many that no configuration lists.
    fn on_path(
        &mut self,
        host: &str,
        path: &str,
        of_host: impl FnOnce(&mut Host),
        of_path: impl FnOnce(&mut Path),
    ) {
        if let Some(known) = self.hosts.get_mut(host) {
            let known = Arc::make_mut(known);
            if let Some(path) = known.paths.get_mut(path) {
                of_path(path);
                return of_host(known);
            }
        }
        if host.len().max(path.len()) > NAME_BYTES || self.unlisted_paths() >= UNLISTED_PATHS {
            return;
        }
        let host = Arc::make_mut(self.hosts.entry(host.to_owned()).or_default());
        of_path(host.paths.entry(path.to_owned()).or_default());
        of_host(host);
    }

    fn unlisted_paths(&self) -> usize {
        self.hosts.values().map(|host| host.paths.values().filter(|path| !path.listed).count()).sum()
    }
}
