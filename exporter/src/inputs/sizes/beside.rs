//! Asks the system what it may never answer.

use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// Questions in a thread of their own, one at a time.
#[derive(Debug, Default)]
pub struct Beside {
    /// Alive as long as the last question is.
    open: Weak<()>,
}

impl Beside {
    /// The answer, if it comes in time. While an earlier question is still open none is asked, so that
    /// at most one thread is ever stuck.
    pub fn ask<T: Send + 'static>(
        &mut self,
        limit: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.open.strong_count() > 0 {
            return None;
        }
        let alive = Arc::new(());
        self.open = Arc::downgrade(&alive);
        let (sender, answer) = mpsc::channel();
        let ask = move || {
            let answer = question();
            drop(alive);
            // Nobody may be waiting any more.
            let _ = sender.send(answer);
        };
        thread::Builder::new().name("question".to_owned()).spawn(ask).ok()?;
        answer.recv_timeout(limit).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_keeps_further_questions_away() {
        let mut beside = Beside::default();
        assert_eq!(beside.ask(Duration::from_secs(60), || 1), Some(1));
        let (release, wait) = mpsc::channel::<()>();
        let stuck = move || {
            let _ = wait.recv();
            2
        };
        assert_eq!(beside.ask(Duration::from_millis(1), stuck), None);
        assert_eq!(beside.ask(Duration::from_secs(60), || 3), None);
        drop(release);
        backup_testkit::wait::until("an answer", || beside.ask(Duration::from_secs(60), || 4));
    }
}
