//! Plain lines, for a log or a pipe.

use std::fmt::Write;

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Snapshot, SnapshotAction, StatusCounts};
use backup_common::units;

use super::View;
use crate::print;

/// Prints a line for each record that a person would miss.
pub struct Plain;

impl View for Plain {
    fn record(&mut self, body: &Body) {
        if let Some(line) = line(body) {
            print::line(&line);
        }
    }

    fn warn(&mut self, message: &str) {
        print::error_line(message);
    }

    fn note(&mut self, message: &str) {
        print::line(message);
    }

    fn shows_summary(&self) -> bool {
        true
    }

    fn close(&mut self, summary: &str) {
        print::line(&format!("\n{}", summary.trim_end()));
    }
}

/// Leaves standard output to somebody else.
pub struct WarningsOnly;

impl View for WarningsOnly {
    fn record(&mut self, _body: &Body) {}

    fn warn(&mut self, message: &str) {
        print::error_line(message);
    }

    fn note(&mut self, message: &str) {
        print::error_line(message);
    }
}

/// A record in one line; none for those that only machines need.
pub fn line(body: &Body) -> Option<String> {
    Some(match body {
        Body::RunStarted(run) => format!(
            "backup of {} with {} started",
            units::counted(run.hosts, "host"),
            units::counted(run.paths, "path")
        ),
        Body::RunRefused(run) => format!("backup refused: {} ({})", run.message, run.reason),
        Body::PathStarted(path) => format!("{} {}: started", path.host, path.path),
        Body::PathFinished(path) => path_line(path),
        Body::RunFinished(run) => format!(
            "backup finished: {} after {}; paths: {}",
            run.status,
            units::duration(run.duration_seconds),
            counts(&run.paths)
        ),
        Body::Snapshot(snapshot) => return snapshot_line(snapshot),
        Body::PathProgress(_) | Body::HostFinished(_) => return None,
    })
}

/// What was done; nothing where nothing was to do.
fn snapshot_line(snapshot: &Snapshot) -> Option<String> {
    let name = snapshot.name.as_deref().unwrap_or(&snapshot.schedule);
    let why = snapshot.message.as_deref().unwrap_or_default();
    Some(match snapshot.action {
        SnapshotAction::NotDue => return None,
        SnapshotAction::Failed => format!("snapshot {name}: failed: {why}"),
        SnapshotAction::Created if !snapshot.missing.is_empty() => {
            let missing = units::counted(snapshot.missing.len().try_into().unwrap_or(u64::MAX), "path");
            format!("snapshot {name}: created without {missing}, such as {}", snapshot.missing[0])
        }
        SnapshotAction::Created => format!("snapshot {name}: created"),
        action => format!("snapshot {name}: {action}: {why}"),
    })
}

/// What is said about a path that will be tried again.
pub fn postponed(path: &PathFinished) -> String {
    let message = path.messages.first().map(|message| format!(": {message}")).unwrap_or_default();
    format!(
        "warning: {} {}: {} ({}), tried again at the end of the run{message}",
        path.host, path.path, path.status, path.reason
    )
}

/// The end of a path in one line.
pub fn path_line(path: &PathFinished) -> String {
    let mut line = format!("{} {}: {}", path.host, path.path, path.status);
    if path.reason != Reason::Ok {
        let _ = write!(line, " ({})", path.reason);
    }
    if let Some(stats) = &path.stats {
        let _ = write!(
            line,
            ", {} of {}, {} transferred, {} deleted",
            units::counted(stats.files, "file"),
            units::bytes(stats.source_size_bytes),
            units::bytes(stats.transferred_size_bytes),
            stats.files_deleted
        );
    }
    line + ", " + &units::duration(path.duration_seconds)
}

/// `3 success, 1 failed`
pub fn counts(counts: &StatusCounts) -> String {
    let parts: Vec<_> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    parts.join(", ")
}
