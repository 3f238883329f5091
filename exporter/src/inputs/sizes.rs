//! Edge: measures the backup's directories in the background.
//!
//! One thread does so, at the interval and soon after a path was backed up. It asks `backup-sizes` for
//! what is on the backup directory's own mount, and walks the rest, or everything where nobody
//! answers. Each figure is sent as soon as it is known, and remembered in the state directory.
//!
//! What does not come to an end is left after a time, and the last figure stays. A thread that the
//! kernel does not let go keeps further ones away from its mount, so that at most one walk is stuck on
//! each; everything else goes on.

mod beside;
mod mounts;
mod store;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use backup_common::config::Config;
use backup_common::error_chain::ErrorChain;
use backup_common::status::Status;
use backup_sizes::client::{self, ClientError};
use backup_sizes::exclusive;
use backup_sizes::totals::Totals;
use backup_sizes::walk::{self, Walk, WalkError};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::event::Event;
use crate::event::sizes::{ExclusiveBytes, Place, Scan, SizesEvent, Trouble, VolumeBytes};
use crate::size_history::{Method, Point};
use beside::Beside;
use mounts::Mounts;
pub use store::Store;

/// Threads of a walk: more than there are cores pay when the disk has to be asked.
const WALKERS: usize = 8;

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
    pub directories: Vec<(Place, PathBuf)>,
}

impl From<&Config> for Targets {
    fn from(config: &Config) -> Self {
        let jobs = config.hosts.iter().flat_map(|host| host.paths.iter().map(move |job| (host, job)));
        let directories = jobs.map(|(host, job)| {
            let place = Place { host: host.name.to_string(), path: job.path.clone() };
            (place, job.destination.clone())
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

/// Measures until nobody receives its events any more.
///
/// It blocks, so it wants a thread of its own.
pub fn run(
    options: Options,
    targets: Targets,
    store: Store,
    orders: &Receiver<Order>,
    events: &mpsc::Sender<Vec<Event>>,
) {
    let begun = Instant::now();
    let mut due = begun
        + store
            .age(&targets, Timestamp::now())
            .map_or(Duration::ZERO, |age| options.interval.saturating_sub(age));
    let exclusive_due = options.exclusive_interval.map(|_| begun);
    let mut scanner = Scanner {
        options,
        targets,
        store,
        events,
        stuck: Vec::new(),
        beside: Beside::default(),
        trouble: String::new(),
        exclusive_due,
    };
    let mut finished = BTreeSet::new();
    while !events.is_closed() {
        let wake = if finished.is_empty() { due } else { due.min(Instant::now() + SETTLE) };
        match orders.recv_timeout(wake.saturating_duration_since(Instant::now())) {
            Ok(Order::Targets(targets)) => {
                if scanner.targets != targets {
                    scanner.targets = targets;
                    due = Instant::now();
                }
            }
            Ok(Order::Finished(place)) => _ = finished.insert(place),
            Err(RecvTimeoutError::Timeout) if due <= Instant::now() => {
                finished.clear();
                scanner.everything();
                due = Instant::now() + scanner.options.interval;
            }
            Err(RecvTimeoutError::Timeout) => {
                scanner.some(&std::mem::take(&mut finished));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Measures everything once, and ends.
///
/// It blocks, so it wants a thread of its own.
pub fn once(options: Options, targets: Targets, store: Store, events: &mpsc::Sender<Vec<Event>>) {
    let mut scanner = Scanner {
        options,
        targets,
        store,
        events,
        stuck: Vec::new(),
        beside: Beside::default(),
        trouble: String::new(),
        exclusive_due: None,
    };
    scanner.everything();
}

/// The space of the file system of a directory; none if it does not answer.
pub fn volume(base: &Path) -> Option<Event> {
    let base = base.to_owned();
    let found = Beside::default().ask(QUESTION, move || rustix::fs::statvfs(&base))?.ok()?;
    Some(Event::Sizes(SizesEvent::Volume(space(&found))))
}

fn space(found: &rustix::fs::StatVfs) -> VolumeBytes {
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    VolumeBytes {
        size: bytes(found.f_blocks),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        free: bytes(found.f_bavail),
    }
}

/// Measures directories and tells of each.
struct Scanner<'a> {
    options: Options,
    targets: Targets,
    store: Store,
    events: &'a mpsc::Sender<Vec<Event>>,
    /// Walks that the kernel does not let go, with their mounts.
    stuck: Vec<(String, Walk)>,
    beside: Beside,
    /// What was last said about `backup-sizes`, so that it is said once.
    trouble: String,
    exclusive_due: Option<Instant>,
}

type Target = (Place, PathBuf);

impl Scanner<'_> {
    fn everything(&mut self) {
        let begun = Instant::now();
        self.volume();
        let all_measured = self.measure(&self.targets.directories.clone(), false);
        let scan = Scan {
            time: Timestamp::now(),
            duration_seconds: begun.elapsed().as_secs_f64(),
            status: if all_measured { Status::Success } else { Status::Failed },
        };
        self.send(SizesEvent::Scanned(scan));
        info!(
            paths = self.targets.directories.len(),
            seconds = scan.duration_seconds,
            all_measured,
            "sizes measured"
        );
        self.exclusive();
    }

    /// Those that were just backed up. From the trees all come at once, at the price of what changed.
    fn some(&mut self, places: &BTreeSet<Place>) {
        let targets: Vec<Target> =
            self.targets.directories.iter().filter(|(place, _)| places.contains(place)).cloned().collect();
        if !targets.is_empty() {
            self.measure(&targets, true);
        }
    }

    /// Says whether every directory was measured.
    fn measure(&mut self, wanted: &[Target], some: bool) -> bool {
        let (mut to_walk, on_base) = self.by_mount(wanted);
        let mut all_measured = true;
        let asked = if some { self.by_mount(&self.targets.directories.clone()).1 } else { on_base.clone() };
        if !on_base.is_empty() {
            match self.ask(asked) {
                Ok(measured) => all_measured &= measured,
                Err(error) => {
                    self.explain(&error);
                    to_walk.extend(on_base);
                }
            }
        }
        for (place, directory) in to_walk {
            all_measured &= self.walk(place, &directory);
        }
        all_measured
    }

    /// What is on another mount than the backup directory, and what is on the same.
    fn by_mount(&mut self, targets: &[Target]) -> (Vec<Target>, Vec<Target>) {
        let (base, mounts) = (self.real_base(), Mounts::read());
        let home = mounts.of(&base);
        targets.iter().cloned().partition(|(_, directory)| mounts.of(&base.join(directory)) != home)
    }

    fn ask(&mut self, targets: Vec<Target>) -> Result<bool, ClientError> {
        let directories = targets.iter().map(|(_, directory)| directory.clone()).collect();
        let scanned = client::ask(&self.options.socket, directories, false, self.options.limit)?;
        if scanned.totals.iter().all(Option::is_none) && self.is_any_there(&targets) {
            let base = self.targets.base.display();
            return Err(ClientError::Failed(format!(
                "it knows none of the directories that are in {base}; start it with --volume {base}"
            )));
        }
        self.trouble.clear();
        if let Some(differences) = scanned.differences.filter(|differences| *differences > 0) {
            warn!(
                differences,
                "a full scan of the sizes differs from the incremental ones; its figures are used"
            );
            self.send(SizesEvent::Differences(differences));
        }
        let mut all_measured = true;
        for ((place, directory), totals) in targets.into_iter().zip(scanned.totals) {
            if let Some(totals) = totals {
                self.measured(place, &totals, Method::Tree, scanned.duration_seconds);
            } else {
                all_measured &= self.missing(place, &directory);
            }
        }
        Ok(all_measured)
    }

    /// Whether one of the directories can be seen from here. `backup-sizes` has just answered, so that the
    /// mount does not hang.
    fn is_any_there(&self, targets: &[Target]) -> bool {
        targets.iter().any(|(_, directory)| self.targets.base.join(directory).symlink_metadata().is_ok())
    }

    /// Says once why everything is walked.
    fn explain(&mut self, error: &ClientError) {
        let text = ErrorChain(error).to_string();
        if self.trouble != text {
            if matches!(error, ClientError::Connect(..)) {
                info!(reason = text, "measuring by a walk");
            } else {
                warn!(error = text, "measuring by a walk");
            }
            self.trouble = text;
        }
    }

    fn walk(&mut self, place: Place, directory: &Path) -> bool {
        let mount = Mounts::read().of(&self.targets.base.join(directory));
        self.stuck.retain(|(_, walk)| walk.is_alive());
        if self.stuck.iter().any(|(other, _)| *other == mount) {
            self.send(SizesEvent::Unmeasured(place, Trouble::TimedOut));
            return false;
        }
        let begun = Instant::now();
        let options = walk::Options { threads: WALKERS, idle: true };
        let walked = Walk::start(&self.targets.base, directory, options).and_then(|walk| {
            let result = walk.wait(self.options.limit);
            if matches!(result, Err(WalkError::TimedOut(..))) {
                self.leave(mount, walk);
            }
            result
        });
        let trouble = match walked {
            Ok(walked) if walked.unreadable == 0 => {
                self.measured(place, &walked.totals, Method::Walk, begun.elapsed().as_secs_f64());
                return true;
            }
            Ok(walked) => {
                let directory = directory.display();
                warn!(%directory, unreadable = walked.unreadable, "cannot measure all of a directory; CAP_DAC_READ_SEARCH may be missing");
                Trouble::Failed
            }
            Err(error @ WalkError::TimedOut(..)) => {
                warn!(error = %ErrorChain(&error), "the last size stays");
                Trouble::TimedOut
            }
            Err(WalkError::Open(_, error)) if error.kind() == ErrorKind::NotFound => {
                return self.missing(place, directory);
            }
            Err(error) => {
                warn!(error = %ErrorChain(&error), "the last size stays");
                Trouble::Failed
            }
        };
        self.send(SizesEvent::Unmeasured(place, trouble));
        false
    }

    /// A directory that is not there is no trouble before its first backup.
    fn missing(&self, place: Place, directory: &Path) -> bool {
        debug!(directory = %directory.display(), "nothing is stored there");
        let expected = self.store.knows(&place);
        if expected {
            self.send(SizesEvent::Unmeasured(place, Trouble::Failed));
        }
        !expected
    }

    /// Ends a walk; one that can not be ended is remembered.
    fn leave(&mut self, mount: String, walk: Walk) {
        const GRACE: Duration = Duration::from_secs(2);
        walk.cancel();
        let begun = Instant::now();
        while walk.is_alive() && begun.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(10));
        }
        if walk.is_alive() {
            self.stuck.push((mount, walk));
        }
    }

    fn measured(&mut self, place: Place, totals: &Totals, method: Method, duration_seconds: f64) {
        let point = Point {
            time: Timestamp::now(),
            method,
            duration_seconds,
            bytes: totals.disk_bytes,
            apparent_bytes: totals.apparent_with_directories(),
            files: totals.entries(),
        };
        self.store.remember(&place, point);
        self.send(SizesEvent::Measured(place, point));
    }

    fn volume(&mut self) {
        let base = self.targets.base.clone();
        let Some(Ok(found)) = self.beside.ask(QUESTION, move || rustix::fs::statvfs(&base)) else { return };
        self.send(SizesEvent::Volume(space(&found)));
    }

    /// The backup directory without links, as the list of mounts has it.
    fn real_base(&mut self) -> PathBuf {
        let base = self.targets.base.clone();
        let real = self.beside.ask(QUESTION, move || std::fs::canonicalize(base));
        real.and_then(Result::ok).unwrap_or_else(|| self.targets.base.clone())
    }

    fn exclusive(&mut self) {
        let (Some(due), Some(interval)) = (self.exclusive_due, self.options.exclusive_interval) else {
            return;
        };
        if due > Instant::now() {
            return;
        }
        for (place, directory) in self.targets.directories.clone() {
            match exclusive::measure(&self.targets.base.join(directory), self.options.limit) {
                Ok(found) => {
                    let exclusive_bytes = found.exclusive_bytes;
                    let set_shared_bytes = found.set_shared_bytes;
                    self.send(SizesEvent::Exclusive(
                        place,
                        ExclusiveBytes { exclusive_bytes, set_shared_bytes },
                    ));
                }
                Err(error) => debug!(error = %ErrorChain(&error), "exclusive bytes stay unknown"),
            }
        }
        self.exclusive_due = Some(Instant::now() + interval);
    }

    fn send(&self, event: SizesEvent) {
        // A closed channel ends the loop at its next turn.
        let _ = self.events.blocking_send(vec![Event::Sizes(event)]);
    }
}
