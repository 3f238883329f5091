//! When runs are expected: calendar expressions, time spans and the largest gap between two runs.
//!
//! Everything here is pure: text and a time go in, values come out.

pub mod calendar;
mod interval;
pub mod time_span;

use std::time::Duration;

use jiff::Timestamp;

pub use interval::{Plan, Times, observed_interval, search_window};

/// What is known about the timer that starts the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Who says so.
    pub source: Source,
    /// The largest gap between two runs that the timer allows; absent for a timer that elapses once,
    /// or in a form that nothing here can read.
    pub interval: Option<Duration>,
    /// When it elapses next; absent while unknown.
    pub next_run: Option<Timestamp>,
    /// When it last elapsed; absent if it never did.
    pub last_trigger: Option<Timestamp>,
}

/// Where the expected interval comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The timer as systemd has loaded it.
    Timer,
    /// The time between the runs of the past.
    Observed,
    /// The timer's unit file, where no systemd answers.
    Configured,
}

impl Source {
    /// Every source, in the order of their series.
    pub const ALL: [Self; 3] = [Self::Timer, Self::Observed, Self::Configured];

    /// The value of the label `source`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Observed => "observed",
            Self::Configured => "configured",
        }
    }
}
