//! The last outcomes of a path or of the runs, and what is unusual about the newest one.
//!
//! Judged is the last run that came to its end with rsync's figures (`success` or `warning`), by the ones
//! before it; so a failed one neither raises a notice nor clears one, and the next normal one clears all.
//! Nothing is judged before there are three to compare with. docs/notices.md has the rules for people.

use std::sync::{Arc, OnceLock};

use backup_common::record::PathFinished;
use backup_common::status::Status;
use jiff::Timestamp;

/// Outcomes that are remembered.
pub const REMEMBERED: usize = 30;
/// Outcomes that there must be to compare with.
const LEAST: usize = 3;

/// Below this many bytes on the wire the speed tells of the connection's set-up, not of the transfer.
const SLOW_BYTES: u64 = 10 << 20;
/// A rate below this share of the median is slow.
const SLOW_SHARE: f64 = 0.25;
/// Below this many bytes on the wire no speed-up is low.
const SPEEDUP_BYTES: u64 = 64 << 20;
/// A speed-up below this share of the median has collapsed.
const SPEEDUP_SHARE: f64 = 0.1;
/// A speed-up below this means that nearly everything crossed the wire,
const SPEEDUP_NONE: f64 = 1.5;
/// which is unusual if the median is at least this.
const SPEEDUP_USUAL: f64 = 4.0;
/// A duration of more than this many medians is long,
const LONG_TIMES: f64 = 3.0;
/// if it is longer by this many seconds at least.
const LONG_SECONDS: f64 = 600.0;
/// A size above this many times the one before has jumped,
const JUMP_TIMES: f64 = 1.5;
/// if it grew by this many bytes at least.
const JUMP_BYTES: u64 = 1 << 30;
/// A size below this share of the one before has dropped,
const DROP_SHARE: f64 = 0.7;
/// if it shrank by this many bytes at least.
const DROP_BYTES: u64 = 100 << 20;

/// What can be unusual about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// The transfer was far slower than usual.
    SlowTransfer,
    /// Far more of the data crossed the wire than usual.
    LowSpeedup,
    /// It took far longer than usual.
    LongRun,
    /// The source is far larger than in the run before.
    SizeJump,
    /// The source is far smaller than in the run before.
    SizeDrop,
}

impl Notice {
    /// Every notice, in the order of their series.
    pub const ALL: [Self; 5] =
        [Self::SlowTransfer, Self::LowSpeedup, Self::LongRun, Self::SizeJump, Self::SizeDrop];

    /// The value of the label `notice`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowTransfer => "slow_transfer",
            Self::LowSpeedup => "low_speedup",
            Self::LongRun => "long_run",
            Self::SizeJump => "size_jump",
            Self::SizeDrop => "size_drop",
        }
    }
}

/// One outcome, small: thousands of paths have thirty each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it ended, in microseconds since 1970.
    time: i64,
    /// Bytes that rsync sent and received.
    pub wire_bytes: u64,
    /// Size of all files on the source.
    pub size_bytes: u64,
    /// Bytes on the wire per second.
    pub rate: f32,
    /// Size on the source by bytes on the wire.
    pub speedup: f32,
    /// In seconds; NaN if it is unknown.
    duration: f32,
    /// How it ended.
    pub status: Status,
    /// rsync's figures are there.
    has_stats: bool,
}

impl Point {
    /// When it ended.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_microsecond(self.time).unwrap_or_default()
    }

    /// How long it took, in seconds; unknown if it died.
    pub fn duration_seconds(&self) -> Option<f64> {
        (!self.duration.is_nan()).then_some(f64::from(self.duration))
    }

    /// Whether sizes and speeds are known.
    pub fn has_stats(&self) -> bool {
        self.has_stats
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough to compare and to draw")]
    fn of_path(time: Timestamp, finished: &PathFinished) -> Self {
        let stats = finished.stats.unwrap_or_default();
        Self {
            time: time.as_microsecond(),
            wire_bytes: stats.sent_bytes.saturating_add(stats.received_bytes),
            size_bytes: stats.source_size_bytes,
            rate: stats.transfer_rate_bytes_per_second as f32,
            speedup: stats.speedup_ratio as f32,
            duration: finished.duration_seconds as f32,
            status: finished.status,
            has_stats: finished.stats.is_some(),
        }
    }

    /// Without rsync's figures.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough to compare and to draw")]
    fn bare(time: Timestamp, status: Status, seconds: Option<f64>) -> Self {
        let duration = seconds.map_or(f32::NAN, |seconds| seconds as f32);
        let time = time.as_microsecond();
        Self {
            time,
            wire_bytes: 0,
            size_bytes: 0,
            rate: 0.0,
            speedup: 0.0,
            duration,
            status,
            has_stats: false,
        }
    }

    fn ended_well(&self) -> bool {
        matches!(self.status, Status::Success | Status::Warning)
    }
}

/// The last [`REMEMBERED`] outcomes, the oldest first. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Ring>);

#[derive(Clone, Debug, Default)]
struct Ring {
    points: Vec<Point>,
    /// Found when first asked for; most outcomes of a log that is replayed are never asked about.
    notices: OnceLock<Notices>,
}

/// Which notices stand.
type Notices = [bool; Notice::ALL.len()];

impl History {
    /// The outcomes, the oldest first.
    pub fn points(&self) -> &[Point] {
        &self.0.points
    }

    /// Whether a notice stands.
    pub fn has(&self, notice: Notice) -> bool {
        let notices = self.0.notices.get_or_init(|| judge(&self.0.points));
        Notice::ALL.iter().zip(notices).any(|(&one, &stands)| one == notice && stands)
    }

    pub(super) fn finish_path(&mut self, time: Timestamp, finished: &PathFinished) {
        self.push(Point::of_path(time, finished));
    }

    pub(super) fn finish_run(&mut self, time: Timestamp, status: Status, seconds: f64) {
        self.push(Point::bare(time, status, Some(seconds)));
    }

    /// It began at this time and never came to an end.
    pub(super) fn die(&mut self, began: Option<Timestamp>) {
        self.push(Point::bare(began.unwrap_or_default(), Status::Failed, None));
    }

    fn push(&mut self, point: Point) {
        let ring = Arc::make_mut(&mut self.0);
        ring.notices = OnceLock::new();
        if ring.points.len() >= REMEMBERED {
            ring.points.remove(0);
        }
        ring.points.push(point);
    }
}

/// What is unusual about the last outcome that can be judged, by those before it.
fn judge(points: &[Point]) -> Notices {
    let ended: Vec<_> = points.iter().filter(|point| point.ended_well()).collect();
    let figures: Vec<_> = ended.iter().copied().filter(|point| point.has_stats).collect();
    let of_path = |rule: fn(&Point, &[&Point]) -> bool| judge_last(&figures, rule);
    Notice::ALL.map(|notice| match notice {
        Notice::SlowTransfer => of_path(is_slow),
        Notice::LowSpeedup => of_path(is_speedup_low),
        Notice::LongRun => judge_last(&ended, is_long),
        Notice::SizeJump => of_path(|last, before| sizes(last, before).is_some_and(has_jumped)),
        Notice::SizeDrop => of_path(|last, before| sizes(last, before).is_some_and(has_dropped)),
    })
}

fn judge_last(points: &[&Point], rule: fn(&Point, &[&Point]) -> bool) -> bool {
    let Some((last, before)) = points.split_last() else { return false };
    before.len() >= LEAST && rule(last, before)
}

fn is_slow(last: &Point, before: &[&Point]) -> bool {
    let large: Vec<_> = before.iter().copied().filter(|point| point.wire_bytes >= SLOW_BYTES).collect();
    let slow = |rate: f64| f64::from(last.rate) < rate * SLOW_SHARE;
    let longer = |duration: f64| f64::from(last.duration) > duration;
    // A transfer of less that took no longer than usual is no slow one.
    last.wire_bytes >= SLOW_BYTES
        && large.len() >= LEAST
        && median(&large, |point| point.rate).is_some_and(slow)
        && median(&large, |point| point.duration).is_some_and(longer)
}

fn is_speedup_low(last: &Point, before: &[&Point]) -> bool {
    let speedup = f64::from(last.speedup);
    let low =
        |usual: f64| speedup < usual * SPEEDUP_SHARE || speedup < SPEEDUP_NONE && usual >= SPEEDUP_USUAL;
    last.wire_bytes >= SPEEDUP_BYTES && median(before, |point| point.speedup).is_some_and(low)
}

fn is_long(last: &Point, before: &[&Point]) -> bool {
    let duration = f64::from(last.duration);
    let long = |usual: f64| duration > usual * LONG_TIMES && duration > usual + LONG_SECONDS;
    median(before, |point| point.duration).is_some_and(long)
}

/// The sizes of the last one and of the one before it.
fn sizes(last: &Point, before: &[&Point]) -> Option<(u64, u64)> {
    Some((last.size_bytes, before.last()?.size_bytes))
}

fn has_jumped((now, before): (u64, u64)) -> bool {
    now.saturating_sub(before) >= JUMP_BYTES && now as f64 > before as f64 * JUMP_TIMES
}

fn has_dropped((now, before): (u64, u64)) -> bool {
    before.saturating_sub(now) >= DROP_BYTES && (now as f64) < before as f64 * DROP_SHARE
}

/// The lower median; what is no number is left out.
fn median(points: &[&Point], value: fn(&Point) -> f32) -> Option<f64> {
    let mut values: Vec<_> =
        points.iter().map(|point| value(point)).filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied().map(f64::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Point = Point {
        time: 0,
        wire_bytes: 200 << 20,
        size_bytes: 20 << 30,
        rate: 10e6,
        speedup: 100.0,
        duration: 300.0,
        status: Status::Success,
        has_stats: true,
    };

    fn notices(points: &[Point]) -> Vec<&'static str> {
        let mut history = History::default();
        for point in points {
            history.push(*point);
        }
        Notice::ALL.into_iter().filter(|&notice| history.has(notice)).map(Notice::name).collect()
    }

    #[test]
    fn each_rule_and_its_least_size() {
        for (last, expected) in [
            (USUAL, &[][..]),
            (Point { rate: 2e6, duration: 400.0, ..USUAL }, &["slow_transfer"]),
            (Point { rate: 2.6e6, duration: 400.0, ..USUAL }, &[]),
            (Point { rate: 2e6, duration: 200.0, ..USUAL }, &[]),
            (Point { rate: 1.0, duration: 400.0, wire_bytes: 1024, ..USUAL }, &[]),
            (Point { speedup: 9.0, ..USUAL }, &["low_speedup"]),
            (Point { speedup: 11.0, ..USUAL }, &[]),
            (Point { speedup: 1.0, wire_bytes: 1 << 20, ..USUAL }, &[]),
            (Point { duration: 901.0, ..USUAL }, &["long_run"]),
            (Point { duration: 899.0, ..USUAL }, &[]),
            (Point { size_bytes: 31 << 30, ..USUAL }, &["size_jump"]),
            (Point { size_bytes: 30 << 30, ..USUAL }, &[]),
            (Point { size_bytes: 13 << 30, ..USUAL }, &["size_drop"]),
            (Point { size_bytes: 15 << 30, ..USUAL }, &[]),
            (
                Point { size_bytes: 0, rate: 1e6, duration: 5000.0, speedup: 0.5, ..USUAL },
                &["slow_transfer", "low_speedup", "long_run", "size_drop"],
            ),
            (Point { duration: f32::NAN, rate: f32::NAN, speedup: f32::NAN, ..USUAL }, &[]),
        ] {
            assert_eq!(notices(&[USUAL, USUAL, USUAL, last]), expected, "{last:?}");
            assert!(notices(&[USUAL, USUAL, last]).is_empty(), "never in the first three: {last:?}");
        }
    }

    #[test]
    fn small_paths_never_raise_a_notice() {
        let small =
            Point { wire_bytes: 1024, size_bytes: 4096, rate: 1e6, speedup: 4.0, duration: 0.1, ..USUAL };
        let odd = Point {
            wire_bytes: 1 << 20,
            size_bytes: 1 << 20,
            rate: 10.0,
            speedup: 0.1,
            duration: 500.0,
            ..USUAL
        };
        assert!(notices(&[small, small, small, small, odd]).is_empty());
        // A whole copy of what is usually four fifths the same.
        let usual = Point { speedup: 5.0, ..USUAL };
        assert_eq!(notices(&[usual, usual, usual, Point { speedup: 1.0, ..USUAL }]), ["low_speedup"]);
    }

    #[test]
    fn the_next_normal_one_clears_and_a_failed_one_does_not() {
        let long = Point { duration: 5000.0, size_bytes: 60 << 30, ..USUAL };
        let failed = Point { status: Status::Failed, has_stats: false, duration: 9e5, ..USUAL };
        let mut points = vec![USUAL, USUAL, USUAL, long];
        assert_eq!(notices(&points), ["long_run", "size_jump"]);
        points.push(failed);
        assert_eq!(notices(&points), ["long_run", "size_jump"]);
        points.push(Point { size_bytes: 60 << 30, ..USUAL });
        assert!(notices(&points).is_empty(), "the new size is the usual one now");
    }

    #[test]
    fn thousands_of_paths_have_room() {
        let mut history = History::default();
        for _ in 0..100 {
            history.push(USUAL);
        }
        assert_eq!(history.points().len(), REMEMBERED);
        let bytes = history.0.points.capacity() * size_of::<Point>() + size_of::<Ring>();
        assert!(bytes <= 2048, "{bytes} bytes for one path");
    }

    proptest! {
        #[test]
        fn equal_runs_are_never_unusual(rate in 0.0f32.., speedup in 0.0f32.., duration in 0.0f32.., size_bytes: u64, wire_bytes: u64, count in 0usize..40) {
            let point = Point { wire_bytes, size_bytes, rate, speedup, duration, ..USUAL };
            // Nothing is faster than no time, and nothing has a negative one.
            prop_assume!(rate >= 0.0 && speedup >= 0.0 && duration >= 0.0);
            prop_assert!(notices(&vec![point; count]).is_empty());
        }
    }
}
