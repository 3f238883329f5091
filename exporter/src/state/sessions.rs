//! The last sessions that the journal tells of, and the runs that records tell of.
//!
//! Both come from different inputs in any order. So a session that ended is judged only when the
//! stats input has looked twice after it: whatever the runner wrote before its end is read by then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use backup_common::record::Record;
use jiff::Timestamp;

use crate::event::{LogLine, SessionEnd, SessionEvent, SessionId};

/// Sessions that are remembered.
pub const SESSIONS: usize = 1000;
/// Sessions whose lines are remembered, and how many lines of each: the last ones.
pub const SESSIONS_WITH_LINES: usize = 20;
/// Lines of a session that are remembered.
pub const LINES: usize = 200;
/// Runs whose ids are remembered.
const RUNS: usize = 4096;
/// Longest id that is remembered, in bytes; systemd's have 32.
const ID_BYTES: usize = 64;
/// Events that wait to be judged.
const WAITING: usize = 10_000;
/// Looks of the stats input after which everything from before is read: the first one may have begun
/// earlier.
const LOOKS: u8 = 2;

/// One activation of the service.
#[derive(Clone, Debug)]
pub struct Session {
    /// When it started.
    pub started: Timestamp,
    /// How it ended; absent while it runs.
    pub end: Option<Arc<SessionEnd>>,
    /// The last lines of its log.
    pub lines: VecDeque<Arc<LogLine>>,
    /// Place in the order in which they came.
    number: u64,
    judged: bool,
}

/// What waits for the stats input.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// A session that ended.
    Session(SessionId),
    /// A record of the older system in the journal's text.
    Older(Box<Record>),
}

/// What is known of sessions, and of which runs there are records.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    known: BTreeMap<SessionId, Arc<Session>>,
    next: u64,
    waiting: VecDeque<(u8, Waiting)>,
    runs: Arc<Runs>,
}

#[derive(Clone, Debug, Default)]
struct Runs {
    order: VecDeque<(SessionId, Timestamp)>,
    ids: BTreeSet<SessionId>,
    /// Start of the last run whose id was forgotten.
    forgotten: Option<Timestamp>,
}

impl Sessions {
    pub(super) fn take(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Started { id, time } => self.start(&id, time),
            SessionEvent::Line { id, line } => {
                let Some(session) = self.known.get_mut(&id) else { return };
                let lines = &mut Arc::make_mut(session).lines;
                if lines.len() >= LINES {
                    lines.pop_front();
                }
                lines.push_back(Arc::new(line));
            }
            SessionEvent::Ended(end) => {
                let id = Arc::clone(&end.id);
                self.start(&id, end.started);
                if let Some(session) = self.known.get_mut(&id) {
                    let session = Arc::make_mut(session);
                    session.end = Some(Arc::new(*end));
                    self.wait(Waiting::Session(id));
                }
            }
        }
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back((0, waiting));
        }
    }

    /// Whether something waits to be judged.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The stats input has looked; gives what can be judged now, in the order in which it came.
    pub(super) fn looked(&mut self) -> Vec<Waiting> {
        for (looks, _) in &mut self.waiting {
            *looks += 1;
        }
        let ready = self.waiting.iter().take_while(|(looks, _)| *looks >= LOOKS).count();
        self.waiting.drain(..ready).map(|(_, waiting)| waiting).collect()
    }

    /// The end of a session, and whether it is judged for the first time.
    pub(super) fn judge(&mut self, id: &str) -> Option<(Arc<SessionEnd>, bool)> {
        let session = Arc::make_mut(self.known.get_mut(id)?);
        let first = !std::mem::replace(&mut session.judged, true);
        Some((Arc::clone(session.end.as_ref()?), first))
    }

    /// The end of the session that belongs to a run.
    pub(super) fn end_of(&self, run_id: &str) -> Option<&Arc<SessionEnd>> {
        self.known.get(run_id)?.end.as_ref()
    }

    /// The start of the newest session, if it has no end.
    pub(super) fn running_since(&self) -> Option<Timestamp> {
        let newest = self.known.values().max_by_key(|session| session.number)?;
        newest.end.is_none().then_some(newest.started)
    }

    /// In the order of the journal.
    pub(super) fn all(&self) -> Vec<(&str, &Session)> {
        let mut all: Vec<_> = self.known.iter().map(|(id, session)| (&**id, &**session)).collect();
        all.sort_by_key(|(_, session)| session.number);
        all
    }

    /// There is a record about the run of this id.
    pub(super) fn recorded(&mut self, run_id: &str, time: Timestamp) {
        // Nearly every record is of the same run as the one before.
        if self.runs.order.back().is_some_and(|(newest, _)| **newest == *run_id) {
            return;
        }
        if run_id.is_empty() || run_id.len() > ID_BYTES || self.runs.ids.contains(run_id) {
            return;
        }
        let runs = Arc::make_mut(&mut self.runs);
        let id: SessionId = run_id.into();
        runs.ids.insert(Arc::clone(&id));
        runs.order.push_back((id, time));
        if runs.order.len() > RUNS
            && let Some((oldest, time)) = runs.order.pop_front()
        {
            runs.ids.remove(&oldest);
            runs.forgotten = runs.forgotten.max(Some(time));
        }
    }

    /// Whether there may be a record about the run of this session.
    pub(super) fn may_be_recorded(&self, end: &SessionEnd) -> bool {
        self.runs.ids.contains(&end.id) || self.runs.forgotten.is_some_and(|time| end.started <= time)
    }

    fn start(&mut self, id: &SessionId, time: Timestamp) {
        if self.known.contains_key(id) || id.len() > ID_BYTES {
            return;
        }
        let session =
            Session { started: time, end: None, lines: VecDeque::new(), number: self.next, judged: false };
        self.next += 1;
        self.known.insert(Arc::clone(id), Arc::new(session));
        let (next, keep) = (self.next, SESSIONS_WITH_LINES as u64);
        let silent = self.known.values_mut().find(|session| session.number + keep + 1 == next);
        if let Some(session) = silent {
            Arc::make_mut(session).lines.clear();
        }
        if self.known.len() > SESSIONS {
            let oldest = self.known.iter().min_by_key(|(_, session)| session.number);
            if let Some(oldest) = oldest.map(|(id, _)| Arc::clone(id)) {
                self.known.remove(&oldest);
            }
        }
    }
}
