//! The task that sends what is in the outbox, batch by batch, in order.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::answer::{Class, Verdict, back_off};
use super::config::InfluxConfig;
use super::courier::{Courier, Outcome};
use super::feeder::Shared;
use super::health::PushHealth;
use super::outbox::{Batch, End};
use super::payload::Payload;
use super::plan::Plan;
use crate::event::Event;
use crate::outputs::influx::line_protocol;

/// Points in one request; InfluxDB recommends 5000.
const BATCH: usize = 5000;

/// How long it waits after failures.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When a person has to mend something.
    pub keep: Duration,
    /// Factor on the back-off; 1 outside of tests.
    pub back_off: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { keep: Duration::from_secs(60), back_off: 1.0 }
    }
}

/// Lines that are sent in one request, if the server takes them all.
struct Parcel {
    batch: Batch,
    payload: Payload,
}

impl Parcel {
    fn new(batch: Batch) -> Self {
        let payload = Payload::of(&batch.lines);
        Self { batch, payload }
    }
}

/// Sends for ever.
pub struct Engine {
    shared: Shared,
    configs: watch::Receiver<InfluxConfig>,
    courier: Courier,
    pace: Pace,
    events: mpsc::Sender<Vec<Event>>,
    health: PushHealth,
    refused: u64,
    failures: u32,
    trouble: Option<Class>,
}

impl Engine {
    /// Sends where the newest of `configs` says; what it does is told to `events`.
    pub fn new(
        shared: Shared,
        mut configs: watch::Receiver<InfluxConfig>,
        pace: Pace,
        events: mpsc::Sender<Vec<Event>>,
    ) -> Self {
        let courier = Courier::new(configs.borrow_and_update().clone());
        let health = PushHealth::default();
        Self { shared, configs, courier, pace, events, health, refused: 0, failures: 0, trouble: None }
    }

    /// Runs until nobody receives its events any more.
    pub async fn run(mut self) {
        let mut ahead = None;
        while !self.events.is_closed() {
            let Some(parcel) = self.next(ahead.take()).await else { return };
            let empty = parcel.batch.lines.is_empty();
            if !empty {
                ahead = Some(self.look_ahead(parcel.batch.end()));
                self.deliver(&parcel).await;
            }
            self.acknowledge(parcel.batch).await;
            if empty {
                self.publish(None).await;
                tokio::select! {
                    () = self.shared.added.notified() => {}
                    () = self.events.closed() => return,
                }
            }
        }
    }

    /// What is sent next: what was prepared, if it still is that.
    async fn next(&self, ahead: Option<JoinHandle<Option<Parcel>>>) -> Option<Parcel> {
        let ahead = match ahead {
            Some(ahead) => ahead.await.ok()?,
            None => None,
        };
        let shared = self.shared.clone();
        blocking(move || {
            let ahead = ahead.filter(|parcel| shared.with(|outbox| outbox.is_next(&parcel.batch)));
            ahead.unwrap_or_else(|| Parcel::new(shared.with(|outbox| outbox.peek(BATCH))))
        })
        .await
    }

    /// Reads and compresses what comes behind, while the server is busy with what ends there.
    fn look_ahead(&self, end: End) -> JoinHandle<Option<Parcel>> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            shared.with(|outbox| outbox.peek_behind(end, BATCH)).map(Parcel::new)
        })
    }

    async fn deliver(&mut self, Parcel { batch: Batch { lines, .. }, payload }: &Parcel) {
        let mut plan = Plan::new(lines.len());
        while let Some(part) = plan.next() {
            let oldest = lines[part.clone()].first().and_then(|line| line_protocol::time_of(line));
            self.publish(oldest).await;
            let whole = part.len() == payload.lines();
            let payload = if whole { payload.clone() } else { Payload::of(&lines[part.clone()]) };
            if self.configs.has_changed().unwrap_or(false) {
                self.turn();
            }
            let Outcome { verdict, message } = self.courier.send(&payload).await;
            match verdict {
                Verdict::Done => {
                    self.succeed(part.len() as u64);
                    plan.done();
                }
                Verdict::TooOld(count) => {
                    let count = count.min(part.len());
                    self.succeed((part.len() - count) as u64);
                    self.lose(Class::TooOld, count as u64, &message);
                    plan.done();
                }
                Verdict::Split(class) => {
                    if class == Class::TooLarge {
                        self.health.fail(class, 1);
                    }
                    if let Some(line) = plan.split() {
                        let class = if class == Class::TooOld { class } else { Class::Rejected };
                        if class == Class::Rejected {
                            self.bury(lines[line].clone(), message.clone()).await;
                        }
                        self.lose(class, 1, &message);
                    }
                    self.recover();
                }
                Verdict::Keep(class) => {
                    self.fail(class, &message);
                    self.wait(self.pace.keep, oldest).await;
                }
                Verdict::Wait(class, asked) => {
                    self.fail(class, &message);
                    let own = back_off(self.failures, random()).mul_f64(self.pace.back_off);
                    self.wait(asked.unwrap_or(own), oldest).await;
                }
            }
        }
    }

    async fn acknowledge(&mut self, batch: Batch) {
        let shared = self.shared.clone();
        blocking(move || shared.with(|outbox| outbox.acknowledge(&batch))).await;
    }

    async fn bury(&self, line: String, why: String) {
        let shared = self.shared.clone();
        blocking(move || shared.with(|outbox| outbox.bury(&line, &why))).await;
    }

    /// Goes on as the newest configuration says.
    fn turn(&mut self) {
        self.courier = Courier::new(self.configs.borrow_and_update().clone());
        self.failures = 0;
    }

    /// Waits, and tells meanwhile how the outbox grows; another configuration ends it.
    async fn wait(&mut self, time: Duration, oldest: Option<Timestamp>) {
        let end = Instant::now() + time;
        loop {
            self.publish(oldest).await;
            let shared = self.shared.clone();
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.events.closed() => return std::future::pending().await,
                () = shared.added.notified() => {}
                Ok(()) = self.configs.changed() => return self.turn(),
            }
        }
    }

    fn succeed(&mut self, points: u64) {
        if points > 0 {
            self.health.points += points;
            self.health.last_success = Some(Timestamp::now());
        }
        self.recover();
    }

    fn recover(&mut self) {
        self.failures = 0;
        if self.trouble.take().is_some() {
            info!("InfluxDB takes points again");
        }
    }

    fn fail(&mut self, class: Class, message: &str) {
        self.failures = self.failures.saturating_add(1);
        self.health.fail(class, 1);
        if self.trouble != Some(class) {
            warn!(
                class = class.name(),
                error = message,
                "cannot send to InfluxDB; points wait in the outbox"
            );
            self.trouble = Some(class);
        }
    }

    fn lose(&mut self, class: Class, count: u64, message: &str) {
        if self.refused == 0 {
            warn!(
                class = class.name(),
                error = message,
                "InfluxDB refuses a point for good; further ones are counted"
            );
        }
        self.health.fail(class, count);
        self.refused += count;
    }

    async fn publish(&mut self, oldest: Option<Timestamp>) {
        let shared = self.shared.clone();
        let Some((bytes, dropped)) =
            blocking(move || shared.with(|outbox| (outbox.bytes(), outbox.dropped()))).await
        else {
            return;
        };
        self.health.outbox_bytes = bytes;
        self.health.oldest = oldest;
        self.health.dropped = dropped + self.refused;
        // A receiver that is gone ends the task at its next turn.
        let _ = self.events.send(vec![Event::Pushed(self.health.clone())]).await;
    }
}

/// Runs what waits for a disk beside the tasks; nothing comes back only when the program ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// From 0 to 1, different in each process: it spreads the tries of many clients.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
