//! Pure: is everything backed up? The answer in one level and one sentence, with all that speaks against it.
//!
//! The limits are those of the alerts in `dashboards/rules.yml`: they follow the schedule's own interval.

use std::time::Duration;

use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_common::units;
use jiff::{SignedDuration, Timestamp};

use crate::event::Input;
use crate::state::{Path, Phase, State};

/// A run is late after this many intervals and [`GRACE`]: timers have accuracy and a random delay.
const LATE: f64 = 1.1;
/// Seconds that a run may come late, whatever its interval.
const GRACE: f64 = 600.0;
/// Intervals that the newest good copy of a path may be old.
pub const MAX_AGE: f64 = 2.5;

/// How it stands, from best to worst; as monitoring plugins have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is well.
    Ok,
    /// Nothing can be said.
    Unknown,
    /// Somebody should look at it.
    Warning,
    /// Something is not backed up.
    Critical,
}

impl Level {
    /// The word for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Host and path that it is about; none when it is about the runs.
    pub place: Option<(String, String)>,
    /// Why, if there is a reason of the closed list.
    pub reason: Option<Reason>,
    /// In words.
    pub text: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of the findings.
    pub level: Level,
    /// In one sentence.
    pub headline: String,
    /// What speaks against it, the worst first; else about the runs first, then by host and path.
    pub findings: Vec<Finding>,
}

/// Judges what is known at a time.
///
/// `max_age` is how many intervals old the newest good copy of a path may be; [`MAX_AGE`] as in the alerts.
pub fn judge(state: &State, now: Timestamp, max_age: f64) -> Verdict {
    let mut findings = of_runs(state, now);
    let interval = state.expected().interval().map(|(_, interval)| interval);
    for (host, path_name, path) in paths(state) {
        if let Some((level, reason, text)) = of_path(state, path, interval, now, max_age) {
            let place = Some((host.to_owned(), path_name.to_owned()));
            findings.push(Finding { level, place, reason, text });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let level = findings.first().map_or(Level::Ok, |finding| finding.level);
    Verdict { level, headline: headline(state, level, &findings), findings }
}

/// By how many seconds a run is overdue, if one is: as the alert `BackupMissed` has it.
pub fn overdue_seconds(state: &State, now: Timestamp) -> Option<f64> {
    let run = state.run();
    let interval = state.expected().interval()?.1.as_secs_f64();
    // Where no run is known, none is late before the exporter has waited for one.
    let waiting_since = run.last_start.or_else(|| {
        let started = SignedDuration::try_from_secs_f64(state.process()?.start_time_seconds).ok()?;
        Timestamp::UNIX_EPOCH.checked_add(started).ok()
    })?;
    let since = seconds_between(waiting_since, now);
    (run.phase != Phase::Running && since > late_after(interval)).then_some(since - interval)
}

/// Seconds after the last start at which the next one is late.
pub fn late_after(interval: f64) -> f64 {
    LATE * interval + GRACE
}

fn of_runs(state: &State, now: Timestamp) -> Vec<Finding> {
    let run = state.run();
    let mut findings = Vec::new();
    let mut found = |level, reason, text: String| findings.push(Finding { level, place: None, reason, text });
    let log_is_read = state.inputs().any(|(input, health)| input == Input::Stats && health.up);
    // Lines of the older system tell of paths alone.
    if run.phase == Phase::Never && !is_known(state) {
        if log_is_read {
            found(Level::Critical, None, "No run is known.".to_owned());
        } else {
            found(Level::Unknown, None, "The stats log can not be read, and no run is known.".to_owned());
        }
    }
    if let Some(seconds) = overdue_seconds(state, now) {
        let text = format!("A run is overdue by {}.", units::duration(seconds));
        found(Level::Critical, None, text);
    }
    let has_path = |status| paths(state).any(|(_, _, path)| path.phase() == Phase::Ended(status));
    let level = match run.phase {
        Phase::Ended(Status::Failed) if !has_path(Status::Failed) => Some(Level::Critical),
        Phase::Ended(Status::Warning)
            if ![Status::Warning, Status::Failed, Status::Skipped].map(has_path).contains(&true) =>
        {
            Some(Level::Warning)
        }
        _ => None,
    };
    if let Some(level) = level {
        let how = if level == Level::Critical { "failed" } else { "ended with a warning" };
        let cause = run.reason.map_or("", Reason::cause);
        found(level, run.reason, format!("The last run {how}. {cause}").trim_end().to_owned());
    }
    if let Some(reason) = run.refused_reason.filter(|_| run.last_refused > run.last_start.max(run.last_end)) {
        found(Level::Warning, Some(reason), format!("The last start was refused. {}", reason.cause()));
    }
    findings
}

type PathFinding = (Level, Option<Reason>, String);

fn of_path(
    state: &State,
    path: &Path,
    interval: Option<Duration>,
    now: Timestamp,
    max_age: f64,
) -> Option<PathFinding> {
    let Some(last) = &path.last else {
        // Of a unit without records nobody knows which paths it has backed up.
        let is_told_of = is_known(state) && !path.is_running();
        return is_told_of.then(|| (Level::Warning, None, "It was never backed up.".to_owned()));
    };
    let age = path.last_success.map(|time| seconds_between(time, now));
    let limit = interval.map(|interval| max_age * interval.as_secs_f64());
    let too_old = match (age, limit) {
        (Some(age), Some(limit)) if age > limit => Some(age),
        _ => None,
    };
    let aged = |age: f64| format!("Its newest good copy is {} old.", units::duration(age));
    let level = match last.status {
        Status::Failed => Level::Critical,
        Status::Warning => Level::Warning,
        Status::Skipped if too_old.is_some() => Level::Warning,
        Status::Success if too_old.is_some() => Level::Critical,
        Status::Skipped | Status::Success => return None,
    };
    let cause = if last.status == Status::Success { "" } else { last.reason.cause() };
    let text = [cause.to_owned(), too_old.map(aged).unwrap_or_default()];
    let text = text.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    Some((level, (last.reason != Reason::Ok).then_some(last.reason), text))
}

/// Whether anything tells of single paths.
fn is_known(state: &State) -> bool {
    paths(state).any(|(_, _, path)| path.last.is_some() || path.is_running())
}

fn headline(state: &State, level: Level, findings: &[Finding]) -> String {
    let of = |level| findings.iter().filter(move |finding| finding.level == level);
    let about_runs = findings.iter().find(|finding| finding.level == level && finding.place.is_none());
    let bad = of(level).filter(|finding| finding.place.is_some()).count();
    let all = units::counted(paths(state).count() as u64, "path");
    let share = match level {
        _ if bad == 0 => String::new(),
        Level::Critical => {
            format!("{bad} of {all} {} no good backup.", if bad == 1 { "has" } else { "have" })
        }
        _ => format!("{bad} of {all} {} a look.", if bad == 1 { "needs" } else { "need" }),
    };
    match (level, about_runs) {
        (Level::Ok, _) => "Everything is backed up.".to_owned(),
        (_, Some(finding)) if share.is_empty() => finding.text.clone(),
        (_, Some(finding)) => format!("{} {share}", finding.text),
        (_, None) => share,
    }
}

fn paths(state: &State) -> impl Iterator<Item = (&str, &str, &Path)> {
    state.hosts().flat_map(|(host, known)| known.paths().map(move |(path, known)| (host, path, known)))
}

/// Never negative: a clock that was set back says nothing.
pub fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}
