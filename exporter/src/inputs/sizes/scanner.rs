//! Shares the directories out to the lanes, and knows when all of them have been measured.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use backup_common::status::Status;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::beside::Beside;
use super::lane::{Ended, Lane, Setting, Work};
use super::ledger::Ledger;
use super::mounts::Mounts;
use super::{Extents, Message, Options, QUESTION, Store, Target, Targets, exclusive, volume};
use crate::event::Event;
use crate::event::sizes::{Place, Scan, SizesEvent};

/// What is under way.
pub struct Scanner {
    options: Options,
    targets: Targets,
    ledger: Arc<Ledger>,
    inbox: Sender<Message>,
    beside: Beside,
    /// By the ids of their mounts.
    lanes: BTreeMap<String, Slot>,
    scan: Option<Running>,
    exclusive: Exclusive,
}

/// A lane is here, or with its thread; then there may be more to do for it.
enum Slot {
    Idle(Lane),
    Busy(Option<Work>),
}

/// A scan of everything.
struct Running {
    begun: Instant,
    waits_for: BTreeSet<String>,
    all_measured: bool,
}

enum Exclusive {
    Never,
    Due(Instant),
    Running,
}

impl Scanner {
    pub fn new(
        options: Options,
        targets: Targets,
        stores: (Store, Extents),
        inbox: Sender<Message>,
        events: mpsc::Sender<Vec<Event>>,
    ) -> Self {
        let wanted = options.exclusive_interval.is_some();
        Self {
            options,
            targets,
            ledger: Arc::new(Ledger::new(stores, events)),
            inbox,
            beside: Beside::default(),
            lanes: BTreeMap::new(),
            scan: None,
            exclusive: if wanted { Exclusive::Due(Instant::now()) } else { Exclusive::Never },
        }
    }

    /// Says whether that is something else than before.
    pub fn aim_at(&mut self, targets: Targets) -> bool {
        let is_new = self.targets != targets;
        self.targets = targets;
        is_new
    }

    /// Begins to measure all directories, unless the last scan has not ended yet; says so.
    pub fn everything(&mut self) -> bool {
        if self.scan.is_some() {
            return false;
        }
        if let Some(volume) = volume::ask(&mut self.beside, &self.targets.base) {
            self.ledger.send_event(volume);
        }
        self.ledger.keep_extents();
        self.lanes.retain(|_, slot| !matches!(slot, Slot::Idle(lane) if lane.is_free()));
        let (home, by_mount) = self.by_mount(&self.targets.directories.clone());
        let waits_for = by_mount.keys().cloned().collect();
        self.scan = Some(Running { begun: Instant::now(), waits_for, all_measured: true });
        for (mount, wanted) in by_mount {
            let asked = if mount == home { wanted.clone() } else { Vec::new() };
            self.give(mount, Work { wanted, asked, scan: true });
        }
        self.end_scan();
        true
    }

    /// Whether a scan of everything is under way.
    pub fn is_scanning(&self) -> bool {
        self.scan.is_some()
    }

    /// Measures those that were just backed up. From the trees all come at once, at the price of what changed.
    pub fn some(&mut self, places: &BTreeSet<Place>) {
        if places.is_empty() {
            return;
        }
        let (home, all) = self.by_mount(&self.targets.directories.clone());
        for (mount, on_mount) in all {
            let wanted: Vec<Target> =
                on_mount.iter().filter(|(place, _)| places.contains(place)).cloned().collect();
            if !wanted.is_empty() {
                let asked = if mount == home { on_mount } else { Vec::new() };
                self.give(mount, Work { wanted, asked, scan: false });
            }
        }
    }

    /// Takes a lane back; says whether the scan of everything has ended with it.
    pub fn ended(&mut self, ended: Ended) -> bool {
        let Ended { mount, lane, scan, all_measured } = ended;
        if scan && let Some(running) = &mut self.scan {
            running.waits_for.remove(&mount);
            running.all_measured &= all_measured;
        }
        let next = match self.lanes.insert(mount.clone(), Slot::Idle(lane)) {
            Some(Slot::Busy(next)) => next,
            _ => None,
        };
        if let Some(work) = next {
            self.give(mount, work);
        }
        self.ledger.keep_extents();
        self.end_scan()
    }

    pub fn exclusive_ended(&mut self) {
        let interval = self.options.exclusive_interval;
        self.exclusive =
            interval.map_or(Exclusive::Never, |interval| Exclusive::Due(Instant::now() + interval));
    }

    /// Gives a lane something to do, now or when it is done with what it has.
    fn give(&mut self, mount: String, work: Work) {
        let mut lane = match self.lanes.insert(mount.clone(), Slot::Busy(None)) {
            Some(Slot::Busy(mut waiting)) => {
                waiting.get_or_insert_default().merge(work);
                self.lanes.insert(mount, Slot::Busy(waiting));
                return;
            }
            Some(Slot::Idle(lane)) => lane,
            None => Lane::default(),
        };
        let (setting, inbox, scan, on) = (self.setting(), self.inbox.clone(), work.scan, mount.clone());
        let measure = move || {
            let all_measured = lane.measure(&work, &setting);
            let _ = inbox.send(Message::Ended(Ended { mount: on, lane, scan, all_measured }));
        };
        if let Err(error) = thread::Builder::new().name("size lane".to_owned()).spawn(measure) {
            warn!(%error, "cannot start a thread to measure directories; their last sizes stay");
            let lost = Ended { mount, lane: Lane::default(), scan, all_measured: false };
            let _ = self.inbox.send(Message::Ended(lost));
        }
    }

    fn setting(&self) -> Setting {
        Setting {
            options: self.options.clone(),
            base: self.targets.base.clone(),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Says whether a scan has ended just now.
    fn end_scan(&mut self) -> bool {
        let Some(Running { begun, all_measured, .. }) =
            self.scan.take_if(|running| running.waits_for.is_empty())
        else {
            return false;
        };
        let scan = Scan {
            time: Timestamp::now(),
            duration_seconds: begun.elapsed().as_secs_f64(),
            status: if all_measured { Status::Success } else { Status::Failed },
        };
        self.ledger.send(SizesEvent::Scanned(scan));
        let (paths, seconds) = (self.targets.directories.len(), scan.duration_seconds);
        info!(paths, seconds, all_measured, "sizes measured");
        self.look_at_extents();
        true
    }

    /// Runs `btrfs filesystem du` where that is wanted and due, beside everything else.
    fn look_at_extents(&mut self) {
        if !matches!(self.exclusive, Exclusive::Due(due) if due <= Instant::now()) {
            return;
        }
        let (setting, directories) = (self.setting(), self.targets.directories.clone());
        self.exclusive = match exclusive::start(setting, directories, self.inbox.clone()) {
            Ok(()) => Exclusive::Running,
            Err(error) => {
                warn!(%error, "cannot start a thread to look at exclusive bytes");
                Exclusive::Never
            }
        };
    }

    /// The mount of the backup directory, and the directories on each mount.
    fn by_mount(&mut self, targets: &[Target]) -> (String, BTreeMap<String, Vec<Target>>) {
        let (base, mounts) = (self.real_base(), Mounts::read());
        let mut by_mount: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for target in targets {
            by_mount.entry(mounts.of(&base.join(&target.1))).or_default().push(target.clone());
        }
        (mounts.of(&base), by_mount)
    }

    /// The backup directory without links, as the list of mounts has it.
    fn real_base(&mut self) -> PathBuf {
        let base: &Path = &self.targets.base;
        let owned = base.to_owned();
        let real = self.beside.ask(QUESTION, move || std::fs::canonicalize(owned));
        real.and_then(Result::ok).unwrap_or_else(|| base.to_owned())
    }
}
