//! What stands behind a bar: how much, how fast, how long still. Pure; the time is handed in.

use std::collections::HashMap;
use std::time::Duration;

use backup_common::units;

use crate::rsync::output::Progress;

/// A path that is named by its host and itself.
type Key = (String, String);

/// Least time before anything is said about rate and rest.
const WARM_UP: Duration = Duration::from_millis(500);

/// One path: `1.21 GiB, 34 files, 3.10 MiB/s, 2 min 5 s left`.
///
/// The rest follows from the share that is done, which rsync takes of the sizes known so far: an estimate.
pub fn of_path(progress: Progress, elapsed: Duration) -> String {
    let mut parts = vec![units::bytes(progress.bytes), units::counted(progress.files, "file")];
    if elapsed >= WARM_UP {
        parts.push(rate(progress.bytes, elapsed));
        if (1..100).contains(&progress.percent) {
            let done = f64::from(progress.percent);
            let left = elapsed.as_secs_f64() * (100.0 - done) / done;
            parts.push(units::duration(left.ceil()) + " left");
        }
    }
    parts.join(", ")
}

/// The sums over all paths of a run.
#[derive(Debug, Default)]
pub struct Totals {
    paths: u64,
    ended: u64,
    bytes: u64,
    running: HashMap<Key, u64>,
}

impl Totals {
    /// A run with so many paths.
    pub fn of(paths: u64) -> Self {
        Self { paths, ..Self::default() }
    }

    /// A path is under way.
    pub fn progress(&mut self, key: Key, bytes: u64) {
        self.running.insert(key, bytes);
    }

    /// A path has ended; `bytes` is what it transferred, where that is known.
    pub fn ended(&mut self, key: &Key, bytes: Option<u64>) {
        let seen = self.running.remove(key).unwrap_or(0);
        self.bytes += bytes.unwrap_or(seen);
        self.ended += 1;
    }

    /// A path has failed and is tried again; what it transferred stays where it is.
    pub fn postponed(&mut self, key: &Key) {
        self.bytes += self.running.remove(key).unwrap_or(0);
    }

    /// Share of the paths that have ended, in per cent.
    pub fn percent(&self) -> u64 {
        (self.ended * 100).checked_div(self.paths).unwrap_or(0).min(100)
    }

    /// `3 of 12 paths, 1.21 GiB, 3.10 MiB/s`
    pub fn text(&self, elapsed: Duration) -> String {
        let bytes = self.bytes + self.running.values().sum::<u64>();
        let paths = units::counted(self.paths, "path");
        let mut parts = vec![format!("{} of {paths}", units::grouped(self.ended)), units::bytes(bytes)];
        if elapsed >= WARM_UP {
            parts.push(rate(bytes, elapsed));
        }
        parts.join(", ")
    }
}

fn rate(bytes: u64, elapsed: Duration) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative; saturates")]
    let per_second = (bytes as f64 / elapsed.as_secs_f64()) as u64;
    units::bytes(per_second) + "/s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_how_fast_and_how_long() {
        let progress = Progress { bytes: 10 << 20, percent: 25, files: 1 };
        assert_eq!(of_path(progress, Duration::from_secs(10)), "10.0 MiB, 1 file, 1.00 MiB/s, 30 s left");
        assert_eq!(of_path(progress, Duration::from_millis(100)), "10.0 MiB, 1 file");
        let unknown = Progress { percent: 0, ..progress };
        assert_eq!(of_path(unknown, Duration::from_secs(10)), "10.0 MiB, 1 file, 1.00 MiB/s");
    }

    #[test]
    fn the_totals_count_what_runs_and_what_has_ended() {
        let key = |path: &str| ("h".to_owned(), path.to_owned());
        let mut totals = Totals::of(4);
        totals.progress(key("/a"), 1 << 20);
        totals.progress(key("/b"), 3 << 20);
        assert_eq!(totals.text(Duration::ZERO), "0 of 4 paths, 4.00 MiB");
        totals.ended(&key("/a"), Some(5 << 20));
        totals.postponed(&key("/b"));
        totals.ended(&key("/c"), None);
        assert_eq!(totals.text(Duration::from_secs(8)), "2 of 4 paths, 8.00 MiB, 1.00 MiB/s");
        assert_eq!((totals.percent(), Totals::of(0).percent()), (50, 0));
    }
}
