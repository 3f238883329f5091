//! Pure: journal entries into sessions.
//!
//! A session is one activation of the unit, told apart by systemd's invocation id. It begins with its
//! first entry and ends with PID 1's word on the result. A unit has one activation at a time: one that
//! has no end when another begins, or when the machine has been started again, is lost.
//!
//! Message ids are those of systemd's catalog, sd-messages.h; fields those of systemd.journal-fields(7).

use std::collections::VecDeque;
use std::sync::Arc;

use backup_common::text;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::entry::Entry;
use super::text::Text;
use super::verdict::{self, LOST, NOT_STARTED, SKIPPED, SUCCESS, UnitEnd};
use crate::event::{Event, Input, LogLine, SessionEnd, SessionEvent, SessionId};
use crate::inputs::older_lines::OlderLines;

const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const START_FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";
const UNIT_SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";
const UNIT_SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
const UNIT_FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
const OUT_OF_MEMORY: &str = "fe6faa94e7774663a0da52717891d8ef";
const OOMD_KILL: &str = "d989611b15e44c9dbf31e3c81256e4ed";

/// Sessions that may still get lines.
const OPEN: usize = 4;
/// Ids of older sessions, whose late lines begin no new one.
const PAST: usize = 64;
/// What our runner is called in the journal.
const RUNNER: &str = "backup-runner";

/// Puts sessions together.
#[derive(Debug)]
pub struct Sessions {
    open: VecDeque<Open>,
    past: VecDeque<SessionId>,
    older: OlderLines,
}

#[derive(Debug)]
struct Open {
    id: SessionId,
    boot: Arc<str>,
    started: Timestamp,
    monotonic: u64,
    unit_end: UnitEnd,
    ours: bool,
    text: Text,
    end: Option<SessionEnd>,
}

impl Sessions {
    /// Will read the local times of the older system by this zone.
    pub fn new(zone: fn() -> TimeZone) -> Self {
        Self { open: VecDeque::new(), past: VecDeque::new(), older: OlderLines::new(zone) }
    }

    /// Takes an entry; entries come in the order of the journal. Says whether a session has begun.
    pub fn push(&mut self, entry: &Entry, found: &mut impl FnMut(Event)) -> bool {
        self.booted(&entry.boot, found);
        if let Some(result) = self.never_started(entry) {
            self.begin_without_id(entry, result, found);
            return true;
        }
        let last = || self.open.back().map(|open| &*open.id);
        let own = Some(entry.invocation.as_str()).filter(|id| !id.is_empty());
        let Some(id) = own.or_else(last) else { return false };
        // Nearly every entry is of the newest.
        let known = self.open.iter().rposition(|open| *open.id == *id);
        if known.is_none() && self.past.iter().any(|past| **past == *id) {
            return false;
        }
        let index = match known {
            Some(index) => index,
            None => self.begin(id.into(), entry, found),
        };
        let Some(open) = self.open.get_mut(index) else { return false };
        let mut changed = open.listen(entry, found);
        if entry.from_manager {
            changed |= open.manager(entry);
        } else {
            for line in entry.lines() {
                // Nearly every line is foreign, and costs no more than this look at it.
                if self.older.is_open() || OlderLines::may_begin(line) {
                    let line = String::from_utf8_lossy(line);
                    self.older.push(&line, |record| found(Event::Recorded(Input::Journal, record)));
                }
            }
        }
        if changed && open.end.is_some() {
            open.tell_end(found);
            self.older.flush(|record| found(Event::Recorded(Input::Journal, record)));
        }
        known.is_none()
    }

    /// Sessions of another boot than this one have no end any more.
    pub fn booted(&mut self, boot: &str, found: &mut impl FnMut(Event)) {
        for open in self.open.iter_mut().filter(|open| *open.boot != *boot) {
            open.lose(found);
        }
    }

    /// Why an entry of PID 1 says that a start has failed before there was a session.
    fn never_started(&self, entry: &Entry) -> Option<&'static str> {
        if !entry.from_manager {
            return None;
        }
        let current = self.open.iter().find(|open| *open.id == *entry.invocation);
        let (running, ended) =
            (current.is_some_and(|open| open.end.is_none()), current.is_some_and(|open| open.end.is_some()));
        match entry.message_id.as_str() {
            STARTED if contains(&entry.message, "was skipped because") => Some(SKIPPED),
            START_FAILED => match entry.job_result.as_str() {
                "dependency" | "assert" | "invalid" | "unsupported" => Some(NOT_STARTED),
                "canceled" | "skipped" | "done" => None,
                _ => (!running && !ended).then_some(NOT_STARTED),
            },
            // The invocation id is that of the activation before.
            UNIT_FAILED if ended && entry.unit_result == "start-limit-hit" => Some(NOT_STARTED),
            _ => None,
        }
    }

    fn begin(&mut self, id: SessionId, entry: &Entry, found: &mut impl FnMut(Event)) -> usize {
        for open in &mut self.open {
            open.lose(found);
        }
        if self.open.len() >= OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            self.past.push_back(oldest.id);
            if self.past.len() > PAST {
                self.past.pop_front();
            }
        }
        found(Event::Session(SessionEvent::Started { id: Arc::clone(&id), time: entry.time() }));
        self.open.push_back(Open {
            id,
            boot: Arc::clone(&entry.boot),
            started: entry.time(),
            monotonic: entry.monotonic,
            unit_end: UnitEnd::default(),
            ours: false,
            text: Text::default(),
            end: None,
        });
        self.open.len() - 1
    }

    /// An activation that came to nothing has no id of its own.
    fn begin_without_id(&mut self, entry: &Entry, result: &str, found: &mut impl FnMut(Event)) {
        let id = format!("{}-{:x}", entry.boot, entry.realtime);
        let index = self.begin(id.into(), entry, found);
        if let Some(open) = self.open.get_mut(index) {
            open.listen(entry, found);
            open.end(result, entry);
            open.tell_end(found);
        }
    }
}

impl Open {
    /// Takes the text; says whether what is known of the end has changed.
    fn listen(&mut self, entry: &Entry, found: &mut impl FnMut(Event)) -> bool {
        let was_ours = self.ours;
        if !entry.from_manager {
            self.ours |= entry.is_record || entry.identifier == RUNNER;
        }
        let mut changed = self.ours != was_ours;
        for line in entry.lines() {
            // PID 1's words are none of rsync's.
            changed |= !entry.from_manager && self.text.push(line);
            let text = text::clean_bytes(line, text::MESSAGE_BYTES);
            let line = LogLine { time: entry.time(), priority: entry.priority, text };
            found(Event::Session(SessionEvent::Line { id: Arc::clone(&self.id), line }));
        }
        changed
    }

    /// Takes what PID 1 says; says whether it is about the end.
    fn manager(&mut self, entry: &Entry) -> bool {
        let end = &mut self.unit_end;
        match entry.message_id.as_str() {
            PROCESS_EXIT => {
                let status = entry.exit_status.filter(|status| *status != 0);
                // The first process that ends badly is the cause, the others follow from it.
                if end.exit_code.is_none() && end.signal.is_none() {
                    match entry.exit_code.as_str() {
                        "killed" | "dumped" => end.signal = status,
                        _ => end.exit_code = status,
                    }
                }
                return self.end.is_some();
            }
            OUT_OF_MEMORY | OOMD_KILL => end.out_of_memory = true,
            UNIT_SUCCESS => self.end(SUCCESS, entry),
            UNIT_SKIPPED => self.end(SKIPPED, entry),
            UNIT_FAILED if entry.unit_result.is_empty() => self.end("failed", entry),
            UNIT_FAILED => self.end(&entry.unit_result, entry),
            // With RemainAfterExit= nothing else tells of the end.
            STARTED if self.end.is_none() && entry.message.starts_with(b"Finished ") => {
                self.end(SUCCESS, entry);
            }
            _ => return false,
        }
        true
    }

    fn end(&mut self, result: &str, entry: &Entry) {
        if self.end.is_some() {
            return;
        }
        result.clone_into(&mut self.unit_end.result);
        let micros = entry.monotonic.checked_sub(self.monotonic).filter(|_| entry.boot == self.boot);
        self.end = Some(self.session_end(Some(entry.time()), micros.map(|micros| micros as f64 / 1e6)));
    }

    fn lose(&mut self, found: &mut impl FnMut(Event)) {
        if self.end.is_none() {
            LOST.clone_into(&mut self.unit_end.result);
            self.end = Some(self.session_end(None, None));
            self.tell_end(found);
        }
    }

    fn tell_end(&mut self, found: &mut impl FnMut(Event)) {
        let Some(end) = self.end.take() else { return };
        let end = self.session_end(end.ended, end.duration_seconds);
        found(Event::Session(SessionEvent::Ended(Box::new(end.clone()))));
        self.end = Some(end);
    }

    fn session_end(&self, ended: Option<Timestamp>, duration_seconds: Option<f64>) -> SessionEnd {
        SessionEnd {
            id: Arc::clone(&self.id),
            started: self.started,
            ended,
            duration_seconds,
            verdict: verdict::verdict(&self.unit_end, self.ours, &self.text),
            result: self.unit_end.result.clone(),
            exit_code: self.unit_end.exit_code,
            signal: self.unit_end.signal,
            stats: self.text.stats(),
            errors: self.text.errors().clone(),
            messages: self.text.messages().to_vec(),
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
