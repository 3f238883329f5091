//! Edge: follows the stats log from its beginning and sends each record.
//!
//! A line that can not be read is counted and passed over; nothing in the log can stop the input.

mod file;
mod follow;
mod rotation;

use std::path::Path;
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use backup_common::lines::Line;
use backup_common::record::Record;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::event::{Event, Input, Skip};
use follow::{Follower, Step};

/// Time between two looks at the file; a record is on `/metrics` well within a second.
const POLL: Duration = Duration::from_millis(200);

/// Events that are sent together: one by one, handing over would cost more than reading.
const BATCH: usize = 512;

/// Follows the log until nobody receives its events any more.
///
/// It blocks, so it wants a thread of its own.
pub fn run(log: &Path, events: &mpsc::Sender<Vec<Event>>) {
    let mut follower = Follower::new(log.to_owned());
    let mut sender = Sender { events, batch: Vec::new(), up: None, trouble: String::new() };
    let mut caught_up = false;
    while !events.is_closed() {
        match follower.poll(|step| sender.step(&step)) {
            Ok(()) => sender.up(log),
            Err(error) => sender.down(&ErrorChain(&error).to_string()),
        }
        if !caught_up {
            sender.send(Event::CaughtUp(Input::Stats));
            caught_up = true;
        }
        sender.flush();
        std::thread::sleep(POLL);
    }
}

/// Turns what was found into events, and tells a person what changed, once.
struct Sender<'a> {
    events: &'a mpsc::Sender<Vec<Event>>,
    batch: Vec<Event>,
    up: Option<bool>,
    trouble: String,
}

impl Sender<'_> {
    fn step(&mut self, step: &Step<'_>) {
        let skip = match step {
            Step::Line(Line::Complete(line)) => match Record::decode(line) {
                Ok(record) => return self.send(Event::Recorded(Input::Stats, record)),
                Err(error) => {
                    // Not a warning: the log may hold thousands of them, and they are counted.
                    debug!(error = %ErrorChain(&error), "line skipped");
                    Skip::from(&error)
                }
            },
            Step::Line(Line::TooLong) => Skip::TooLong,
            Step::Torn => Skip::Torn,
            Step::Truncated => {
                warn!("the stats log was cut in place; reading it from its beginning");
                Skip::Truncated
            }
        };
        self.send(Event::Skipped(Input::Stats, skip));
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
        if !self.batch.is_empty() {
            // A closed channel ends the loop at its next turn.
            let _ = self.events.blocking_send(std::mem::take(&mut self.batch));
        }
    }
}
