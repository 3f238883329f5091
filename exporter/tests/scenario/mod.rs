//! A scenario: what is given, as files, and the state that follows from it.
//!
//! `config.yaml` and `events.jsonl` are the configuration and the stats log, `journal.export` holds
//! entries in the form of `journalctl -o export`, `after.txt` what else is found at the end. Some have
//! `timer.jsonl`, what systemd says about the timer, and `snapshots.txt`, the names in the directory of the
//! snapshots.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backup_common::config::Config;
use backup_common::lines::{Line, LineBuffer};
use backup_common::record::Record;
use backup_exporter::event::{Event, Input, Listing, Skip, SnapshotCounts, SnapshotListing};
use backup_exporter::inputs::journal::entry::Entry;
use backup_exporter::inputs::journal::session::Sessions;
use backup_exporter::inputs::older_lines::OlderLines;
use backup_exporter::inputs::snapshots;
use backup_exporter::inputs::timer::bus::{self, Clock};
use backup_exporter::outputs::metrics;
use backup_exporter::schedule::calendar::Calendar;
use backup_exporter::schedule::{Plan, Schedule, Times};
use backup_exporter::state::State;
use jiff::tz::TimeZone;

/// In which order the inputs hand over what they have.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    StatsFirst,
    JournalFirst,
    /// Each thing at its time, with looks of the stats input in between.
    Live,
}

pub struct Scenario {
    given: Vec<Event>,
    records: Vec<Event>,
    entries: Option<Vec<Entry>>,
    after: Vec<Event>,
}

/// Where the scenarios are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

impl Scenario {
    pub fn load(directory: &Path) -> Self {
        let config = fs::read_to_string(directory.join("config.yaml")).unwrap();
        let log = fs::read(directory.join("events.jsonl")).unwrap();
        let journal = fs::read_to_string(directory.join("journal.export")).ok();
        let after = fs::read_to_string(directory.join("after.txt")).unwrap_or_default();
        Self {
            given: given(directory, &config),
            records: recorded(&log),
            entries: journal.map(|text| text.split_terminator("\n\n").map(entry).collect()),
            after: after.lines().map(fact).collect(),
        }
    }

    /// All events in the order of the command line: the journal first, then the log, which settles it.
    pub fn events(&self) -> Vec<Event> {
        let up = if self.entries.is_some() { vec![Event::InputUp(Input::Journal)] } else { Vec::new() };
        let journal = session_events(self.entries.as_deref().unwrap_or_default()).into_iter().flatten();
        let looks = [Event::CaughtUp(Input::Stats), Event::CaughtUp(Input::Stats)];
        let given = self.given.iter().cloned().chain([Event::InputUp(Input::Stats)]).chain(up);
        given.chain(journal).chain(self.records.clone()).chain(looks).chain(self.after.clone()).collect()
    }

    /// The state when everything was read, in this order.
    pub fn state(&self, order: Order) -> State {
        let mut state = State::default();
        self.given.iter().for_each(|event| state.apply(event.clone()));
        state.apply(Event::InputUp(Input::Stats));
        if self.entries.is_some() {
            state.apply(Event::InputUp(Input::Journal));
        }
        let journal: Vec<Vec<Event>> = session_events(self.entries.as_deref().unwrap_or_default());
        match order {
            Order::StatsFirst => {
                self.records.iter().for_each(|event| state.apply(event.clone()));
                looked(&mut state);
                journal.into_iter().flatten().for_each(|event| state.apply(event));
            }
            Order::JournalFirst => {
                journal.into_iter().flatten().for_each(|event| state.apply(event));
                self.records.iter().for_each(|event| state.apply(event.clone()));
            }
            Order::Live => {
                let mut records = self.records.iter().peekable();
                for (entry, events) in self.entries.iter().flatten().zip(journal) {
                    let is_earlier = |event: &&Event| matches!(event, Event::Recorded(_, record) if record.time <= entry.time());
                    while let Some(record) = records.next_if(is_earlier) {
                        state.apply(record.clone());
                        looked(&mut state);
                    }
                    for event in events {
                        state.apply(event);
                    }
                    looked(&mut state);
                }
                records.for_each(|event| state.apply(event.clone()));
            }
        }
        looked(&mut state);
        self.after.iter().for_each(|event| state.apply(event.clone()));
        state.apply(Event::CaughtUp(Input::Journal));
        state
    }
}

/// The stats input has looked, twice.
fn looked(state: &mut State) {
    state.apply(Event::CaughtUp(Input::Stats));
    state.apply(Event::CaughtUp(Input::Stats));
}

/// The events of each entry.
pub fn session_events(entries: &[Entry]) -> Vec<Vec<Event>> {
    let mut sessions = Sessions::new(|| TimeZone::UTC);
    let mut events = |entry| {
        let mut found = Vec::new();
        sessions.push(entry, &mut |event| found.push(event));
        found
    };
    entries.iter().map(&mut events).collect()
}

pub fn configured(config: &str) -> Event {
    Event::Configured(Listing::from(&Config::parse(config).unwrap().config))
}

/// Configuration, timer and snapshots: what does not depend on the order of the inputs.
fn given(directory: &Path, config: &str) -> Vec<Event> {
    let mut given = vec![configured(config), snapshots_configured(config)];
    if let Ok(printed) = fs::read_to_string(directory.join("timer.jsonl")) {
        given.push(Event::Scheduled(Some(timer(&printed))));
    }
    if let Ok(names) = fs::read_to_string(directory.join("snapshots.txt")) {
        given.push(snapshots_seen(&names.lines().collect::<Vec<_>>()));
    }
    given
}

pub fn snapshots_configured(config: &str) -> Event {
    Event::SnapshotsConfigured(SnapshotListing::from(&Config::parse(config).unwrap().config))
}

pub fn snapshots_seen(names: &[&str]) -> Event {
    let mut counts = SnapshotCounts::new();
    for name in names {
        snapshots::add(&mut counts, name, &TimeZone::UTC);
    }
    Event::SnapshotsSeen(Some(counts))
}

/// The timer as the input sees it at a fixed time.
pub fn timer(printed: &str) -> Schedule {
    let seen = bus::parse(printed).unwrap();
    let times = |text: &String| Times::Calendar(Calendar::parse(text).unwrap());
    let plan = Plan { calendars: seen.calendars.iter().map(times).collect(), ..seen.plan.clone() };
    let now = "2026-11-23T12:46:38Z".parse().unwrap();
    let clock = Clock { now, monotonic: Duration::from_secs(12_265) };
    seen.schedule(&plan, plan.interval(now, &TimeZone::UTC), clock, &TimeZone::UTC)
}

fn recorded(log: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut older = OlderLines::new(|| TimeZone::UTC);
    LineBuffer::default().push(log, |line| {
        let Line::Complete(line) = line else { panic!("{line:?}") };
        if line.starts_with(b"RSYNC_") {
            older.push(std::str::from_utf8(line).unwrap(), |record| {
                events.push(Event::Recorded(Input::Stats, record));
            });
            return;
        }
        events.push(match Record::decode(line) {
            Ok(record) => Event::Recorded(Input::Stats, record),
            Err(error) => Event::Skipped(Input::Stats, Skip::from(&error)),
        });
    });
    older.flush(|record| events.push(Event::Recorded(Input::Stats, record)));
    events
}

fn entry(block: &str) -> Entry {
    let mut entry = Entry { priority: 6, ..Entry::default() };
    for line in block.lines() {
        match line.split_once('=').unwrap() {
            ("__REALTIME_TIMESTAMP", value) => entry.realtime = value.parse().unwrap(),
            ("__MONOTONIC_TIMESTAMP", value) => entry.monotonic = value.parse().unwrap(),
            ("_BOOT_ID", value) => entry.boot = value.into(),
            (name, value) => entry.set(name.as_bytes(), value.as_bytes()),
        }
    }
    entry
}

fn fact(line: &str) -> Event {
    match line.split_once(' ').unwrap() {
        ("booted", time) => Event::Booted(time.parse().unwrap()),
        ("clock", time) => Event::Clock(time.parse().unwrap()),
        ("runner_gone", run) => Event::RunnerGone(run.to_owned()),
        (other, _) => panic!("{other}"),
    }
}

pub fn render(state: &State) -> String {
    metrics::openmetrics(Arc::new(state.clone()))
}
