//! Who is connected, and who has to go when somebody new comes.
//!
//! A limit alone lets as many clients as it names, each sending a byte now and then, keep everybody else
//! out until their time is over. So nobody waits here: with all places taken, the one that has kept its
//! place the longest without being served gives it up. A client that asks at once, as Prometheus does,
//! has its answer long before its turn to go comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The table of all connections.
#[derive(Debug)]
pub struct Connections {
    places: usize,
    table: Mutex<Table>,
    freed: Notify,
    // One for each socket that is open: who has to go has it until its task has ended.
    sockets: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    // By age: the first one is the oldest.
    seats: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    leave: Arc<Notify>,
}

/// What a connection is doing, in the order in which it has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It has not sent one whole request.
    New,
    /// It was served and rests.
    Resting,
    /// It is being served: it stays.
    Served,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    number: u64,
    leave: Arc<Notify>,
    socket: Option<OwnedSemaphorePermit>,
}

impl Connections {
    /// A table with so many places.
    pub fn new(places: usize) -> Arc<Self> {
        let sockets = Arc::new(Semaphore::new(places));
        Arc::new(Self { places, table: Mutex::default(), freed: Notify::new(), sockets })
    }

    /// Takes a place, at the cost of another connection if need be; waits while all of them are being served.
    pub async fn seat(self: &Arc<Self>) -> Seat {
        loop {
            let freed = self.freed.notified();
            if let Some(seat) = self.try_seat() {
                let mut seat = seat;
                seat.socket = Arc::clone(&self.sockets).acquire_owned().await.ok();
                return seat;
            }
            freed.await;
        }
    }

    fn try_seat(self: &Arc<Self>) -> Option<Seat> {
        let mut table = self.lock();
        if table.seats.len() >= self.places {
            let (number, _) = table
                .seats
                .iter()
                .filter(|(_, entry)| entry.phase != Phase::Served)
                .min_by_key(|(number, entry)| (entry.phase, **number))?;
            let number = *number;
            if let Some(entry) = table.seats.remove(&number) {
                entry.leave.notify_one();
            }
        }
        let number = table.next;
        table.next += 1;
        let leave = Arc::new(Notify::new());
        table.seats.insert(number, Entry { phase: Phase::New, leave: Arc::clone(&leave) });
        drop(table);
        Some(Seat { connections: Arc::clone(self), number, leave, socket: None })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when this connection has to go.
    pub async fn taken_away(&self) {
        self.leave.notified().await;
    }

    /// A request begins to be served; what comes back ends that when it is dropped.
    pub fn serving(&self) -> Serving {
        self.connections.set(self.number, Phase::Served);
        Serving { connections: Arc::clone(&self.connections), number: self.number }
    }
}

impl Connections {
    fn set(&self, number: u64, phase: Phase) {
        if let Some(entry) = self.lock().seats.get_mut(&number) {
            entry.phase = phase;
        }
        if phase != Phase::Served {
            self.freed.notify_one();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().seats.remove(&self.number);
        self.connections.freed.notify_one();
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serving {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.connections.set(self.number, Phase::Resting);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn has_to_go(seat: &Seat) -> bool {
        poll(seat.taken_away()).is_some()
    }

    #[test]
    fn the_oldest_that_was_never_served_goes_first() {
        let connections = Connections::new(3);
        let seat = || poll(connections.seat()).unwrap();
        let (served, first, second) = (seat(), seat(), seat());
        drop(served.serving());
        let mut third = pin!(connections.seat());
        assert!(poll(third.as_mut()).is_none(), "the socket of the one that goes is still open");
        assert!(has_to_go(&first));
        for stays in [&served, &second] {
            assert!(!has_to_go(stays));
        }
        drop(first);
        let third = poll(third).unwrap();
        let mut fourth = pin!(connections.seat());
        assert!(poll(fourth.as_mut()).is_none() && has_to_go(&second));
        drop(second);
        assert!(poll(fourth).is_some());
        assert!(!has_to_go(&third) && !has_to_go(&served));
    }

    #[test]
    fn who_is_being_served_stays_and_a_newcomer_waits() {
        let connections = Connections::new(1);
        let seat = poll(connections.seat()).unwrap();
        let serving = seat.serving();
        let mut waiting = pin!(connections.seat());
        assert!(poll(waiting.as_mut()).is_none() && !has_to_go(&seat));
        drop(serving);
        assert!(poll(waiting.as_mut()).is_none() && has_to_go(&seat));
        drop(seat);
        assert!(poll(waiting).is_some());
    }

    #[test]
    fn a_place_comes_back() {
        let connections = Connections::new(1);
        for _ in 0..10 {
            let seat = poll(connections.seat()).unwrap();
            assert!(!has_to_go(&seat));
        }
        assert!(connections.lock().seats.is_empty());
    }
}
