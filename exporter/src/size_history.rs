//! The sizes of a path over a year: one figure a day, and how they grow.
//!
//! Pure: lines in, values out. The file (`sizes.jsonl` in the state directory) has one JSON object a
//! line, appended with each measurement; the last one of a day stands for it. Lines that can not be
//! read are passed over.

use std::collections::BTreeMap;

use backup_common::text;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::sizes::Place;

/// Days that are remembered, so that a year can be looked back.
pub const DAYS: i64 = 366;

/// Longest line, in bytes: two names of 4096 bytes, escaped, and figures.
pub const LINE_BYTES: usize = 64 << 10;

/// What a path took at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was measured.
    pub time: Timestamp,
    /// How.
    pub method: Method,
    /// How long that took.
    pub duration_seconds: f64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that the files say they have.
    pub apparent_bytes: u64,
    /// Files, directories and links.
    pub files: u64,
}

/// How a size was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From the trees of btrfs.
    Tree,
    /// Directory by directory.
    Walk,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 2] = [Self::Tree, Self::Walk];

    /// The name in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Walk => "walk",
        }
    }
}

/// The figures of one path, one a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series(BTreeMap<i64, Point>);

/// The difference between two figures of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// When the earlier one was measured.
    pub since: Timestamp,
    /// Bytes on disk that came, or went when negative.
    pub bytes: i64,
    /// Files that came, or went when negative.
    pub files: i64,
}

impl Series {
    /// Takes in a figure; the last of a day stays, and what is more than a year older is forgotten.
    pub fn take(&mut self, point: Point) {
        let day = day(point.time);
        let newer = self.0.get(&day).is_none_or(|known| known.time <= point.time);
        if newer {
            self.0.insert(day, point);
        }
        if let Some(newest) = self.0.keys().next_back() {
            self.0 = self.0.split_off(&(newest - DAYS));
        }
    }

    /// The last figure.
    pub fn newest(&self) -> Option<&Point> {
        self.0.values().next_back()
    }

    /// All figures, the oldest first.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.0.values()
    }

    /// How much came in so many days up to the last figure; none when nothing is known of about that
    /// time: the earlier figure is the newest one that is old enough, and at most twice as old (and a
    /// day).
    pub fn growth(&self, days: i64) -> Option<Growth> {
        let newest = self.newest()?;
        let seconds = newest.time.as_second();
        let old_enough = |point: &&Point| seconds - point.time.as_second() >= days * SECONDS_A_DAY;
        let before = self.0.values().rev().find(old_enough)?;
        if seconds - before.time.as_second() > (2 * days + 1) * SECONDS_A_DAY {
            return None;
        }
        let difference =
            |new: u64, old: u64| i64::try_from(i128::from(new) - i128::from(old)).unwrap_or(i64::MAX);
        Some(Growth {
            since: before.time,
            bytes: difference(newest.bytes, before.bytes),
            files: difference(newest.files, before.files),
        })
    }
}

/// The figures of all paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(pub BTreeMap<Place, Series>);

impl History {
    /// Reads a whole file; says how many of its lines could not be read.
    pub fn parse(file: &[u8]) -> (Self, u64) {
        let (mut history, mut skipped) = (Self::default(), 0);
        for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match decode(line) {
                Some((place, point)) => history.take(place, point),
                None => skipped += 1,
            }
        }
        (history, skipped)
    }

    /// Takes in a figure.
    pub fn take(&mut self, place: Place, point: Point) {
        self.0.entry(place).or_default().take(point);
    }

    /// Forgets paths that were not measured for a year.
    pub fn forget_before(&mut self, now: Timestamp) {
        self.0.retain(|_, series| series.newest().is_some_and(|point| day(now) - day(point.time) <= DAYS));
    }

    /// All of it as lines: what a file is made anew from.
    pub fn render(&self) -> String {
        self.0.iter().flat_map(|(place, series)| series.points().map(|point| encode(place, point))).collect()
    }
}

const SECONDS_A_DAY: i64 = 86400;

fn day(time: Timestamp) -> i64 {
    time.as_second().div_euclid(SECONDS_A_DAY)
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    time: String,
    host: String,
    path: String,
    method: Method,
    duration_seconds: f64,
    bytes: u64,
    apparent_bytes: u64,
    files: u64,
}

/// A figure as a line, with its newline.
pub fn encode(place: &Place, point: &Point) -> String {
    let line = Line {
        v: 1,
        time: point.time.to_string(),
        host: place.host.clone(),
        path: place.path.clone(),
        method: point.method,
        duration_seconds: point.duration_seconds,
        bytes: point.bytes,
        apparent_bytes: point.apparent_bytes,
        files: point.files,
    };
    // Strings and numbers always are JSON.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

fn decode(line: &[u8]) -> Option<(Place, Point)> {
    if line.len() > LINE_BYTES {
        return None;
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    let usable = line.v == 1 && line.duration_seconds >= 0.0 && !line.host.chars().any(text::is_unsafe);
    usable.then_some(())?;
    let point = Point {
        time: line.time.parse().ok()?,
        method: line.method,
        duration_seconds: line.duration_seconds,
        bytes: line.bytes,
        apparent_bytes: line.apparent_bytes,
        files: line.files,
    };
    Some((Place { host: line.host, path: line.path }, point))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(seconds: i64, bytes: u64) -> Point {
        let time = Timestamp::from_second(seconds).unwrap();
        Point {
            time,
            method: Method::Walk,
            duration_seconds: 0.5,
            bytes,
            apparent_bytes: bytes / 2,
            files: bytes / 10,
        }
    }

    fn place() -> Place {
        Place { host: "server1".to_owned(), path: "/etc \"x\"".to_owned() }
    }

    #[test]
    fn growth_is_told_where_it_is_known() {
        let mut series = Series::default();
        for (day, bytes) in [(0, 1000), (23, 500), (29, 2000), (30, 2500)] {
            series.take(point(day * 86400 + 60, bytes));
        }
        let growth = |days| series.growth(days).map(|growth| growth.bytes);
        assert_eq!((growth(1), growth(7), growth(30)), (Some(500), Some(2000), Some(1500)));
        assert_eq!(growth(31), None, "nothing is so old");
        let mut gap = Series::default();
        gap.take(point(0, 1));
        gap.take(point(20 * 86400, 2));
        assert_eq!(gap.growth(7), None, "too long ago for a week");
        assert!(gap.growth(10).is_some());
        assert_eq!(Series::default().growth(1), None);
    }

    #[test]
    fn the_last_of_a_day_stays_and_a_year_is_remembered() {
        let mut series = Series::default();
        series.take(point(100, 1));
        series.take(point(200, 2));
        series.take(point(150, 3));
        assert_eq!(series.points().map(|point| point.bytes).collect::<Vec<_>>(), [2]);
        for day in 0..1000 {
            series.take(point(day * 86400, 5));
        }
        assert_eq!(series.points().count(), 367);
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let good = encode(&place(), &point(5, 70));
        let file = format!("{good}{{\"v\":1}}\n\n\u{0}\n{}", &good[..20]);
        let (history, skipped) = History::parse(file.as_bytes());
        assert_eq!((history.0.len(), skipped), (1, 3));
        assert_eq!(history.0[&place()].newest(), Some(&point(5, 70)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(figures in proptest::collection::vec((0i64..90 * 86400, any::<u32>()), 0..50)) {
            let mut history = History::default();
            for (seconds, bytes) in figures {
                history.take(place(), point(seconds, bytes.into()));
            }
            prop_assert_eq!(History::parse(history.render().as_bytes()), (history, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = History::parse(&file);
        }
    }
}
