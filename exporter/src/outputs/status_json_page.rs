//! The state as JSON, with what the page shows.
//!
//! Times are RFC 3339 in UTC, sizes bytes, durations seconds; what is not known is `null`.

use backup_common::reason::Reason;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::page::standing::{Standing, allowed_seconds, backed_up};
use super::page::verdict::{Verdict, overdue_seconds};
use crate::state::{Messages, Notice, Path, State};

/// All that the page shows, but for the outcomes before the last.
pub fn status(state: &State, now: Timestamp) -> Value {
    let verdict = Verdict::of(state, now);
    let allowed = allowed_seconds(state);
    let hosts: Vec<Value> = state
        .hosts()
        .map(|(name, host)| {
            let paths: Vec<Value> =
                host.paths().map(|(name, path)| self::path(name, path, now, allowed)).collect();
            json!({
                "host": name,
                "state": host.phase().name(),
                "reachable": host.reachable,
                "duration_seconds": host.duration_seconds,
                "last_success": time(host.last_success),
                "paths": paths,
            })
        })
        .collect();
    let concerns: Vec<Value> = verdict
        .concerns
        .iter()
        .map(|concern| {
            json!({
                "verdict": concern.tone.name(),
                "text": concern.text,
                "messages": concern.messages.iter().collect::<Vec<_>>(),
                "remedy": concern.remedy,
            })
        })
        .collect();
    json!({
        "time": now.to_string(),
        "ready": state.has_caught_up(),
        "verdict": verdict.tone.name(),
        "summary": verdict.headline,
        "concerns": concerns,
        "run": run(state),
        "schedule": schedule(state, now),
        "hosts": hosts,
        "snapshots": snapshots(state),
        "inputs": inputs(state),
        "config": {"current": state.config_is_current(), "loaded": time(state.config_loaded())},
        "volume": state.sizes().volume.map(|volume| json!({
            "size_bytes": volume.size, "used_bytes": volume.used, "free_bytes": volume.free,
        })),
        "push": push(state),
    })
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| time.to_string().into())
}

fn path(name: &str, path: &Path, now: Timestamp, allowed: Option<f64>) -> Value {
    let last = path.last.as_ref();
    let stats = last.and_then(|outcome| outcome.stats);
    let newest = path.stored.newest();
    let errors = last.and_then(|outcome| outcome.errors.as_ref()).map(|errors| {
        errors.iter().map(|(kind, count)| (kind.name().to_owned(), Value::from(*count))).collect::<Value>()
    });
    json!({
        "path": name,
        "state": path.phase().name(),
        "standing": Standing::of(path, now, allowed).name(),
        "reason": last.map(|outcome| outcome.reason.name()),
        "cause": last.map(|outcome| outcome.reason.cause()),
        "remedy": last.map(|outcome| outcome.reason.remedy()),
        "exit_code": last.and_then(|outcome| outcome.exit_code),
        "errors": errors,
        "messages": last.map(|outcome| outcome.messages.iter().collect::<Vec<_>>()),
        "last_attempt": time(path.last_attempt),
        "last_success": time(path.last_success),
        "last_good": time(backed_up(path)),
        "progress_ratio": path.progress_ratio(),
        "duration_seconds": last.and_then(|outcome| outcome.duration_seconds),
        "source_size_bytes": stats.map(|stats| stats.source_size_bytes),
        "transferred_size_bytes": stats.map(|stats| stats.transferred_size_bytes),
        "stored_bytes": newest.map(|point| point.bytes),
        "stored_files": newest.map(|point| point.files),
        "stored_measured": time(path.stored.measured()),
        "notices": notices(&path.history),
        "attempts": path.attempts,
        "failures": path.failures,
    })
}

fn notices(history: &crate::state::History) -> Vec<&'static str> {
    Notice::ALL.into_iter().filter(|&notice| history.has(notice)).map(Notice::name).collect()
}

fn run(state: &State) -> Value {
    let run = state.run();
    json!({
        "state": run.phase.name(),
        "reason": run.reason.map(Reason::name),
        "last_start": time(run.last_start),
        "last_end": time(run.last_end),
        "last_success": time(run.last_success),
        "duration_seconds": run.duration_seconds,
        "started": run.started,
        "failed": run.failed,
        "refused": run.refused,
        "last_refused": time(run.last_refused),
        "refused_reason": run.refused_reason.map(Reason::name),
        "notices": notices(&run.history),
    })
}

fn schedule(state: &State, now: Timestamp) -> Value {
    let interval = state.expected().interval();
    json!({
        "interval_seconds": interval.map(|(_, interval)| interval.as_secs_f64()),
        "source": interval.map(|(source, _)| source.name()),
        "next_run": time(state.expected().next_run()),
        "overdue_seconds": overdue_seconds(state, now),
    })
}

fn snapshots(state: &State) -> Vec<Value> {
    let schedules = state.snapshots().schedules();
    schedules
        .map(|(tag, schedule)| {
            json!({
                "schedule": tag,
                "limit": schedule.rule.limit,
                "complete": schedule.count.map(|count| count.complete),
                "incomplete": schedule.count.map(|count| count.incomplete),
                "newest": time(schedule.count.and_then(|count| count.newest)),
                "oldest": time(schedule.count.and_then(|count| count.oldest)),
                "failures": schedule.failures,
                "messages": schedule.trouble.iter().flat_map(Messages::iter).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn inputs(state: &State) -> Vec<Value> {
    let inputs = state.inputs();
    inputs
        .map(|(input, health)| {
            json!({
                "input": input.name(),
                "up": health.up,
                "records": health.records,
                "skipped": health.skipped.values().sum::<u64>(),
                "last_event": time(health.last_event),
            })
        })
        .collect()
}

fn push(state: &State) -> Option<Value> {
    let push = state.push()?;
    Some(json!({
        "points": push.points,
        "dropped": push.dropped,
        "last_success": time(push.last_success),
        "outbox_bytes": push.outbox_bytes,
        "outbox_oldest": time(push.oldest),
    }))
}
