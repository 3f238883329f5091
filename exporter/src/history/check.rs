//! Pure: one line for a monitoring system, as the guidelines of the Monitoring Plugins have it
//! (<https://www.monitoring-plugins.org/doc/guidelines.html>).

use backup_common::status::Status;
use jiff::Timestamp;
use std::fmt::Write as _;

use crate::outputs::verdict::{self, Level, seconds_between};
use crate::state::{Phase, State};

/// Bytes of the text at most: older NSCA and NRPE carry 1024 in all.
const TEXT_BYTES: usize = 600;

/// The exit code of a level: 0 ok, 1 warning, 2 critical, 3 unknown.
pub const fn exit_code(level: Level) -> u8 {
    match level {
        Level::Ok => 0,
        Level::Warning => 1,
        Level::Critical => 2,
        Level::Unknown => 3,
    }
}

/// The line, with its newline, and the level.
///
/// `is_blind` says that neither log nor journal could be read, so that nothing can be said.
pub fn line(state: &State, is_blind: bool, now: Timestamp, max_age: f64) -> (Level, String) {
    let verdict = verdict::judge(state, now, max_age);
    let level = if is_blind { Level::Unknown } else { verdict.level };
    let mut text = if is_blind {
        "Neither the stats log nor the journal can be read.".to_owned()
    } else {
        verdict.headline
    };
    for finding in verdict.findings.iter().filter(|finding| finding.level == verdict.level && !is_blind) {
        if let Some((host, path)) = &finding.place {
            let reason = finding.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let _ = write!(text, " {host} {path}: {}{reason}", finding.text);
        }
    }
    // A bar would begin the figures.
    let text = backup_common::text::clean(&text, TEXT_BYTES).replace('|', "/");
    let line =
        format!("BACKUP {} - {text} | {}\n", level.name().to_uppercase(), figures(state, now, max_age));
    (level, line)
}

/// `label=value[unit];[warn];[crit];[min]`
fn figures(state: &State, now: Timestamp, max_age: f64) -> String {
    let interval = state.expected().interval().map(|(_, interval)| interval.as_secs_f64());
    let limit = |factor: f64| interval.map_or_else(String::new, |seconds| format!("{:.0}", seconds * factor));
    let mut figures = Vec::new();
    if let Some(start) = state.run().last_start {
        let late =
            interval.map_or_else(String::new, |seconds| format!("{:.0}", verdict::late_after(seconds)));
        figures.push(format!("last_start_age={:.0}s;;{late};0", seconds_between(start, now)));
    }
    let oldest = paths(state).filter_map(|path| path.last_success).min();
    if let Some(oldest) = oldest {
        figures.push(format!(
            "oldest_success_age={:.0}s;;{};0",
            seconds_between(oldest, now),
            limit(max_age)
        ));
    }
    if let Some(seconds) = state.run().duration_seconds {
        figures.push(format!("duration={seconds:.1}s;;;0"));
    }
    let count = |wanted: fn(Phase) -> bool| paths(state).filter(|path| wanted(path.phase())).count();
    figures.push(format!("paths={};;;0", paths(state).count()));
    figures.push(format!("warning={};0;;0", count(|phase| phase == Phase::Ended(Status::Warning))));
    figures.push(format!("failed={};;0;0", count(|phase| phase == Phase::Ended(Status::Failed))));
    figures.join(" ")
}

fn paths(state: &State) -> impl Iterator<Item = &crate::state::Path> {
    state.hosts().flat_map(|(_, host)| host.paths().map(|(_, path)| path))
}
