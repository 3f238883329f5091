//! Entries of the systemd journal: a sentence for people, and the record's fields for machines.

use std::path::Path;

use backup_common::journal_fields as fields;
use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record, Snapshot, SnapshotAction};
use backup_common::status::Status;
use backup_common::{text, units};

use super::plain::Plain;
use super::{View, plain};
use crate::journal_socket::{Entry, JournalSocket, Priority};
use crate::rsync::messages;

/// Name under which the entries stand, as `journalctl -t` takes it.
const IDENTIFIER: &str = "backup-runner";

/// Longest sentence; a path of a configuration can be long.
const SENTENCE_BYTES: usize = 8192;

/// Sends each record as an entry; where journald is gone, plain lines take its place.
pub struct Journal {
    socket: JournalSocket,
    run_id: String,
    unlogged: Option<String>,
}

impl Journal {
    /// Entries for the journald at this socket.
    pub fn new(socket: &Path, run_id: &str) -> std::io::Result<Self> {
        Ok(Self { socket: JournalSocket::new(socket)?, run_id: run_id.to_owned(), unlogged: None })
    }

    fn entry(&self, priority: Priority, message: &str) -> Entry {
        Entry::default()
            .field("MESSAGE", &text::clean(message, SENTENCE_BYTES))
            .field("PRIORITY", &(priority as u8).to_string())
            .field("SYSLOG_IDENTIFIER", IDENTIFIER)
            .field(fields::RUN_ID, &self.run_id)
    }

    /// Something that is wrong and belongs to no record.
    pub fn error(&mut self, message: &str) {
        let entry = self.entry(Priority::Error, message);
        if self.socket.send(&entry).is_err() {
            Plain.warn(message);
        }
    }

    /// Each message of a path, behind the entry of its end.
    fn messages(&mut self, path: &PathFinished) {
        for message in &path.messages {
            let entry = self
                .entry(message_priority(path.status, message), message)
                .field(fields::HOST, &path.host)
                .field(fields::PATH, &path.path);
            if self.socket.send(&entry).is_err() {
                Plain.note(&format!("{} {}: {message}", path.host, path.path));
            }
        }
    }
}

impl View for Journal {
    fn record(&mut self, body: &Body) {
        let mut entry = self.entry(priority(body), &sentence(body)).field(fields::RECORD, body.type_name());
        for (name, value) in fields_of(body) {
            entry = entry.field(name, &value);
        }
        if let Some(line) = self.unlogged.take() {
            entry = entry.field(fields::RECORD_JSON, line.trim_end());
        }
        if self.socket.send(&entry).is_err() {
            Plain.record(body);
        }
        if let Body::PathFinished(path) = body {
            self.messages(path);
        }
    }

    fn not_logged(&mut self, record: &Record) {
        self.unlogged = Some(record.encode());
    }

    fn warn(&mut self, message: &str) {
        let entry = self.entry(Priority::Warning, message);
        if self.socket.send(&entry).is_err() {
            Plain.warn(message);
        }
    }

    fn note(&mut self, message: &str) {
        let entry = self.entry(Priority::Debug, message);
        if self.socket.send(&entry).is_err() {
            Plain.note(message);
        }
    }
}

fn of_status(status: Status) -> Priority {
    match status {
        Status::Success | Status::Skipped => Priority::Info,
        Status::Warning => Priority::Warning,
        Status::Failed => Priority::Error,
    }
}

fn priority(body: &Body) -> Priority {
    match body {
        Body::RunStarted(_) | Body::PathStarted(_) => Priority::Info,
        Body::PathProgress(_) => Priority::Debug,
        Body::RunRefused(run) if run.reason == Reason::Locked => Priority::Warning,
        Body::RunRefused(_) => Priority::Error,
        Body::PathFinished(path) => of_status(path.status),
        Body::HostFinished(host) => of_status(host.status),
        Body::RunFinished(run) => of_status(run.status),
        Body::Snapshot(snapshot) => match snapshot.action {
            SnapshotAction::Failed => Priority::Error,
            SnapshotAction::Kept => Priority::Warning,
            SnapshotAction::Created if snapshot.complete == Some(false) => Priority::Warning,
            SnapshotAction::NotDue => Priority::Debug,
            SnapshotAction::Created | SnapshotAction::Deleted => Priority::Info,
        },
    }
}

/// A line that only explains is no error, and nothing about a path that was left alone is one.
fn message_priority(status: Status, message: &str) -> Priority {
    match status {
        Status::Success | Status::Skipped => Priority::Info,
        Status::Failed | Status::Warning if messages::is_warning(message) => Priority::Warning,
        Status::Warning => Priority::Warning,
        Status::Failed => Priority::Error,
    }
}

fn sentence(body: &Body) -> String {
    match body {
        Body::PathProgress(path) => format!(
            "{} {}: {} % done, {}, {}",
            path.host,
            path.path,
            path.percent.round(),
            units::counted(path.files, "file"),
            units::bytes(path.bytes)
        ),
        Body::HostFinished(host) => {
            let reason =
                if host.reason == Reason::Ok { String::new() } else { format!(" ({})", host.reason) };
            let time = units::duration(host.duration_seconds);
            format!(
                "{}: {}{reason} after {time}; paths: {}",
                host.host,
                host.status,
                plain::counts(&host.paths)
            )
        }
        Body::PathFinished(path) if path.status != Status::Success => {
            format!("{}. {} {}", plain::path_line(path), path.reason.cause(), path.reason.remedy())
        }
        Body::Snapshot(snapshot) => snapshot_sentence(snapshot),
        body => plain::line(body).unwrap_or_else(|| body.type_name().to_owned()),
    }
}

fn snapshot_sentence(snapshot: &Snapshot) -> String {
    let mut out = format!("snapshot {}: {}", snapshot.schedule, snapshot.action);
    for part in [&snapshot.name, &snapshot.message].into_iter().flatten() {
        out.push_str(": ");
        out.push_str(part);
    }
    if !snapshot.missing.is_empty() {
        out.push_str("; missing: ");
        out.push_str(&snapshot.missing.join(", "));
    }
    out
}

fn fields_of(body: &Body) -> Vec<(&'static str, String)> {
    let host_and_path =
        |host: &str, path: &str| vec![(fields::HOST, host.to_owned()), (fields::PATH, path.to_owned())];
    let verdict = |status: Status, reason: Reason| {
        [(fields::STATUS, status.to_string()), (fields::REASON, reason.to_string())]
    };
    match body {
        Body::RunStarted(_) | Body::Snapshot(_) => Vec::new(),
        Body::RunRefused(run) => vec![(fields::REASON, run.reason.to_string())],
        Body::PathStarted(path) => host_and_path(&path.host, &path.path),
        Body::PathProgress(path) => host_and_path(&path.host, &path.path),
        Body::PathFinished(path) => {
            let mut out = host_and_path(&path.host, &path.path);
            out.extend(verdict(path.status, path.reason));
            out
        }
        Body::HostFinished(host) => {
            let mut out = vec![(fields::HOST, host.host.clone())];
            out.extend(verdict(host.status, host.reason));
            out
        }
        Body::RunFinished(run) => verdict(run.status, run.reason).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use backup_common::record::RunRefused;
    use jiff::Timestamp;

    use super::*;

    fn ended(status: Status, reason: Reason, messages: &[&str]) -> Body {
        Body::PathFinished(Box::new(PathFinished {
            host: "server1".to_owned(),
            path: "/srv/a b".to_owned(),
            dest: "/b/server1/srv".to_owned(),
            status,
            reason,
            exit_code: Some(23),
            signal: None,
            attempts: 1,
            started: Timestamp::UNIX_EPOCH,
            duration_seconds: 1.5,
            stats: None,
            error_count: 1,
            warning_count: 0,
            errors: BTreeMap::new(),
            messages: messages.iter().map(ToString::to_string).collect(),
        }))
    }

    /// The entries that a journald at a socket of our own gets.
    fn entries(tell: impl FnOnce(&mut Journal)) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("bound");
        journald.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
        tell(&mut Journal::new(&path, "r1").expect("a socket"));
        let mut entries = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            let count = match journald.recv(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return entries,
            };
            let text = String::from_utf8(buffer[..count].to_vec()).expect("text");
            let fields = text.lines().map(|line| line.split_once('=').expect("a field"));
            entries.push(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        }
    }

    #[test]
    fn a_failed_path_is_an_error_with_all_fields_and_its_messages() {
        let hostile = "rsync: [sender] opendir \"/srv\u{1b}[2J\" failed: Permission denied (13)\nPRIORITY=7";
        let got = entries(|journal| {
            journal.record(&ended(Status::Failed, Reason::PermissionDenied, &[hostile, "a banner"]));
        });
        let [end, error, banner] = &got[..] else { panic!("{got:#?}") };
        for (name, value) in [
            ("PRIORITY", "3"),
            ("SYSLOG_IDENTIFIER", "backup-runner"),
            ("BACKUP_RECORD", "path_finished"),
            ("BACKUP_RUN_ID", "r1"),
            ("BACKUP_HOST", "server1"),
            ("BACKUP_PATH", "/srv/a b"),
            ("BACKUP_STATUS", "failed"),
            ("BACKUP_REASON", "permission_denied"),
        ] {
            assert_eq!(end.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(
            end["MESSAGE"].starts_with("server1 /srv/a b: failed (permission_denied), 1.5 s. "),
            "{end:?}"
        );
        assert_eq!((error["PRIORITY"].as_str(), banner["PRIORITY"].as_str()), ("3", "4"));
        assert_eq!(
            error["MESSAGE"],
            "rsync: [sender] opendir \"/srv\\u1b[2J\" failed: Permission denied (13)\\uaPRIORITY=7"
        );
        assert_eq!(error["BACKUP_HOST"], "server1");
        assert!(!error.contains_key("BACKUP_RECORD"), "a message is no record");
    }

    #[test]
    fn priorities_follow_the_status() {
        for (status, reason, expected) in [
            (Status::Success, Reason::Ok, "6"),
            (Status::Skipped, Reason::Disabled, "6"),
            (Status::Warning, Reason::VanishedFiles, "4"),
            (Status::Failed, Reason::Timeout, "3"),
        ] {
            let got = entries(|journal| journal.record(&ended(status, reason, &["rsync: x"])));
            assert_eq!(got.len(), 2);
            assert!(got.iter().all(|entry| entry["PRIORITY"] == expected), "{status}: {got:?}");
        }
    }

    #[test]
    fn a_record_that_is_not_in_the_log_stands_whole_in_its_entry() {
        let body = Body::RunRefused(RunRefused { reason: Reason::NoSpace, message: "m".to_owned() });
        let record = Record { time: Timestamp::UNIX_EPOCH, run_id: "r1".to_owned(), body };
        let got = entries(|journal| {
            journal.not_logged(&record);
            journal.record(&record.body);
            journal.record(&record.body);
        });
        assert_eq!(Record::decode(got[0]["BACKUP_RECORD_JSON"].as_bytes()), Ok(record));
        assert!(!got[1].contains_key("BACKUP_RECORD_JSON"));
        assert_eq!((got[0]["PRIORITY"].as_str(), got[0]["BACKUP_REASON"].as_str()), ("3", "no_space"));
    }
}
