//! When runs are expected: what the timer says, and what the runs show.

use std::collections::VecDeque;
use std::time::Duration;

use backup_common::record::Trigger;
use jiff::Timestamp;

use crate::schedule::{Schedule, Source, observed_interval};

/// Starts of runs that are remembered.
const STARTS: usize = 16;

/// The timer and the last starts.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    timer: Option<Schedule>,
    starts: VecDeque<Timestamp>,
}

impl Expected {
    /// The largest gap between two runs, and where that comes from.
    pub fn interval(&self) -> Option<(Source, Duration)> {
        let told = self.timer.as_ref().and_then(|timer| Some((timer.source, timer.interval?)));
        told.or_else(|| Some((Source::Observed, observed_interval(self.starts.iter().copied())?)))
    }

    /// When the timer elapses next.
    pub fn next_run(&self) -> Option<Timestamp> {
        self.timer.as_ref()?.next_run
    }

    /// What is known about the timer.
    pub fn timer(&self) -> Option<&Schedule> {
        self.timer.as_ref()
    }

    pub(super) fn learn(&mut self, timer: Option<Schedule>) {
        self.timer = timer;
    }

    pub(super) fn start(&mut self, time: Timestamp, trigger: Trigger) {
        // A run by hand comes when it comes.
        if trigger != Trigger::Manual {
            if self.starts.len() == STARTS {
                self.starts.pop_front();
            }
            self.starts.push_back(time);
        }
    }
}
