//! Pure: the state as JSON, for `backup-metrics --json` and `/api/v1/status`.
//!
//! docs/metrics-json.md has the schema. Every key is always there, and what is not known is `null`; keys
//! can be added, and `version` changes when one changes its meaning or goes. Times are RFC 3339 in UTC,
//! sizes bytes, durations seconds.

use backup_common::error_kind::ErrorCounts;
use backup_common::reason::Reason;
use backup_common::record::TransferStats;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::verdict::{self, Finding, MAX_AGE};
use crate::event::Skip;
use crate::size_history::Growth;
use crate::state::{History, Host, Notice, Outcome, Path, State, Stored};

/// The version of the schema.
pub const VERSION: u64 = 1;

/// All that a person or a program wants to know of the backups at a time.
pub fn status(state: &State, now: Timestamp) -> Value {
    let verdict = verdict::judge(state, now, MAX_AGE);
    json!({
        "version": VERSION,
        "time": time(now),
        "verdict": {
            "level": verdict.level.name(),
            "headline": verdict.headline,
            "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
        },
        "run": run(state),
        "schedule": schedule(state, now),
        "hosts": state.hosts().map(|(name, known)| host(name, known)).collect::<Vec<_>>(),
        "snapshots": snapshots(state),
        "storage": storage(state),
        "inputs": inputs(state),
        "config": {
            "current": state.config_is_current(),
            "loaded": state.config_loaded().map(time),
        },
    })
}

/// A time as it stands in all JSON of this system.
pub fn time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// A reason with its cause and remedy; `null` without one.
pub fn reason(reason: Option<Reason>) -> Value {
    reason.map_or(
        Value::Null,
        |reason| json!({"name": reason.name(), "cause": reason.cause(), "remedy": reason.remedy()}),
    )
}

/// rsync's figures, under the names of the records; `without_counts` leaves out those of files.
pub fn stats(stats: &TransferStats, without_counts: bool) -> Value {
    let count = |value: u64| (!without_counts).then_some(value);
    json!({
        "files": count(stats.files),
        "files_created": count(stats.files_created),
        "files_deleted": count(stats.files_deleted),
        "files_transferred": count(stats.files_transferred),
        "source_size_bytes": stats.source_size_bytes,
        "transferred_size_bytes": count(stats.transferred_size_bytes),
        "literal_bytes": count(stats.literal_bytes),
        "matched_bytes": count(stats.matched_bytes),
        "sent_bytes": stats.sent_bytes,
        "received_bytes": stats.received_bytes,
        "transfer_rate_bytes_per_second": stats.transfer_rate_bytes_per_second,
        "speedup_ratio": stats.speedup_ratio,
    })
}

/// Errors and warnings by kind.
pub fn errors(errors: &ErrorCounts) -> Value {
    Value::Object(errors.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect())
}

fn finding(finding: &Finding) -> Value {
    let (host, path) = finding.place.clone().unzip();
    json!({
        "level": finding.level.name(),
        "host": host,
        "path": path,
        "reason": finding.reason.map(Reason::name),
        "text": finding.text,
        "remedy": finding.reason.map(Reason::remedy),
    })
}

fn run(state: &State) -> Value {
    let run = state.run();
    json!({
        "state": run.phase.name(),
        "reason": reason(run.reason),
        "last_start": run.last_start.map(time),
        "last_end": run.last_end.map(time),
        "last_success": run.last_success.map(time),
        "duration_seconds": run.duration_seconds,
        "stats": run.stats.as_ref().map(|figures| stats(figures, false)),
        "errors": run.errors.as_ref().map(errors),
        "notices": notices(&run.history),
        "runs_total": run.started,
        "runs_failed_total": run.failed,
        "runs_refused_total": run.refused,
        "last_refused": run.last_refused.map(time),
        "refused_reason": reason(run.refused_reason),
    })
}

fn schedule(state: &State, now: Timestamp) -> Value {
    let (source, interval) = state.expected().interval().unzip();
    json!({
        "interval_seconds": interval.map(|interval| interval.as_secs_f64()),
        "interval_source": source.map(crate::schedule::Source::name),
        "next_run": state.expected().next_run().map(time),
        "overdue_seconds": verdict::overdue_seconds(state, now),
    })
}

fn host(name: &str, host: &Host) -> Value {
    json!({
        "host": name,
        "state": host.phase().name(),
        "reachable": host.reachable,
        "duration_seconds": host.duration_seconds,
        "last_success": host.last_success.map(time),
        "paths": host.paths().map(|(name, known)| path(name, known)).collect::<Vec<_>>(),
    })
}

fn path(name: &str, path: &Path) -> Value {
    let last = path.last.as_ref();
    let figures = last.and_then(|last| Some(stats(last.stats.as_ref()?, last.without_counts)));
    json!({
        "path": name,
        "state": path.phase().name(),
        "reason": reason(last.map(|last| last.reason)),
        "last_attempt": path.last_attempt.map(time),
        "last_success": path.last_success.map(time),
        "duration_seconds": last.and_then(|last| last.duration_seconds),
        "exit_code": last.and_then(|last: &Outcome| last.exit_code),
        "progress_ratio": path.progress_ratio(),
        "stats": figures,
        "errors": last.and_then(|last| last.errors.as_ref()).map(errors),
        "messages": last.map(|last| last.messages.iter().collect::<Vec<_>>()),
        "attempts_total": path.attempts,
        "failures_total": path.failures,
        "notices": notices(&path.history),
        "stored": stored(&path.stored),
    })
}

fn notices(history: &History) -> Vec<&'static str> {
    Notice::ALL.into_iter().filter(|&notice| history.has(notice)).map(Notice::name).collect()
}

fn stored(stored: &Stored) -> Value {
    let newest = stored.newest();
    let growth = |days| stored.series.growth(days).map(grown);
    json!({
        "bytes": newest.map(|point| point.bytes),
        "apparent_bytes": newest.map(|point| point.apparent_bytes),
        "files": newest.map(|point| point.files),
        "measured": newest.map(|point| time(point.time)),
        "method": newest.map(|point| point.method.name()),
        "duration_seconds": newest.map(|point| point.duration_seconds),
        "growth": {"day": growth(1), "week": growth(7), "month": growth(30)},
        "exclusive_bytes": stored.exclusive_bytes(),
        "referenced_bytes": stored.quota.map(|quota| quota.referenced_bytes),
        "set_shared_bytes": stored.exclusive.and_then(|bytes| bytes.set_shared_bytes),
    })
}

fn grown(growth: Growth) -> Value {
    json!({"since": time(growth.since), "bytes": growth.bytes, "files": growth.files})
}

fn snapshots(state: &State) -> Vec<Value> {
    let schedules = state.snapshots().schedules();
    let render = |(tag, schedule): (&str, crate::state::SnapshotSchedule)| {
        let count = schedule.count;
        json!({
            "schedule": tag,
            "limit": schedule.rule.limit,
            "complete": count.map(|count| count.complete),
            "incomplete": count.map(|count| count.incomplete),
            "newest": count.and_then(|count| count.newest).map(time),
            "oldest": count.and_then(|count| count.oldest).map(time),
            "failures_total": schedule.failures,
        })
    };
    schedules.map(render).collect()
}

fn storage(state: &State) -> Value {
    let sizes = state.sizes();
    json!({
        "size_bytes": sizes.volume.map(|volume| volume.size),
        "used_bytes": sizes.volume.map(|volume| volume.used),
        "free_bytes": sizes.volume.map(|volume| volume.free),
        "scan_end": sizes.scan.map(|scan| time(scan.time)),
        "scan_duration_seconds": sizes.scan.map(|scan| scan.duration_seconds),
        "scan_status": sizes.scan.map(|scan| scan.status.name()),
    })
}

fn inputs(state: &State) -> Value {
    let skipped = |skipped: &std::collections::BTreeMap<Skip, u64>| {
        skipped.iter().map(|(skip, count)| (skip.name().to_owned(), json!(count))).collect::<Map<_, _>>()
    };
    let all = state.inputs().map(|(input, health)| {
        let value = json!({
            "up": health.up,
            "records_total": health.records,
            "last_record": health.last_event.map(time),
            "skipped": skipped(&health.skipped),
        });
        (input.name().to_owned(), value)
    });
    Value::Object(all.collect())
}
