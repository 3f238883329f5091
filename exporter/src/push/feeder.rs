//! Edge: moves what happens from the inputs into the outbox.
//!
//! It has a reader of the stats log of its own, which waits while the disk takes nothing: the log is the
//! queue then. So a disk that is slow or full holds up neither the state nor a scrape.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use super::mark::{Mark, MarkFile, Sieve};
use super::outbox::{Appended, Outbox};
use crate::event::sizes::{Place, SizesEvent};
use crate::event::{Event, Input};
use crate::outputs::influx::{line_protocol, points};
use crate::size_history::Point as SizePoint;

/// Time between two tries to write to a disk that takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// The outbox with the bell that rings when something was added.
#[derive(Clone, Debug)]
pub struct Shared {
    outbox: Arc<Mutex<Outbox>>,
    /// Rings when something was added.
    pub added: Arc<Notify>,
}

impl Shared {
    /// Shares an outbox between its writer and its reader.
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox: Arc::new(Mutex::new(outbox)), added: Arc::default() }
    }

    /// Works with the outbox; it reads and writes files, so not from a task.
    pub fn with<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> T {
        work(&mut self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Turns events into lines in the outbox.
pub struct Feeder {
    shared: Shared,
    sieve: Sieve,
    mark_file: MarkFile,
    unsaved: Option<Mark>,
    server: String,
    up: bool,
    caught_up: bool,
    trouble: bool,
}

impl Feeder {
    /// Goes on behind the record that the mark tells.
    pub fn new(shared: Shared, mark_file: MarkFile, server: String) -> Self {
        let sieve = Sieve::new(mark_file.read());
        Self { shared, sieve, mark_file, unsaved: None, server, up: false, caught_up: false, trouble: false }
    }

    /// Feeds until no sender is left; it blocks, so it wants a thread of its own.
    pub fn run(mut self, mut events: mpsc::Receiver<Vec<Event>>) {
        while let Some(batch) = events.blocking_recv() {
            self.feed(&batch);
        }
    }

    fn feed(&mut self, events: &[Event]) {
        let mut lines = Vec::new();
        for event in events {
            if let Event::Sizes(SizesEvent::Measured(place, size)) = event {
                lines.extend(self.size_line(place, size));
                continue;
            }
            let new = match event {
                Event::Recorded(_, record) => {
                    let point = points::of_record(record, &self.server);
                    point
                        .and_then(|point| line_protocol::line(&point))
                        .map(|line| self.sieve.take(Mark::of(record), line))
                }
                Event::InputUp(Input::Stats) => {
                    self.up = true;
                    self.caught_up.then(|| self.sieve.end())
                }
                Event::CaughtUp(Input::Stats) => {
                    self.caught_up = true;
                    self.up.then(|| self.sieve.end())
                }
                _ => None,
            };
            for (mark, line) in new.into_iter().flatten() {
                lines.push(line);
                self.unsaved = Some(mark);
            }
        }
        if !lines.is_empty() {
            self.store(&lines);
        }
    }

    fn size_line(&self, place: &Place, size: &SizePoint) -> Option<String> {
        let names = (place.host.as_str(), place.path.as_str());
        let figures = (size.bytes, size.apparent_bytes, size.files);
        line_protocol::line(&points::size_point(names, &self.server, size.time, figures))
    }

    fn store(&mut self, lines: &[String]) {
        loop {
            let appended = self.shared.with(|outbox| outbox.append(lines));
            self.shared.added.notify_one();
            match appended {
                Appended::Stored => {
                    self.tell(None);
                    // The lines are on the disk: only now may the mark move.
                    if let Some(mark) = &self.unsaved
                        && self.mark_file.write(mark).is_ok()
                    {
                        self.unsaved = None;
                    }
                    return;
                }
                Appended::Held(error) => return self.tell(Some(&error)),
                Appended::Refused(error) => {
                    self.tell(Some(&error));
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn tell(&mut self, error: Option<&std::io::Error>) {
        match (error, self.trouble) {
            (Some(error), false) => warn!(
                %error,
                "cannot write to the outbox; points are sent from memory, and the stats log is read on when there is room"
            ),
            (None, true) => info!("the outbox can be written again"),
            _ => {}
        }
        self.trouble = error.is_some();
    }
}
