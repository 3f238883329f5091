//! Edge: follows the stats log from its beginning and sends each record.
//!
//! A line that can not be read is counted and passed over; nothing in the log can stop the input.

mod file;
mod follow;
mod older;
mod rotation;
mod runner;

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use backup_common::lines::Line;
use backup_common::record::{Record, Spare};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::older_lines::{Found, OlderLines};
use crate::event::{Event, Input, Skip};
use file::LogError;
use follow::{Follower, Step};
use runner::Runner;

/// Time between two looks at the file; a record is on `/metrics` well within a second.
const POLL: Duration = Duration::from_millis(200);

/// Events that are sent together: one by one, handing over would cost more than reading.
const BATCH: usize = 256;

/// Follows the log until nobody receives its events any more.
///
/// It blocks, so it wants a thread of its own. Batches of records that come back through `used` are filled again.
pub fn run(log: &Path, events: &mpsc::Sender<Vec<Event>>, used: Option<&Receiver<Vec<Event>>>) {
    let mut follower = Follower::new(log.to_owned());
    let mut sender = Sender::new(|batch| {
        // A closed channel ends the loop at its next turn.
        let _ = events.blocking_send(batch);
        used?.try_recv().ok()
    });
    let mut first = true;
    while !events.is_closed() {
        let result = follower.poll(|step| sender.step(&step));
        sender.looked(log, result.as_ref().err());
        if first {
            sender.booted();
            first = false;
        }
        sender.flush();
        std::thread::sleep(POLL);
    }
}

/// Hands over everything that is in the log and its older parts now, and ends.
pub fn collect(log: &Path, mut events: impl FnMut(Event)) {
    let mut sender = Sender::new(|batch: Vec<Event>| {
        batch.into_iter().for_each(&mut events);
        None
    });
    let mut follower = Follower::new(log.to_owned());
    // The second look says that nothing was written after the first that belongs before its end.
    for _ in 0..2 {
        let result = follower.poll(|step| sender.step(&step));
        sender.looked(log, result.as_ref().err());
    }
    sender.booted();
    sender.flush();
}

/// Turns what was found into events, and tells a person what changed, once.
struct Sender<F> {
    /// Gives a batch that was used up, if there is one.
    send: F,
    batch: Vec<Event>,
    spare: Spare,
    older: OlderLines,
    runner: Runner,
    up: Option<bool>,
    trouble: String,
}

impl<F: FnMut(Vec<Event>) -> Option<Vec<Event>>> Sender<F> {
    fn new(send: F) -> Self {
        Self {
            send,
            batch: Vec::new(),
            spare: Spare::default(),
            older: OlderLines::new(TimeZone::system),
            runner: Runner::default(),
            up: None,
            trouble: String::new(),
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        let skip = match step {
            Step::Line(Line::Complete(line)) if line.first() == Some(&b'{') => {
                self.older_over();
                match Record::decode_into(line, &mut self.spare) {
                    Ok(record) => {
                        self.runner.note(&record);
                        return self.send(Event::Recorded(Input::Stats, record));
                    }
                    Err(error) => {
                        // Not a warning: the log may hold thousands of them, and they are counted.
                        debug!(error = %ErrorChain(&error), "line skipped");
                        Skip::from(&error)
                    }
                }
            }
            Step::Line(Line::Complete(line)) => {
                let line = String::from_utf8_lossy(line);
                let batch = &mut self.batch;
                let found =
                    self.older.push(&line, |record| batch.push(Event::Recorded(Input::Stats, record)));
                match found {
                    Found::Held => return,
                    Found::Foreign => self.older_over(),
                    Found::Malformed => {}
                }
                Skip::Malformed
            }
            Step::Line(Line::TooLong) => Skip::TooLong,
            Step::Torn => Skip::Torn,
            Step::TooOld => Skip::TooOld,
            Step::Damaged(path) => {
                warn!(file = %path.display(), "an older part of the stats log can not be read to its end");
                Skip::Damaged
            }
            Step::Truncated => {
                warn!("the stats log was cut in place; reading it from its beginning");
                Skip::Truncated
            }
        };
        self.send(Event::Skipped(Input::Stats, skip));
    }

    /// A line that is none of the older system's ends what was held of it.
    fn older_over(&mut self) {
        let batch = &mut self.batch;
        self.older.flush(|record| batch.push(Event::Recorded(Input::Stats, record)));
        if self.older.interrupt() {
            self.send(Event::Skipped(Input::Stats, Skip::Malformed));
        }
    }

    /// The log was read as far as it goes.
    fn looked(&mut self, log: &Path, trouble: Option<&LogError>) {
        let batch = &mut self.batch;
        self.older.flush(|record| batch.push(Event::Recorded(Input::Stats, record)));
        match trouble {
            None => self.up(log),
            Some(error) => self.down(&ErrorChain(error).to_string()),
        }
        if let Some(run_id) = self.runner.look() {
            self.send(Event::RunnerGone(run_id));
        }
        self.send(Event::CaughtUp(Input::Stats));
    }

    /// What ran before the machine was started does not run any more. A process of the run that is
    /// there says that the clock was wrong.
    fn booted(&mut self) {
        if let Some(time) = runner::boot_time().filter(|_| !self.runner.is_seen()) {
            self.send(Event::Booted(time));
        }
    }

    fn up(&mut self, log: &Path) {
        if self.up != Some(true) {
            info!(file = %log.display(), "following the stats log");
            self.up = Some(true);
            self.trouble.clear();
            self.send(Event::InputUp(Input::Stats));
        }
    }

    fn down(&mut self, trouble: &str) {
        if self.up != Some(false) {
            self.up = Some(false);
            self.send(Event::InputDown(Input::Stats));
        }
        if self.trouble != trouble {
            warn!(error = trouble, "waiting for the stats log");
            trouble.clone_into(&mut self.trouble);
        }
    }

    fn send(&mut self, event: Event) {
        self.batch.push(event);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let used = (self.send)(std::mem::take(&mut self.batch));
        let mut used = used.unwrap_or_else(|| Vec::with_capacity(BATCH));
        for event in used.drain(..) {
            if let Event::Recorded(_, record) = event {
                self.spare.give(record);
            }
        }
        self.batch = used;
    }
}
