//! The two types that nearly all lines of a log have, read without the fields of all the others.
//!
//! The shape of every type together has forty fields, which are all made, moved and dropped for each line; a log
//! of a million lines is read at each start. What these readers do not take is read, or refused with its
//! reason, by [`super::decode`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{WireStats, error_counts, time};
use crate::reason::Reason;
use crate::record::{Body, PathFinished, PathStarted, Record, TransferStats, VERSION};
use crate::status::Status;

/// Reads a line that begins as [`super::encode`] writes it; nothing if it is none of the two types.
pub fn decode(line: &str) -> Option<Record> {
    let rest = line.strip_prefix(r#"{"v":1,"type":"path_"#)?;
    let record = if rest.starts_with("finished\"") { finished(line)? } else { started(line)? };
    let is_whole = |text: &str| !text.is_empty();
    let place = match &record.body {
        Body::PathFinished(body) => (&body.host, &body.path),
        Body::PathStarted(body) => (&body.host, &body.path),
        _ => return None,
    };
    (is_whole(place.0) && is_whole(place.1)).then_some(record)
}

#[derive(Deserialize)]
struct Started<'a> {
    v: u64,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    run_id: String,
    host: String,
    path: String,
    #[serde(default)]
    dest: String,
}

fn started(line: &str) -> Option<Record> {
    let wire: Started<'_> = serde_json::from_str(line).ok()?;
    let body = PathStarted { host: wire.host, path: wire.path, dest: wire.dest };
    let time = time(&wire.time, "time").ok()?;
    (wire.v == VERSION && wire.kind == "path_started").then_some(Record {
        time,
        run_id: wire.run_id,
        body: Body::PathStarted(body),
    })
}

#[derive(Deserialize)]
struct Finished<'a> {
    v: u64,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    run_id: String,
    host: String,
    path: String,
    #[serde(default)]
    dest: String,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    attempts: u64,
    #[serde(borrow)]
    started: Cow<'a, str>,
    duration_seconds: f64,
    stats: Option<WireStats>,
    error_count: u64,
    warning_count: u64,
    #[serde(borrow)]
    errors: BTreeMap<Cow<'a, str>, u64>,
    messages: Vec<String>,
}

fn finished(line: &str) -> Option<Record> {
    let wire: Finished<'_> = serde_json::from_str(line).ok()?;
    if wire.v != VERSION || wire.kind != "path_finished" {
        return None;
    }
    let body = PathFinished {
        host: wire.host,
        path: wire.path,
        dest: wire.dest,
        status: Status::from_name(&wire.status)?,
        reason: Reason::from_name(&wire.reason).unwrap_or(Reason::Other),
        exit_code: wire.exit_code,
        signal: wire.signal,
        attempts: wire.attempts,
        started: time(&wire.started, "started").ok()?,
        duration_seconds: Some(wire.duration_seconds).filter(|seconds| *seconds >= 0.0)?,
        stats: wire.stats.map(TransferStats::from),
        error_count: wire.error_count,
        warning_count: wire.warning_count,
        errors: error_counts(Some(wire.errors)),
        messages: wire.messages,
    };
    Some(Record {
        time: time(&wire.time, "time").ok()?,
        run_id: wire.run_id,
        body: Body::PathFinished(Box::new(body)),
    })
}
