//! Pure: runs for programs; docs/metrics-json.md has the schema.

use std::time::Duration;

use backup_common::record::{PathFinished, Trigger};
use serde_json::{Value, json};

use super::runs::{Run, RunHost, RunPath};
use super::select::{Selection, Wanted};
use super::table::punctuality;
use crate::outputs::status_json::{VERSION, errors, reason, stats, time};

/// The runs that were selected, the newest first.
pub fn runs(
    selection: &Selection<'_>,
    wanted: &Wanted,
    interval: Option<Duration>,
    unread: &[String],
) -> Value {
    let all = selection.runs.iter().enumerate();
    let all = all.map(|(index, one)| run(one, wanted.back + index, wanted.host.as_deref(), interval));
    json!({
        "version": VERSION,
        "asked": {"back": wanted.back, "count": wanted.count, "host": wanted.host, "since": wanted.since.map(time)},
        "found": selection.found,
        "runs": all.collect::<Vec<_>>(),
        "unread": unread,
    })
}

fn run(run: &Run, back: usize, only: Option<&str>, interval: Option<Duration>) -> Value {
    let hosts = run.hosts.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
    json!({
        "back": back,
        "id": (!run.id.is_empty()).then_some(&run.id),
        "has_records": run.has_records,
        "started": time(run.started),
        "ended": run.ended.map(time),
        "duration_seconds": run.duration_seconds,
        "trigger": run.trigger.map(Trigger::name),
        "state": run.ending.name(),
        "reason": reason(run.reason),
        "message": run.message,
        "schedule": {
            "gap_seconds": run.gap_seconds,
            "interval_seconds": interval.map(|interval| interval.as_secs_f64()),
            "verdict": run.gap_seconds.zip(interval).map(|(gap, interval)| punctuality(gap, interval)),
        },
        "hosts": hosts.map(|(name, known)| host(name, known)).collect::<Vec<_>>(),
        "snapshots": run.snapshots.iter().map(|snapshot| json!({
            "schedule": snapshot.schedule,
            "action": snapshot.action.name(),
            "name": snapshot.name,
            "complete": snapshot.complete,
            "missing": snapshot.missing,
            "message": snapshot.message,
        })).collect::<Vec<_>>(),
        "service": run.session.as_ref().map(|end| json!({
            "result": end.result,
            "exit_code": end.exit_code,
            "signal": end.signal,
            "stats": end.stats.as_ref().map(|figures| stats(figures, false)),
            "errors": errors(&end.errors),
            "messages": end.messages,
        })),
        "log": run.lines.iter().map(|line| json!({
            "time": time(line.time),
            "priority": line.priority,
            "text": line.text,
        })).collect::<Vec<_>>(),
        "log_left_out": run.lines_left_out,
    })
}

fn host(name: &str, host: &RunHost) -> Value {
    json!({
        "host": name,
        "state": host.status.map(backup_common::status::Status::name),
        "reason": reason(host.reason),
        "duration_seconds": host.duration_seconds,
        "paths": host.paths.iter().map(|(name, known)| path(name, known)).collect::<Vec<_>>(),
    })
}

fn path(name: &str, path: &RunPath) -> Value {
    let end = path.finished.as_deref();
    let of = |get: fn(&PathFinished) -> Value| end.map_or(Value::Null, get);
    json!({
        "path": name,
        "state": path.status().map_or("running", backup_common::status::Status::name),
        "reason": reason(path.reason()),
        "started": of(|end| json!(time(end.started))),
        "duration_seconds": end.filter(|_| !path.without_counts).map(|end| end.duration_seconds),
        "attempts": of(|end| json!(end.attempts)),
        "exit_code": of(|end| json!(end.exit_code)),
        "signal": of(|end| json!(end.signal)),
        "stats": end.and_then(|end| Some(stats(end.stats.as_ref()?, path.without_counts))),
        "error_count": of(|end| json!(end.error_count)),
        "warning_count": of(|end| json!(end.warning_count)),
        "errors": of(|end| errors(&end.errors)),
        "messages": end.map_or(&[][..], |end| &end.messages),
    })
}
