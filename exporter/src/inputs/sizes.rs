//! Edge: measures the backup's directories in the background.
//!
//! At the interval all of them, and soon after a path was backed up this one. What is on the backup
//! directory's own mount is asked of `backup-sizes`; the rest is walked, or everything where nobody
//! answers. Each figure is sent as soon as it is known, and remembered in the state directory.
//!
//! Each mount has a lane with a thread of its own, so that one that hangs keeps nobody else waiting. What
//! does not come to an end is left after a time, and the last figure stays. A walk that the kernel
//! does not let go keeps further ones off its mount, so that at most one is stuck on each.

mod beside;
mod exclusive;
mod extents;
mod lane;
mod ledger;
mod mounts;
mod scanner;
mod store;
mod volume;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use backup_common::config::Config;
use jiff::Timestamp;

use crate::event::Event;
use crate::event::sizes::Place;
use lane::Ended;
use scanner::Scanner;

pub use extents::Extents;
pub use store::Store;
pub use volume::volume;

/// Time between the end of a path and its measuring, in which others may end too.
const SETTLE: Duration = Duration::from_secs(2);

/// Longest time for a single question to the file system.
const QUESTION: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The socket of `backup-sizes`.
    pub socket: PathBuf,
    /// Time between two scans of everything.
    pub interval: Duration,
    /// Longest time for one directory.
    pub limit: Duration,
    /// Time between two looks at what is exclusive, if that is wanted at all.
    pub exclusive_interval: Option<Duration>,
}

/// What is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The backup directory.
    pub base: PathBuf,
    /// The configured paths with their directories below it.
    pub directories: Vec<Target>,
}

/// A configured path with its directory below the backup directory.
pub type Target = (Place, PathBuf);

impl From<&Config> for Targets {
    fn from(config: &Config) -> Self {
        let jobs = config.hosts.iter().flat_map(|host| host.paths.iter().map(move |job| (host, job)));
        let directories = jobs.map(|(host, job)| {
            let place = Place { host: host.name.to_string(), path: job.path.to_string() };
            (place, job.destination.to_path_buf())
        });
        Self { base: config.backup_base.clone(), directories: directories.collect() }
    }
}

/// What the loop tells this input.
#[derive(Clone, Debug)]
pub enum Order {
    /// The configuration was read again.
    Targets(Targets),
    /// A path was backed up.
    Finished(Place),
}

/// What comes to the thread of this input.
#[derive(Debug)]
enum Message {
    Order(Order),
    /// A lane has done its work.
    Ended(Ended),
    /// `btrfs filesystem du` has been everywhere.
    ExclusiveEnded,
    /// No more orders will come.
    Over,
}

/// The way in for orders; when it is dropped, the measuring ends.
#[derive(Debug)]
pub struct Orders(Sender<Message>);

/// The other end of [`Orders`].
#[derive(Debug)]
pub struct Inbox {
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

/// A way in for orders, and its other end.
pub fn orders() -> (Orders, Inbox) {
    let (sender, messages) = mpsc::channel();
    (Orders(sender.clone()), Inbox { sender, messages })
}

impl Orders {
    /// Gives an order. Nobody listens when sizes are not measured.
    pub fn send(&self, order: Order) {
        let _ = self.0.send(Message::Order(order));
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Over);
    }
}

/// Measures until no more orders can come or nobody receives its events any more.
///
/// It blocks, so it wants a thread of its own.
pub fn run(
    options: Options,
    targets: Targets,
    stores: (Store, Extents),
    inbox: Inbox,
    events: &tokio::sync::mpsc::Sender<Vec<Event>>,
) {
    let interval = options.interval;
    let age = stores.0.age(&targets, Timestamp::now());
    let mut due = Instant::now() + age.map_or(Duration::ZERO, |age| interval.saturating_sub(age));
    let mut scanner = Scanner::new(options, targets, stores, inbox.sender, events.clone());
    let mut finished = BTreeSet::new();
    while !events.is_closed() {
        let wake = if finished.is_empty() { due } else { due.min(Instant::now() + SETTLE) };
        match inbox.messages.recv_timeout(wake.saturating_duration_since(Instant::now())) {
            Ok(Message::Order(Order::Targets(targets))) => {
                if scanner.aim_at(targets) {
                    due = Instant::now();
                }
            }
            Ok(Message::Order(Order::Finished(place))) => _ = finished.insert(place),
            Ok(Message::Ended(ended)) => {
                if scanner.ended(ended) {
                    due = Instant::now() + interval;
                }
            }
            Ok(Message::ExclusiveEnded) => scanner.exclusive_ended(),
            Ok(Message::Over) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let is_due = due <= Instant::now();
                if is_due && scanner.everything() {
                    finished.clear();
                } else {
                    scanner.some(&std::mem::take(&mut finished));
                }
                if is_due {
                    // A scan may wait for a mount that hangs; the interval begins when it has ended.
                    due = Instant::now() + if scanner.is_scanning() { SETTLE } else { interval };
                }
            }
        }
    }
}

/// Measures everything once, and ends.
///
/// It blocks, so it wants a thread of its own.
pub fn once(
    options: Options,
    targets: Targets,
    stores: (Store, Extents),
    events: &tokio::sync::mpsc::Sender<Vec<Event>>,
) {
    let (_orders, inbox) = orders();
    let mut scanner = Scanner::new(options, targets, stores, inbox.sender, events.clone());
    scanner.everything();
    while scanner.is_scanning() {
        match inbox.messages.recv() {
            Ok(Message::Ended(ended)) => _ = scanner.ended(ended),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
