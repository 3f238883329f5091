//! Waiting for a state.

use std::time::{Duration, Instant};

/// Longest time that a state may take to come about, generous because machines are slow at times.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`DEADLINE`]; the message names what was waited for.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, ask)
}

/// As [`until`], for what is much work: five times as long.
pub fn long<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE * 5, what, ask)
}

fn within<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
