//! Tells what happens: every record to the stats log, and to people as bars or as plain lines.

mod plain;
mod summary;
mod terminal;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc::Receiver;

use backup_common::error_chain::ErrorChain;
use backup_common::record::{Body, PathFinished, Record, Trigger};
use jiff::Timestamp;

use crate::backup::Happening;
use crate::identity::Identity;
use crate::rsync::output::Progress;
use crate::stats_log::{StatsLog, StatsLogError};

/// The one place from which a run speaks.
pub struct Reporter {
    identity: Identity,
    log: Option<StatsLog>,
    view: Box<dyn View>,
    finished: Vec<PathFinished>,
}

/// A way of showing a run to people.
trait View {
    /// A record was written.
    fn record(&mut self, body: &Body);
    /// A path is under way.
    fn progress(&mut self, host: &str, path: &str, progress: Progress);
    /// Something that belongs to no record.
    fn warn(&mut self, message: &str);
    /// The closing table.
    fn close(&mut self, summary: &str);
}

impl Reporter {
    /// Opens the stats log; without it the backup goes on, because a backup is worth more than its record.
    pub fn open(identity: Identity, stats_file: &Path) -> Self {
        let view: Box<dyn View> = if std::io::stdout().is_terminal() {
            Box::new(terminal::Terminal::new(wants_colours()))
        } else {
            Box::new(plain::Plain)
        };
        let mut reporter = Self { identity, log: None, view, finished: Vec::new() };
        match StatsLog::open(stats_file) {
            Ok(log) => reporter.log = Some(log),
            Err(error) => reporter.complain(&error),
        }
        reporter
    }

    /// Who started the run.
    pub fn trigger(&self) -> Trigger {
        self.identity.trigger
    }

    /// Tells everything that comes until all senders are gone.
    pub fn tell_all(&mut self, happenings: &Receiver<Happening>) {
        for happening in happenings {
            match happening {
                Happening::Record(body) => self.tell(body),
                Happening::Progress { host, path, progress } => self.view.progress(&host, &path, progress),
            }
        }
    }

    /// Writes a record and shows it.
    pub fn tell(&mut self, body: Body) {
        let record = Record { time: Timestamp::now(), run_id: self.identity.run_id.clone(), body };
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(&record)) {
            self.complain(&error);
        }
        self.view.record(&record.body);
        if let Body::PathFinished(finished) = record.body {
            self.finished.push(*finished);
        }
    }

    /// Shows a warning that is no record.
    pub fn warn(&mut self, message: &str) {
        self.view.warn(message);
    }

    /// The ends of paths that were told so far.
    pub fn finished(&self) -> &[PathFinished] {
        &self.finished
    }

    /// Shows the closing table.
    pub fn close(&mut self) {
        // By host and path, so that two runs can be compared line by line.
        self.finished.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
        self.view.close(&summary::summary(&self.finished));
    }

    fn complain(&mut self, error: &StatsLogError) {
        self.view.warn(&ErrorChain(error).to_string());
    }
}

/// The rules of no-color.org, and no colours where the terminal says that it can do nothing.
fn wants_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|terminal| terminal != "dumb")
}
