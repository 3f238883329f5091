//! Bars for what is running, and a line for what has ended.

use std::collections::HashMap;
use std::time::Duration;

use backup_common::record::{Body, PathFinished, SnapshotAction};
use backup_common::status::Status;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{self, Totals};
use super::{View, plain};
use crate::print;
use crate::rsync::output::Progress;

/// The line in the colour of its status, if it has one.
pub fn paint(status: Option<Status>, line: &str) -> String {
    let colour = match status {
        Some(Status::Success) => "32",
        Some(Status::Warning | Status::Skipped) => "33",
        Some(Status::Failed) => "31",
        None => return line.to_owned(),
    };
    format!("\u{1b}[{colour}m{line}\u{1b}[0m")
}

/// One bar for each running path.
pub struct Terminal {
    bars: MultiProgress,
    running: HashMap<(String, String), ProgressBar>,
    totals: Totals,
    /// Below the bars of the paths, in a run that has several.
    total_bar: Option<ProgressBar>,
    colours: bool,
}

impl Terminal {
    /// Bars on standard error, so that standard output can be kept.
    pub fn new(colours: bool) -> Self {
        Self {
            bars: MultiProgress::new(),
            running: HashMap::new(),
            totals: Totals::default(),
            total_bar: None,
            colours,
        }
    }

    /// Prints above the bars, or as it is where no bars can be shown.
    fn print(&self, status: Option<Status>, line: &str) {
        let line = self.paint(status, line);
        if self.bars.is_hidden() || self.bars.println(&line).is_err() {
            print::line(&line);
        }
    }

    fn paint(&self, status: Option<Status>, line: &str) -> String {
        paint(status.filter(|_| self.colours), line)
    }

    fn begin_bar(&mut self, host: &str, path: &str) {
        let bar = ProgressBar::new(100).with_style(style());
        let bar = match &self.total_bar {
            Some(total) => self.bars.insert_before(total, bar),
            None => self.bars.add(bar),
        };
        bar.set_prefix(format!("{host} {path}"));
        bar.enable_steady_tick(Duration::from_millis(250));
        self.running.insert((host.to_owned(), path.to_owned()), bar);
    }

    fn end_bar(&mut self, host: &str, path: &str) {
        if let Some(bar) = self.running.remove(&(host.to_owned(), path.to_owned())) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn begin_totals(&mut self, paths: u64) {
        self.totals = Totals::of(paths);
        if paths > 1 {
            let bar = self.bars.add(ProgressBar::new(100).with_style(style()));
            bar.set_prefix("all paths");
            bar.enable_steady_tick(Duration::from_millis(250));
            self.total_bar = Some(bar);
        }
    }

    fn show_totals(&self) {
        if let Some(bar) = &self.total_bar {
            bar.set_position(self.totals.percent());
            bar.set_message(self.totals.text(bar.elapsed()));
        }
    }

    fn end_totals(&mut self) {
        if let Some(bar) = self.total_bar.take() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

impl View for Terminal {
    fn record(&mut self, body: &Body) {
        let status = match body {
            // A terminal without cursor movements (TERM=dumb) shows no bars.
            Body::PathStarted(_) if self.bars.is_hidden() => None,
            Body::PathStarted(path) => {
                // The bar says it.
                self.begin_bar(&path.host, &path.path);
                return;
            }
            Body::PathFinished(path) => {
                self.end_bar(&path.host, &path.path);
                let bytes = path.stats.as_ref().map(|stats| stats.transferred_size_bytes);
                self.totals.ended(&(path.host.clone(), path.path.clone()), bytes);
                self.show_totals();
                Some(path.status)
            }
            Body::RunStarted(run) => {
                self.begin_totals(run.paths);
                None
            }
            Body::RunFinished(run) => {
                self.end_totals();
                Some(run.status)
            }
            Body::RunRefused(_) => Some(Status::Failed),
            Body::Snapshot(snapshot) if snapshot.action == SnapshotAction::Failed => Some(Status::Warning),
            _ => None,
        };
        if let Some(line) = plain::line(body) {
            self.print(status, &line);
        }
    }

    fn shows_progress(&self) -> bool {
        true
    }

    fn progress(&mut self, host: &str, path: &str, progress: Progress) {
        if let Some(bar) = self.running.get(&(host.to_owned(), path.to_owned())) {
            bar.set_position(u64::from(progress.percent));
            bar.set_message(progress::of_path(progress, bar.elapsed()));
            self.totals.progress((host.to_owned(), path.to_owned()), progress.bytes);
            self.show_totals();
        }
    }

    fn postponed(&mut self, finished: &PathFinished) {
        self.end_bar(&finished.host, &finished.path);
        self.totals.postponed(&(finished.host.clone(), finished.path.clone()));
        self.warn(&plain::postponed(finished));
    }

    fn warn(&mut self, message: &str) {
        self.print(Some(Status::Warning), message);
    }

    fn note(&mut self, message: &str) {
        self.print(None, message);
    }

    fn shows_summary(&self) -> bool {
        true
    }

    fn close(&mut self, summary: &str) {
        let _ = self.bars.clear();
        print::line(&format!("\n{}", summary.trim_end()));
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:30!} {bar:24} {pos:>3}% {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
