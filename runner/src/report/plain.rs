//! Plain lines, for a log or a pipe.

use std::fmt::Write;

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, StatusCounts};
use backup_common::units;

use super::View;
use crate::print;
use crate::rsync::output::Progress;

/// Prints a line for each record that a person would miss.
pub struct Plain;

impl View for Plain {
    fn record(&mut self, body: &Body) {
        if let Some(line) = line(body) {
            print::line(&line);
        }
    }

    fn progress(&mut self, _host: &str, _path: &str, _progress: Progress) {}

    fn warn(&mut self, message: &str) {
        print::error_line(message);
    }

    fn note(&mut self, message: &str) {
        print::line(message);
    }

    fn close(&mut self, summary: &str) {
        print::line(&format!("\n{}", summary.trim_end()));
    }
}

/// Leaves standard output to somebody else.
pub struct WarningsOnly;

impl View for WarningsOnly {
    fn record(&mut self, _body: &Body) {}

    fn progress(&mut self, _host: &str, _path: &str, _progress: Progress) {}

    fn warn(&mut self, message: &str) {
        print::error_line(message);
    }

    fn note(&mut self, message: &str) {
        print::error_line(message);
    }

    fn close(&mut self, _summary: &str) {}
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
        Body::PathProgress(_) | Body::HostFinished(_) | Body::Snapshot(_) => return None,
    })
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
