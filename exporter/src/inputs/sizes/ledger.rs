//! Takes in what the lanes have measured: remembers it and sends it on, at once and from every thread.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_sizes::totals::Totals;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::debug;

use super::{Extents, Store};
use crate::event::Event;
use crate::event::sizes::{ExclusiveBytes, Place, QuotaBytes, SizesEvent, Trouble};
use crate::size_history::{Method, Point};

/// What is known, and where it is sent.
#[derive(Debug)]
pub struct Ledger {
    store: Mutex<Store>,
    extents: Mutex<Extents>,
    events: mpsc::Sender<Vec<Event>>,
}

impl Ledger {
    pub fn new((store, extents): (Store, Extents), events: mpsc::Sender<Vec<Event>>) -> Self {
        Self { store: Mutex::new(store), extents: Mutex::new(extents), events }
    }

    /// A directory was measured.
    pub fn measured(&self, place: &Place, totals: &Totals, method: Method, duration_seconds: f64) {
        let point = Point {
            time: Timestamp::now(),
            method,
            duration_seconds,
            bytes: totals.disk_bytes,
            apparent_bytes: totals.apparent_with_directories(),
            files: totals.entries(),
        };
        lock(&self.store).remember(place, point);
        self.send(SizesEvent::Measured(place.clone(), point));
    }

    /// What the quota group of a directory says; none where it has none.
    pub fn quota(&self, place: &Place, quota: Option<QuotaBytes>) {
        if lock(&self.extents).take_quota(place, quota) {
            self.send(SizesEvent::Quota(place.clone(), quota));
        }
    }

    /// What `btrfs filesystem du` says of a directory.
    pub fn exclusive(&self, place: &Place, bytes: ExclusiveBytes) {
        lock(&self.extents).take_exclusive(place, bytes);
        // At once: the next one may take long, and what is shown is to be there after a restart.
        self.keep_extents();
        self.send(SizesEvent::Exclusive(place.clone(), bytes));
    }

    /// Writes what is remembered of the extents, and sends what another program has written there.
    pub fn keep_extents(&self) {
        let news: Vec<_> = lock(&self.extents).sync();
        for event in news {
            self.send(event);
        }
    }

    /// A directory that is not there is no trouble before its first backup; says so.
    pub fn missing(&self, place: &Place, directory: &Path) -> bool {
        debug!(directory = %directory.display(), "nothing is stored there");
        let expected = lock(&self.store).knows(place);
        if expected {
            self.unmeasured(place, Trouble::Failed);
        }
        !expected
    }

    /// The last figure of a directory stays.
    pub fn unmeasured(&self, place: &Place, trouble: Trouble) {
        self.send(SizesEvent::Unmeasured(place.clone(), trouble));
    }

    pub fn send(&self, event: SizesEvent) {
        self.send_event(Event::Sizes(event));
    }

    pub fn send_event(&self, event: Event) {
        // A closed channel ends the loop at its next turn.
        let _ = self.events.blocking_send(vec![event]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
