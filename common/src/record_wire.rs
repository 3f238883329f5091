//! The JSON shape of a record: one flat object, borrowed from the line while it is read.
//!
//! It is apart from [`crate::record`] so that the domain types can change freely, and flat because
//! serde's tagged enums read a line twice.

mod canonical;
mod frequent;
mod parts;
mod spare;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use parts::{Counts, WireStats};
pub use spare::Spare;

use crate::error_kind::{ErrorCounts, ErrorKind};
use crate::reason::Reason;
use crate::record::{
    Body, DecodeError, HostFinished, PathFinished, PathProgress, PathStarted, Record, RunFinished,
    RunRefused, RunStarted, Snapshot, SnapshotAction, StatusCounts, TransferStats, Trigger, VERSION,
};
use crate::status::Status;

/// A text that is borrowed from the line, unless it has escapes.
///
/// A type of its own, because serde borrows a `Cow` only where a field is just that: in an `Option` it would be copied.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

type Text<'a> = Option<Borrowed<'a>>;

impl Deref for Borrowed<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Borrowed<'a> {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Wire<'a> {
    v: u64,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    run_id: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    trigger: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    version: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    rsync_version: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    host: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    path: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    dest: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    schedule: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    action: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    name: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    status: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reason: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    message: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    started: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stats: Option<WireStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errors: Option<BTreeMap<Cow<'a, str>, u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosts: Option<Counts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<Counts>,
}

/// Writes a record as one line with its newline.
pub fn encode(record: &Record) -> String {
    let mut wire = Wire {
        v: VERSION,
        kind: record.body.type_name().into(),
        time: rfc3339(record.time).into(),
        run_id: record.run_id.as_str().into(),
        ..Wire::default()
    };
    match &record.body {
        Body::RunStarted(body) => {
            wire.trigger = Some(body.trigger.name().into());
            wire.pid = Some(body.pid);
            wire.version = Some(body.version.as_str().into());
            wire.rsync_version = body.rsync_version.as_deref().map(Borrowed::from);
            wire.hosts = Some(Counts::Planned(body.hosts));
            wire.paths = Some(Counts::Planned(body.paths));
        }
        Body::RunRefused(body) => {
            wire.reason = Some(body.reason.name().into());
            wire.message = Some(body.message.as_str().into());
        }
        Body::PathStarted(body) => wire.set_place(&body.host, &body.path, Some(&body.dest)),
        Body::PathProgress(body) => {
            wire.set_place(&body.host, &body.path, None);
            wire.bytes = Some(body.bytes);
            wire.percent = Some(body.percent);
            wire.files = Some(body.files);
        }
        Body::PathFinished(body) => {
            wire.set_place(&body.host, &body.path, Some(&body.dest));
            wire.set_verdict(body.status, body.reason, body.duration_seconds);
            wire.exit_code = body.exit_code;
            wire.signal = body.signal;
            wire.attempts = Some(body.attempts);
            wire.started = Some(rfc3339(body.started).into());
            wire.stats = body.stats.map(WireStats::from);
            wire.error_count = Some(body.error_count);
            wire.warning_count = Some(body.warning_count);
            wire.errors =
                Some(body.errors.iter().map(|(kind, count)| (kind.name().into(), *count)).collect());
            wire.messages = Some(body.messages.clone());
        }
        Body::HostFinished(body) => {
            wire.host = Some(body.host.as_str().into());
            wire.set_verdict(body.status, body.reason, body.duration_seconds);
            wire.paths = Some(Counts::from(&body.paths));
        }
        Body::Snapshot(body) => {
            wire.schedule = Some(body.schedule.as_str().into());
            wire.action = Some(body.action.name().into());
            wire.name = body.name.as_deref().map(Borrowed::from);
            wire.complete = body.complete;
            wire.missing = Some(body.missing.clone());
            wire.message = body.message.as_deref().map(Borrowed::from);
        }
        Body::RunFinished(body) => {
            wire.set_verdict(body.status, body.reason, body.duration_seconds);
            wire.hosts = Some(Counts::from(&body.hosts));
            wire.paths = Some(Counts::from(&body.paths));
        }
    }
    // Serializing strings, numbers and maps with text keys into memory has no way to fail.
    let mut line = serde_json::to_string(&wire).unwrap_or_default();
    line.push('\n');
    line
}

/// Reads a line without its newline.
pub fn decode(line: &[u8], spare: &mut Spare) -> Result<Record, DecodeError> {
    // Once for the line: from a slice each of its forty strings would be checked by itself.
    let line = str::from_utf8(line).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    frequent::decode(line, spare).map_or_else(|| decode_any(line), Ok)
}

/// Reads a line of whatever type.
fn decode_any(line: &str) -> Result<Record, DecodeError> {
    let wire: Wire<'_> =
        serde_json::from_str(line).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if wire.v != VERSION {
        return Err(DecodeError::Version(wire.v));
    }
    let time = time(&wire.time, "time")?;
    let body = match &*wire.kind {
        "run_started" => Body::RunStarted(RunStarted {
            trigger: wire
                .trigger
                .as_deref()
                .and_then(Trigger::from_name)
                .ok_or(DecodeError::Field("trigger"))?,
            pid: wire.pid.ok_or(DecodeError::Field("pid"))?,
            version: wire.version.as_deref().unwrap_or_default().to_owned(),
            hosts: planned(wire.hosts.as_ref(), "hosts")?,
            paths: planned(wire.paths.as_ref(), "paths")?,
            rsync_version: wire.rsync_version.as_deref().map(str::to_owned),
        }),
        "run_refused" => Body::RunRefused(RunRefused {
            reason: wire.reason()?,
            message: wire.message.as_deref().unwrap_or_default().to_owned(),
        }),
        "path_started" => Body::PathStarted(PathStarted {
            host: text(&wire.host, "host")?,
            path: text(&wire.path, "path")?,
            dest: wire.dest.as_deref().unwrap_or_default().to_owned(),
        }),
        "path_progress" => Body::PathProgress(PathProgress {
            host: text(&wire.host, "host")?,
            path: text(&wire.path, "path")?,
            bytes: wire.bytes.unwrap_or(0),
            percent: wire.percent.ok_or(DecodeError::Field("percent"))?,
            files: wire.files.unwrap_or(0),
        }),
        "path_finished" => Body::PathFinished(Box::new(PathFinished {
            host: text(&wire.host, "host")?,
            path: text(&wire.path, "path")?,
            dest: wire.dest.as_deref().unwrap_or_default().to_owned(),
            status: wire.status()?,
            reason: wire.reason()?,
            exit_code: wire.exit_code,
            signal: wire.signal,
            attempts: wire.attempts.unwrap_or(1),
            started: wire.started.as_deref().map_or(Ok(time), |started| self::time(started, "started"))?,
            duration_seconds: wire.duration_seconds()?,
            stats: wire.stats.map(TransferStats::from),
            error_count: wire.error_count.unwrap_or(0),
            warning_count: wire.warning_count.unwrap_or(0),
            errors: error_counts(wire.errors),
            messages: wire.messages.unwrap_or_default(),
        })),
        "host_finished" => Body::HostFinished(HostFinished {
            host: text(&wire.host, "host")?,
            status: wire.status()?,
            reason: wire.reason()?,
            duration_seconds: wire.duration_seconds()?,
            paths: by_status(wire.paths.as_ref(), "paths")?,
        }),
        "snapshot" => Body::Snapshot(Snapshot {
            schedule: text(&wire.schedule, "schedule")?,
            action: wire
                .action
                .as_deref()
                .and_then(SnapshotAction::from_name)
                .ok_or(DecodeError::Field("action"))?,
            name: wire.name.as_deref().map(str::to_owned),
            complete: wire.complete,
            missing: wire.missing.unwrap_or_default(),
            message: wire.message.as_deref().map(str::to_owned),
        }),
        "run_finished" => Body::RunFinished(RunFinished {
            status: wire.status()?,
            reason: wire.reason()?,
            duration_seconds: wire.duration_seconds()?,
            hosts: by_status(wire.hosts.as_ref(), "hosts")?,
            paths: by_status(wire.paths.as_ref(), "paths")?,
        }),
        other => return Err(DecodeError::Type(crate::text::clean(other, 50))),
    };
    Ok(Record { time, run_id: wire.run_id.into_owned(), body })
}

impl<'a> Wire<'a> {
    fn set_place(&mut self, host: &'a str, path: &'a str, dest: Option<&'a str>) {
        self.host = Some(host.into());
        self.path = Some(path.into());
        self.dest = dest.map(Borrowed::from);
    }

    fn set_verdict(&mut self, status: Status, reason: Reason, duration_seconds: f64) {
        self.status = Some(status.name().into());
        self.reason = Some(reason.name().into());
        self.duration_seconds = Some(duration_seconds);
    }

    fn status(&self) -> Result<Status, DecodeError> {
        self.status.as_deref().and_then(Status::from_name).ok_or(DecodeError::Field("status"))
    }

    /// A reason that a later version added is still a reason; only its name is lost.
    fn reason(&self) -> Result<Reason, DecodeError> {
        let name = self.reason.as_deref().ok_or(DecodeError::Field("reason"))?;
        Ok(Reason::from_name(name).unwrap_or(Reason::Other))
    }

    fn duration_seconds(&self) -> Result<f64, DecodeError> {
        self.duration_seconds.filter(|seconds| *seconds >= 0.0).ok_or(DecodeError::Field("duration_seconds"))
    }
}

/// RFC 3339 in UTC with microseconds, always of the same length.
fn rfc3339(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn time(text: &str, field: &'static str) -> Result<Timestamp, DecodeError> {
    text.parse().map_err(|_| DecodeError::Field(field))
}

fn text(found: &Text<'_>, field: &'static str) -> Result<String, DecodeError> {
    found.as_deref().filter(|text| !text.is_empty()).map(str::to_owned).ok_or(DecodeError::Field(field))
}

fn planned(counts: Option<&Counts>, field: &'static str) -> Result<u64, DecodeError> {
    match counts {
        Some(Counts::Planned(count)) => Ok(*count),
        _ => Err(DecodeError::Field(field)),
    }
}

fn by_status(counts: Option<&Counts>, field: &'static str) -> Result<StatusCounts, DecodeError> {
    match counts {
        Some(Counts::ByStatus(counts)) => Ok(counts
            .iter()
            .filter_map(|(name, count)| Status::from_name(name).map(|status| (status, *count)))
            .collect()),
        _ => Err(DecodeError::Field(field)),
    }
}

fn error_counts(errors: Option<BTreeMap<Cow<'_, str>, u64>>) -> ErrorCounts {
    let mut counts = ErrorCounts::new();
    for (name, count) in errors.unwrap_or_default() {
        let sum = counts.entry(ErrorKind::from_name(&name)).or_insert(0);
        *sum = sum.saturating_add(count);
    }
    counts
}
