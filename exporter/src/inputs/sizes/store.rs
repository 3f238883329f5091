//! Edge: remembers sizes in the state directory, so that they are there at once after a restart.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use jiff::Timestamp;
use tracing::{info, warn};

use super::Targets;
use crate::event::Event;
use crate::event::sizes::{Place, SizesEvent};
use crate::size_history::{History, Point, encode};

/// Name of the file in the state directory.
pub const FILE: &str = "sizes.jsonl";

/// Lines that come to the file, beside twice what it needs, before it is made anew.
const SLACK: usize = 1000;

/// The file and what is in it.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    history: History,
    lines: usize,
    /// What is measured is not written.
    read_only: bool,
    /// What was last said about the file, so that it is said once.
    trouble: String,
}

impl Store {
    /// Reads what was remembered; without a file, nothing was.
    pub fn open(state_directory: &Path) -> Self {
        let file = state_directory.join(FILE);
        let mut store =
            Self { file, history: History::default(), lines: 0, read_only: false, trouble: String::new() };
        match fs::read(&store.file) {
            Ok(text) => {
                let (history, skipped) = History::parse(&text);
                if skipped > 0 {
                    info!(file = %store.file.display(), skipped, "lines of the size history could not be read");
                }
                store.lines = text.split(|byte| *byte == b'\n').count();
                store.history = history;
                if !text.is_empty() && text.last() != Some(&b'\n') {
                    // The next line must not be joined with what a crash has left.
                    store.lines = usize::MAX;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => store.complain("read", &error),
        }
        store
    }

    /// Leaves the file as it is: it belongs to the exporter.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What is remembered, as events.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let all = self.history.0.iter();
        all.flat_map(|(place, series)| {
            let remembered = |point: &Point| Event::Sizes(SizesEvent::Remembered(place.clone(), *point));
            series.points().map(remembered).collect::<Vec<_>>()
        })
    }

    /// How long ago the oldest of the targets was measured; none when one never was.
    pub fn age(&self, targets: &Targets, now: Timestamp) -> Option<Duration> {
        let ages = targets.directories.iter().map(|(place, _)| {
            let measured = self.history.0.get(place)?.newest()?.time;
            Duration::try_from(now.duration_since(measured)).ok()
        });
        ages.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether a path was ever measured.
    pub fn knows(&self, place: &Place) -> bool {
        self.history.0.contains_key(place)
    }

    /// Remembers a figure. What can not be written is said once; the figure is shown all the same.
    pub fn remember(&mut self, place: &Place, point: Point) {
        self.history.take(place.clone(), point);
        if self.read_only {
            return;
        }
        let needed: usize = self.history.0.values().map(|series| series.points().count()).sum();
        let written = if self.lines > 2 * needed + SLACK {
            self.history.forget_before(point.time);
            self.make_anew()
        } else {
            self.append(&encode(place, &point))
        };
        match written {
            Ok(()) => self.trouble.clear(),
            Err(error) => self.complain("write", &error),
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if let Some(directory) = self.file.parent() {
            // systemd makes it (StateDirectory=); by hand nobody may have.
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).open(&self.file)?;
        file.write_all(line.as_bytes())?;
        self.lines += 1;
        Ok(())
    }

    /// Written aside and renamed, so that there is a whole file at every moment.
    fn make_anew(&mut self) -> io::Result<()> {
        let text = self.history.render();
        let aside = self.file.with_extension("new");
        let mut file = fs::File::create(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        self.lines = text.lines().count();
        Ok(())
    }

    fn complain(&mut self, verb: &str, error: &io::Error) {
        let text = format!("cannot {verb} {}: {}", self.file.display(), ErrorChain(error));
        if self.trouble != text {
            warn!(error = text, "sizes are not remembered");
            self.trouble = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size_history::Method;

    fn point(seconds: i64) -> Point {
        let time = Timestamp::from_second(seconds).unwrap();
        Point { time, method: Method::Tree, duration_seconds: 1.0, bytes: 10, apparent_bytes: 5, files: 1 }
    }

    #[test]
    fn figures_come_back_and_the_file_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { host: "a".to_owned(), path: "/x".to_owned() };
        let mut store = Store::open(directory.path());
        for seconds in 0..5000 {
            store.remember(&place, point(seconds));
        }
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(text.lines().count() < 1500);
        // A crash in the middle of a line costs this line alone.
        fs::write(directory.path().join(FILE), &text[..text.len() - 5]).unwrap();
        let mut store = Store::open(directory.path());
        store.remember(&place, point(90_000));
        let store = Store::open(directory.path());
        let times: Vec<_> = store.history.0[&place].points().map(|point| point.time.as_second()).collect();
        assert_eq!(times.len(), 2);
        assert_eq!(times[1], 90_000);
        let targets = Targets { base: "/".into(), directories: vec![(place, "x".into())] };
        assert_eq!(store.age(&targets, point(90_010).time), Some(Duration::from_secs(10)));
    }

    #[test]
    fn without_the_directory_it_goes_on() {
        let mut store = Store::open(Path::new("/nonexistent"));
        store.remember(&Place { host: "a".to_owned(), path: "/x".to_owned() }, point(1));
        assert_eq!(store.events().count(), 1);
    }
}
