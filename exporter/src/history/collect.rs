//! Edge: asks every input once, as the exporter does, and says what could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_common::config::{Checked, Config};
use backup_common::error_chain::ErrorChain;
use jiff::{SignedDuration, Timestamp};

use super::runs::{Builder, Run};
use super::select::{Wanted, select, windows};
use crate::event::{Event, Input, Listing, SnapshotListing};
use crate::inputs::journal::JournalError;
use crate::inputs::{self, journal, sizes, snapshots, stats, timer};
use crate::state::State;

/// Where systemd looks for units of the system; see systemd.unit(5).
const UNIT_PATH: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// The stats log where no configuration names one.
const STATS_FILE: &str = "/var/log/backup-stats.log";

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration of the backups.
    pub config: PathBuf,
    /// The stats log, if not the one that the configuration names.
    pub stats_file: Option<PathBuf>,
    /// The journal.
    pub journal: journal::Source,
    /// The timer that starts the runs.
    pub timer: timer::Timer,
    /// What the exporter keeps.
    pub state_directory: PathBuf,
}

/// All that was found.
#[derive(Debug)]
pub struct Collected {
    /// As the exporter has it.
    pub state: State,
    /// The runs, the oldest first.
    pub runs: Vec<Run>,
    /// What could not be read, in sentences.
    pub unread: Vec<String>,
    /// Neither log nor journal could be read.
    pub is_blind: bool,
    /// How far back the journal was read; none if all of it was.
    pub window: Option<Duration>,
    /// The configuration, if it could be read.
    pub config: Option<Config>,
}

/// Reads everything, and as much of the journal as is needed for the runs that are wanted; `hours` fixes
/// how much that is.
pub fn collect(places: &Places, wanted: &Wanted, hours: Option<Duration>, now: Timestamp) -> Collected {
    let first = First::read(places);
    let interval = first.interval;
    let tries = hours.map_or_else(|| windows(interval, wanted).to_vec(), |hours| vec![Some(hours)]);
    let mut collected = first.rest(places, tries[0], now);
    for window in &tries[1..] {
        let enough = select(&collected.runs, wanted).found >= wanted.back + wanted.count;
        if enough || collected.is_blind || !journal_is_up(&collected.state) {
            break;
        }
        collected = first.rest(places, *window, now);
    }
    collected
}

/// What does not depend on how much of the journal is read.
struct First {
    events: Vec<Event>,
    unread: Vec<String>,
    config: Option<Config>,
    interval: Option<Duration>,
}

impl First {
    fn read(places: &Places) -> Self {
        let (mut events, mut unread) = (Vec::new(), Vec::new());
        let config = match inputs::config::read(&places.config) {
            Ok(Checked { config, .. }) => {
                events.push(Event::Configured(Listing::from(&config)));
                events.push(Event::SnapshotsConfigured(SnapshotListing::from(&config)));
                Some(config)
            }
            Err(error) => {
                let text = ErrorChain(&error).to_string();
                let shown = "shown are the hosts and paths of the log";
                unread.push(format!("{}; {shown}", text.lines().collect::<Vec<_>>().join(" ")));
                None
            }
        };
        let schedule = timer::once(&places.timer, &UNIT_PATH.map(PathBuf::from));
        let interval = schedule.as_ref().ok().and_then(|schedule| schedule.as_ref()?.interval);
        match schedule {
            Ok(schedule) => {
                events.push(Event::InputUp(Input::Timer));
                events.push(Event::Scheduled(schedule));
            }
            Err(error) => unread.push(format!("the timer: {error}; the runs tell how often they come")),
        }
        events.push(Event::CaughtUp(Input::Timer));
        if let Some(directory) = config.as_ref().and_then(|config| SnapshotListing::from(config).directory) {
            match snapshots::once(&directory) {
                Ok(counts) => {
                    events.extend([Event::InputUp(Input::Snapshots), Event::SnapshotsSeen(Some(counts))]);
                }
                Err(error) => unread.push(error),
            }
        }
        events.push(Event::CaughtUp(Input::Snapshots));
        match File::open(places.state_directory.join("sizes.jsonl")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let directory = places.state_directory.display();
                unread.push(format!("cannot read the stored sizes in {directory}: {error}"));
            }
            _ => {
                events.extend(sizes::Store::open(&places.state_directory).events());
                events.extend(sizes::Extents::open(&places.state_directory).events());
            }
        }
        if let Some(volume) = config.as_ref().and_then(|config| sizes::volume(&config.backup_base)) {
            events.push(volume);
        }
        Self { events, unread, config, interval }
    }

    fn rest(&self, places: &Places, window: Option<Duration>, now: Timestamp) -> Collected {
        let mut unread = self.unread.clone();
        let mut state = State::default();
        let mut builder = Builder::default();
        for event in &self.events {
            state.apply(event.clone());
        }
        let mut apply = |event: Event| {
            builder.push(&event);
            state.apply(event);
        };
        let since = window.and_then(|window| now.checked_sub(SignedDuration::try_from(window).ok()?).ok());
        let journal = journal::collect(&places.journal, since.unwrap_or(Timestamp::UNIX_EPOCH), &mut apply);
        if let Err(error) = &journal {
            apply(Event::InputDown(Input::Journal));
            apply(Event::CaughtUp(Input::Journal));
            unread.push(journal_trouble(error));
        }
        let log = self.stats_file(places);
        stats::collect(&log, &mut apply);
        let trouble = File::open(&log).err();
        if let Some(error) = &trouble {
            unread.push(log_trouble(&log, error));
        }
        let skipped: u64 = state
            .inputs()
            .filter(|(input, _)| *input == Input::Stats)
            .flat_map(|(_, health)| health.skipped.into_values())
            .sum();
        if skipped > 0 {
            unread.push(format!("{} of the stats log", backup_common::units::counted(skipped, "line")));
        }
        let runs = builder.finish(&state);
        if self.config.is_none() {
            state.apply(Event::Configured(listing(&runs)));
            state.apply(Event::ConfigRejected);
        }
        let is_blind =
            trouble.is_some_and(|error| error.kind() != io::ErrorKind::NotFound) && journal.is_err();
        Collected { state, runs, unread, is_blind, window, config: self.config.clone() }
    }

    fn stats_file(&self, places: &Places) -> PathBuf {
        let configured = self.config.as_ref().map(|config| config.stats_file.clone());
        places.stats_file.clone().or(configured).unwrap_or_else(|| STATS_FILE.into())
    }
}

fn journal_is_up(state: &State) -> bool {
    state.inputs().any(|(input, health)| input == Input::Journal && health.up)
}

fn journal_trouble(error: &JournalError) -> String {
    match error {
        JournalError::Denied(file, error) => {
            format!(
                "cannot read the journal {}: {error}; you must be in the group systemd-journal",
                file.display()
            )
        }
        other => ErrorChain(other).to_string(),
    }
}

fn log_trouble(log: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "; you must be in the group of the file, or root",
        io::ErrorKind::NotFound => "; no run has written it yet, or it is elsewhere: --stats-file",
        _ => "",
    };
    format!("cannot read the stats log {}: {error}{advice}", log.display())
}

/// The hosts and paths that the runs tell of.
fn listing(runs: &[Run]) -> Listing {
    let mut listing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, host) in runs.iter().flat_map(|run| &run.hosts) {
        listing.entry(name.clone()).or_default().extend(host.paths.keys().cloned());
    }
    Listing(listing)
}
