//! Tells what happens: every record to the stats log, and to people as bars or as plain lines.

mod journal;
mod plain;
mod progress;
mod summary;
mod terminal;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::iter::once;
use std::path::Path;
use std::sync::mpsc::Receiver;

use backup_common::config::Config;
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record, RunRefused, Trigger};
use jiff::Timestamp;

use crate::backup::Happening;
use crate::identity::Identity;
use crate::plan::Plan;
use crate::rsync::output::Progress;
use crate::stats_log::{StatsLog, StatsLogError};
use crate::{command_line, journal_socket, print};

pub use terminal::paint;

/// Most text that is kept for the closing table; when very many paths fail, each is shown with its first message.
const KEPT_MESSAGE_BYTES: usize = 256 * 1024;

/// Most that is written before it is shown, so that the screen is not behind by more.
const MOST_AT_ONCE: usize = 64;

/// The one place from which a run speaks.
pub struct Reporter {
    identity: Identity,
    log: Option<StatsLog>,
    view: Box<dyn View>,
    /// They are wanted at the end also where no table is shown.
    keeps_ends: bool,
    finished: Vec<PathFinished>,
    message_bytes: usize,
    /// Print each record on standard output too.
    json: bool,
    /// The command of each path, when people want to see it.
    commands: BTreeMap<(String, String), String>,
    verbose: bool,
    complaint: Option<String>,
}

/// What has been to the log and is to be shown.
enum Written {
    /// A record, and whether it is in the log.
    Record((Record, bool)),
    /// Something that belongs to no record.
    Nothing(Happening),
}

/// A way of showing a run to people.
trait View {
    /// A record was written.
    fn record(&mut self, body: &Body);
    /// Whether it shows how far a path is.
    fn shows_progress(&self) -> bool {
        false
    }
    /// A path is under way.
    fn progress(&mut self, _host: &str, _path: &str, _progress: Progress) {}
    /// A path has failed and will be tried again; its record comes then.
    fn postponed(&mut self, finished: &PathFinished) {
        self.warn(&plain::postponed(finished));
    }
    /// Something that belongs to no record.
    fn warn(&mut self, message: &str);
    /// Something for those who want to see more.
    fn note(&mut self, message: &str);
    /// The next record is not in the stats log.
    fn not_logged(&mut self, _record: &Record) {}
    /// Whether it shows the closing table.
    fn shows_summary(&self) -> bool {
        false
    }
    /// The closing table.
    fn close(&mut self, _summary: &str) {}
}

impl Reporter {
    /// Opens the stats log; without it the backup goes on, because a backup is worth more than its record.
    ///
    /// `json` puts the records on standard output instead of what people read.
    pub fn open(identity: Identity, stats_file: &Path, json: bool) -> Self {
        let view = view(&identity, json);
        let (finished, commands) = (Vec::new(), BTreeMap::new());
        let mut reporter = Self {
            identity,
            log: None,
            view,
            keeps_ends: false,
            finished,
            message_bytes: 0,
            json,
            commands,
            verbose: false,
            complaint: None,
        };
        match StatsLog::open(stats_file) {
            Ok(log) => reporter.log = Some(log),
            Err(error) => reporter.complain(&error),
        }
        reporter
    }

    /// Shows each command when it starts, and what was said when it ends.
    pub fn be_verbose(&mut self, plan: &Plan<'_>, config: &Config, escapes_names: bool) {
        self.verbose = true;
        for planned in &plan.hosts {
            for path in planned.paths() {
                let request = path.request(escapes_names);
                let line = command_line::of_path(&config.backup_base, planned.host, path.job, request);
                self.commands.insert((planned.host.name.to_string(), path.job.path.to_string()), line);
            }
        }
    }

    /// Whether anybody sees how far a path is.
    pub fn shows_progress(&self) -> bool {
        self.view.shows_progress()
    }

    /// Whether the commands are shown.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Who started the run.
    pub fn trigger(&self) -> Trigger {
        self.identity.trigger
    }

    /// Tells everything that comes until all senders are gone.
    ///
    /// What has gathered meanwhile is written first, then made sure on the disk at once, and then shown: so each end
    /// of a path that anybody sees is sure, and a slow disk holds up no transfer.
    pub fn tell_all(&mut self, happenings: &Receiver<Happening>) {
        while let Ok(first) = happenings.recv() {
            let gathered: Vec<_> = once(first).chain(happenings.try_iter()).take(MOST_AT_ONCE).collect();
            self.tell_gathered(gathered);
        }
    }

    fn tell_gathered(&mut self, gathered: Vec<Happening>) {
        let write = |happening| match happening {
            Happening::Record(body) => Written::Record(self.log(body)),
            other => Written::Nothing(other),
        };
        let mut written: Vec<Written> = gathered.into_iter().map(write).collect();
        if let Some(Err(error)) = self.log.as_mut().map(StatsLog::sync) {
            self.complain(&error);
            for written in &mut written {
                if let Written::Record((record, is_logged)) = written {
                    *is_logged &= !record.body.must_last();
                }
            }
        }
        for written in written {
            match written {
                Written::Record((record, is_logged)) => self.show(record, is_logged),
                Written::Nothing(Happening::Record(body)) => self.tell(body),
                Written::Nothing(Happening::Warning(message)) => self.view.warn(&message),
                Written::Nothing(Happening::Note(message)) => self.view.note(&message),
                Written::Nothing(Happening::Postponed(finished)) => self.view.postponed(&finished),
                Written::Nothing(Happening::Progress { host, path, progress }) => {
                    self.view.progress(&host, &path, progress);
                }
            }
        }
    }

    /// Writes a record and shows it.
    pub fn tell(&mut self, body: Body) {
        self.tell_gathered(vec![Happening::Record(body)]);
    }

    /// Writes a record; tells whether it is in the log.
    fn log(&mut self, body: Body) -> (Record, bool) {
        let record = Record { time: Timestamp::now(), run_id: self.identity.run_id.clone(), body };
        let appended = self.log.as_mut().map(|log| log.append(&record));
        let is_logged = matches!(appended, Some(Ok(())));
        if let Some(Err(error)) = appended {
            self.complain(&error);
        }
        (record, is_logged)
    }

    fn show(&mut self, record: Record, is_logged: bool) {
        if !is_logged {
            self.view.not_logged(&record);
        }
        if self.json {
            print::line(record.encode().trim_end());
        }
        self.view.record(&record.body);
        if self.verbose {
            self.show_more(&record.body);
        }
        if let Body::PathFinished(finished) = record.body
            && (self.keeps_ends || self.view.shows_summary())
        {
            self.keep(*finished);
        }
    }

    /// Keeps the end of a path for the closing table; all of its messages are in the log.
    fn keep(&mut self, mut finished: PathFinished) {
        if self.message_bytes > KEPT_MESSAGE_BYTES {
            finished.messages.truncate(1);
        }
        self.message_bytes += finished.messages.iter().map(String::len).sum::<usize>();
        self.finished.push(finished);
    }

    /// Shows a warning that is no record.
    pub fn warn(&mut self, message: &str) {
        self.view.warn(message);
    }

    /// From now on the ends of paths are kept for [`Self::finished`].
    pub fn keep_ends(&mut self) {
        self.keeps_ends = true;
    }

    /// The ends of paths that were told so far.
    pub fn finished(&self) -> &[PathFinished] {
        &self.finished
    }

    /// Shows the closing table, where anybody sees it.
    pub fn close(&mut self) {
        if !self.view.shows_summary() {
            return;
        }
        // By host and path, so that two runs can be compared line by line.
        self.finished.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
        self.view.close(&summary::summary(&self.finished));
    }

    fn show_more(&mut self, body: &Body) {
        match body {
            Body::PathStarted(path) => {
                if let Some(command) = self.commands.get(&(path.host.clone(), path.path.clone())) {
                    self.view.note(&format!("{} {}: {command}", path.host, path.path));
                }
            }
            Body::PathFinished(path) => {
                for message in &path.messages {
                    self.view.note(&format!("{} {}: {message}", path.host, path.path));
                }
            }
            _ => {}
        }
    }

    /// Says it once: a full disk fails each of some thousand records in the same way.
    fn complain(&mut self, error: &StatsLogError) {
        let message = ErrorChain(error).to_string();
        if self.complaint.as_ref() != Some(&message) {
            self.view.warn(&message);
            self.complaint = Some(message);
        }
    }
}

fn view(identity: &Identity, json: bool) -> Box<dyn View> {
    if !json && std::io::stdout().is_terminal() {
        return Box::new(terminal::Terminal::new(wants_colours()));
    }
    if let Some(journal) = journal(&identity.run_id) {
        return Box::new(journal);
    }
    if json { Box::new(plain::WarningsOnly) } else { Box::new(plain::Plain) }
}

/// The journal, if this process was started with its output there.
fn journal(run_id: &str) -> Option<journal::Journal> {
    let connected = journal_socket::is_connected();
    connected.then(|| journal::Journal::new(Path::new(journal_socket::SOCKET), run_id).ok())?
}

/// Tells that there is no run because of its configuration; where its log would be is not known.
pub fn refuse_config(problems: &str) {
    match journal(&Identity::of_this_process().run_id) {
        Some(mut journal) => {
            // Each problem by itself, and one record for the run that is not.
            let (problems, sum) = problems.rsplit_once('\n').unwrap_or(("", problems));
            problems.lines().for_each(|problem| journal.error(problem));
            let refused = RunRefused { reason: Reason::ConfigInvalid, message: sum.to_owned() };
            journal.record(&Body::RunRefused(refused));
        }
        None => print::error_line(problems),
    }
}

/// The rules of no-color.org, and no colours where the terminal says that it can do nothing.
pub fn wants_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|terminal| terminal != "dumb")
}
