//! Edge: tells systemd how the exporter is doing, `sd_notify(3)`. Without systemd all of it is nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// Says that everything that was recorded before has been read.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("following what the runner records")]);
}

/// Says that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog of the unit, `WatchdogSec=`; the loop that owns the state has to go round for it.
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// One that is due at half of the time that the unit allows, as `sd_watchdog_enabled(3)` recommends.
    pub fn from_environment() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| *allowed > Duration::from_millis(1));
        Self(allowed.map(|allowed| {
            let mut due = interval(allowed / 2);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        }))
    }

    /// Returns when it is time to feed it; never without a watchdog.
    pub async fn due(&mut self) {
        match &mut self.0 {
            Some(due) => {
                due.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Feeds it.
    pub fn feed(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify systemd");
    }
}
