//! Pure: what log and journal tell, put together run by run.
//!
//! A run is known from the records of the runner, from its session in the journal, or from the lines of
//! the older shell system. Records and session belong together when they have the same id. An older line
//! belongs to the session in which it was written; without one, a run ends where a path comes again or
//! nothing came for [`OLDER_GAP`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record, Snapshot, Trigger};
use backup_common::status::Status;
use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, LogLine, SessionEnd, SessionEvent, Verdict};
use crate::state::{Phase, State, death};

/// Time without a line that ends a run of the older system.
pub const OLDER_GAP: SignedDuration = SignedDuration::from_hours(1);
/// Runs and sessions that are kept, the newest ones.
const RUNS: usize = 10_000;
/// Lines of a session that are kept, the last ones.
const LINES: usize = 100_000;
/// A line of the older system may be this much younger than the end of its session.
const AFTER: SignedDuration = SignedDuration::from_secs(5);

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It did not.
    #[default]
    Running,
    /// It ended before it began.
    Refused,
    /// So.
    Ended(Status),
}

impl Ending {
    /// The word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Refused => "refused",
            Self::Ended(status) => status.name(),
        }
    }
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Its id, which is that of its session; empty for lines of the older system without one.
    pub id: String,
    /// The runner wrote records of it.
    pub has_records: bool,
    /// When it began, as far as that is known.
    pub started: Timestamp,
    /// When it ended; unknown when it died unseen, or runs.
    pub ended: Option<Timestamp>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// Who started it.
    pub trigger: Option<Trigger>,
    /// How it ended.
    pub ending: Ending,
    /// Why so.
    pub reason: Option<Reason>,
    /// Why it was refused, in words.
    pub message: Option<String>,
    /// Its hosts by name; none where nobody tells of them.
    pub hosts: BTreeMap<String, RunHost>,
    /// What was decided about snapshots.
    pub snapshots: Vec<Snapshot>,
    /// What the journal says of its end.
    pub session: Option<Arc<SessionEnd>>,
    /// Its log in the journal.
    pub lines: VecDeque<LogLine>,
    /// Earlier lines that are not kept.
    pub lines_left_out: u64,
    /// From the start of the run before to its own.
    pub gap_seconds: Option<f64>,
}

/// A host in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunHost {
    /// Its own end.
    pub status: Option<Status>,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// From its first path to its last.
    pub duration_seconds: Option<f64>,
    /// Its paths.
    pub paths: BTreeMap<String, RunPath>,
}

/// A path in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunPath {
    /// Its end; absent while it runs, and when it died.
    pub finished: Option<Box<PathFinished>>,
    /// Why it never came to an end.
    pub died: Option<Reason>,
    /// The figures are of the older system, which counted bytes and no files.
    pub without_counts: bool,
}

impl RunPath {
    /// How it ended; none while it runs.
    pub fn status(&self) -> Option<Status> {
        self.finished.as_ref().map(|end| end.status).or(self.died.map(|_| Status::Failed))
    }

    /// Why so.
    pub fn reason(&self) -> Option<Reason> {
        self.finished.as_ref().map(|end| end.reason).or(self.died)
    }
}

/// Puts runs together from events, which come in any order.
#[derive(Debug, Default)]
pub struct Builder {
    recorded: BTreeMap<String, Run>,
    order: VecDeque<String>,
    sessions: BTreeMap<String, Run>,
    session_order: VecDeque<String>,
    older: Vec<(Timestamp, Box<PathFinished>)>,
}

impl Builder {
    /// Takes what concerns runs.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Recorded(_, record) => self.record(record),
            Event::Session(event) => self.session(event),
            _ => {}
        }
    }

    /// All runs, the oldest first. The state knows whether the last one still runs.
    pub fn finish(mut self, state: &State) -> Vec<Run> {
        let running_since = (state.run().phase == Phase::Running).then_some(state.run().last_start).flatten();
        let mut runs = Vec::new();
        for (id, mut run) in std::mem::take(&mut self.recorded) {
            if let Some(session) = self.sessions.remove(&id) {
                (run.session, run.lines) = (session.session, session.lines);
                run.lines_left_out = session.lines_left_out;
            }
            let has_own_end = run.ending != Ending::Running;
            if !has_own_end && running_since != Some(run.started) {
                died(&mut run);
            }
            let reason = match run.ending {
                Ending::Running => None,
                Ending::Refused => Some(Reason::Died),
                // A run that told of its own end lost the path before.
                Ending::Ended(_) if has_own_end => Some(Reason::Died),
                Ending::Ended(_) => run.reason,
            };
            for path in run.hosts.values_mut().flat_map(|host| host.paths.values_mut()) {
                path.died = reason.filter(|_| path.finished.is_none());
            }
            runs.push(run);
        }
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_values().collect();
        let lines_alone = self.older_lines(&mut sessions);
        sessions.retain_mut(judge_session);
        runs.extend(sessions);
        runs.extend(lines_alone);
        runs.sort_by_key(|run| run.started);
        let mut before: Option<Timestamp> = None;
        for run in runs.iter_mut().filter(|run| run.ending != Ending::Refused) {
            run.gap_seconds = before.map(|before| run.started.duration_since(before).as_secs_f64());
            before = Some(run.started);
        }
        runs
    }

    fn record(&mut self, record: &Record) {
        if record.run_id.is_empty() {
            if let Body::PathFinished(finished) = &record.body {
                self.older.push((record.time, finished.clone()));
            }
            return;
        }
        if !self.recorded.contains_key(&record.run_id) {
            let run =
                Run { id: record.run_id.clone(), has_records: true, started: record.time, ..Run::default() };
            keep(&mut self.recorded, &mut self.order, run);
        }
        let Some(run) = self.recorded.get_mut(&record.run_id) else { return };
        match &record.body {
            Body::RunStarted(started) => {
                run.started = record.time;
                run.trigger = Some(started.trigger);
            }
            Body::RunRefused(refused) => {
                run.ending = Ending::Refused;
                run.ended = Some(record.time);
                run.reason = Some(refused.reason);
                run.message = Some(refused.message.clone());
            }
            Body::PathStarted(started) => {
                run.hosts
                    .entry(started.host.clone())
                    .or_default()
                    .paths
                    .entry(started.path.clone())
                    .or_default();
            }
            Body::PathFinished(finished) => {
                let host = run.hosts.entry(finished.host.clone()).or_default();
                host.paths.entry(finished.path.clone()).or_default().finished = Some(finished.clone());
            }
            Body::HostFinished(finished) => {
                let host = run.hosts.entry(finished.host.clone()).or_default();
                host.status = Some(finished.status);
                host.reason = Some(finished.reason);
                host.duration_seconds = Some(finished.duration_seconds);
            }
            Body::Snapshot(snapshot) => run.snapshots.push(snapshot.clone()),
            Body::RunFinished(finished) => {
                // Nothing was saved by a run that skipped everything.
                let skipped = finished.status == Status::Skipped;
                run.ending = Ending::Ended(if skipped { Status::Warning } else { finished.status });
                run.reason = Some(finished.reason);
                run.ended = Some(record.time);
                run.duration_seconds = Some(finished.duration_seconds);
            }
            Body::PathProgress(_) => {}
        }
    }

    fn session(&mut self, event: &SessionEvent) {
        let (id, time) = match event {
            SessionEvent::Started { id, time } => (id, *time),
            SessionEvent::Line { id, line } => (id, line.time),
            SessionEvent::Ended(end) => (&end.id, end.started),
        };
        if !self.sessions.contains_key(&**id) {
            let run = Run { id: id.to_string(), started: time, ..Run::default() };
            keep(&mut self.sessions, &mut self.session_order, run);
        }
        let Some(run) = self.sessions.get_mut(&**id) else { return };
        match event {
            SessionEvent::Started { .. } => {}
            SessionEvent::Line { line, .. } => {
                if run.lines.len() >= LINES {
                    run.lines.pop_front();
                    run.lines_left_out += 1;
                }
                run.lines.push_back(line.clone());
            }
            SessionEvent::Ended(end) => run.session = Some(Arc::new((**end).clone())),
        }
    }

    /// Gives the older system's lines to their sessions, and makes runs of the others.
    fn older_lines(&mut self, sessions: &mut [Run]) -> Vec<Run> {
        let mut older = std::mem::take(&mut self.older);
        older.sort_by(|(time, end), (other_time, other)| {
            (time, &end.host, &end.path).cmp(&(other_time, &other.host, &other.path))
        });
        // The same line may stand in the log and in the journal.
        older.dedup_by(|(time, end), (other_time, other)| {
            time.as_second() == other_time.as_second() && end.host == other.host && end.path == other.path
        });
        let mut alone: Vec<Run> = Vec::new();
        for (time, end) in older {
            let session = sessions.iter_mut().find(|run| {
                let ended = run.session.as_ref().and_then(|end| end.ended);
                let in_time = ended.is_none_or(|ended| time <= ended + AFTER);
                run.started - AFTER <= time && in_time && run.session.is_some()
            });
            if let Some(run) = session {
                add_older(run, end);
                continue;
            }
            let fits = |run: &&mut Run| {
                let comes_again =
                    run.hosts.get(&end.host).is_some_and(|host| host.paths.contains_key(&end.path));
                !comes_again && run.ended.is_some_and(|last| time.duration_since(last) <= OLDER_GAP)
            };
            if let Some(run) = alone.last_mut().filter(fits) {
                run.ended = Some(time);
                add_older(run, end);
            } else {
                let mut run = Run { started: time, ended: Some(time), ..Run::default() };
                run.ending = Ending::Ended(Status::Success);
                add_older(&mut run, end);
                alone.push(run);
            }
        }
        alone
    }
}

fn keep(runs: &mut BTreeMap<String, Run>, order: &mut VecDeque<String>, run: Run) {
    order.push_back(run.id.clone());
    runs.insert(run.id.clone(), run);
    if order.len() > RUNS
        && let Some(oldest) = order.pop_front()
    {
        runs.remove(&oldest);
    }
}

/// Started and never told of its end; the same rule as that of the state.
fn died(run: &mut Run) {
    let end = run.session.clone();
    let (status, reason) = match end.as_ref().map(|end| end.verdict) {
        // A good end whose record is missing: the log could not be written.
        Some(Verdict::Ended(Status::Success | Status::Warning, _)) => (Status::Warning, Reason::Other),
        _ => (Status::Failed, end.as_deref().map_or(Reason::Died, death)),
    };
    run.ending = Ending::Ended(status);
    run.reason = Some(reason);
    run.ended = end.as_ref().and_then(|end| end.ended);
    run.duration_seconds = end.and_then(|end| end.duration_seconds);
}

fn add_older(run: &mut Run, end: Box<PathFinished>) {
    if let Ending::Ended(status) = run.ending
        && (run.reason.is_none() || end.status > status)
    {
        run.ending = Ending::Ended(end.status.max(status));
        run.reason = Some(end.reason);
    }
    let host = run.hosts.entry(end.host.clone()).or_default();
    let path = RunPath { without_counts: true, died: None, finished: Some(end) };
    let name = path.finished.as_ref().map(|end| end.path.clone()).unwrap_or_default();
    host.paths.insert(name, path);
}

/// What a session without records says of its run; false if there was nothing to do.
fn judge_session(run: &mut Run) -> bool {
    // The journal's input gives an end to all but those that still run.
    let Some(end) = run.session.clone() else { return true };
    let worst = run.hosts.values().flat_map(|host| host.paths.values());
    let worst = worst.filter_map(|path| Some((path.status()?, path.reason()?))).max_by_key(|worst| worst.0);
    run.ended = end.ended;
    run.duration_seconds = end.duration_seconds;
    match end.verdict {
        Verdict::Nothing => return worst.is_some(),
        Verdict::Refused(reason) => {
            run.ending = Ending::Refused;
            run.reason = Some(reason);
        }
        Verdict::Ended(status, reason) => {
            let (status, reason) = worst.filter(|worst| worst.0 > status).unwrap_or((status, reason));
            run.ending = Ending::Ended(status);
            run.reason = Some(reason);
        }
    }
    true
}
