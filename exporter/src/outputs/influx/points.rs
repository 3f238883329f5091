//! What each record says as a point.
//!
//! | measurement | tags | fields |
//! | --- | --- | --- |
//! | `backup_run` | | verdict, `duration_seconds`, `hosts_STATUS`, `paths_STATUS`; for a refused one `refused`, `reason`, `message` |
//! | `backup_host` | `host` | verdict, `duration_seconds`, `paths_STATUS` |
//! | `backup_path` | `host`, `path` | verdict, `message` (the first), `error_count`, `warning_count`, `duration_seconds`, `attempts`, `exit_code`, `signal`, rsync's figures, `transfer_rate`, `speedup` |
//! | `backup_size` | `host`, `path` | `total_size_bytes` (storage used), `apparent_size_bytes`, `files` |
//! | `backup_snapshot` | `schedule` | `action`, `name`, `message`, `complete`, `missing_count`, `status_numeric` |
//!
//! The verdict is `status`, `reason` and `status_numeric`: 1 for success, 0.5 for warning and skipped, 0
//! for failed. Every point has the tag `server`, the name of the machine that it was written on. All
//! numbers are floats; texts are fields and never tags.

use backup_common::reason::Reason;
use backup_common::record::{
    Body, HostFinished, PathFinished, Record, RunFinished, RunRefused, Snapshot, SnapshotAction, StatusCounts,
};
use backup_common::status::Status;
use jiff::Timestamp;

use super::line_protocol::{Field, Point};

/// The point of a record; records of beginnings and progress have none.
pub fn of_record(record: &Record, server: &str) -> Option<Point> {
    let builder = match &record.body {
        Body::RunFinished(finished) => run(finished),
        Body::RunRefused(refused) => refusal(refused),
        Body::HostFinished(finished) => host(finished),
        Body::PathFinished(finished) => path(finished),
        Body::Snapshot(decision) => snapshot(decision),
        Body::RunStarted(_) | Body::PathStarted(_) | Body::PathProgress(_) => return None,
    };
    Some(builder.at(record.time, server))
}

/// The point of a measured size: storage used, the sum of the file sizes, both in bytes, and the number
/// of files.
pub fn size_point(
    (host, path): (&str, &str),
    server: &str,
    time: Timestamp,
    (stored, apparent, files): (u64, u64, u64),
) -> Point {
    Builder::new("backup_size")
        .tag("host", host)
        .tag("path", path)
        .number("total_size_bytes", stored as f64)
        .number("apparent_size_bytes", apparent as f64)
        .number("files", files as f64)
        .at(time, server)
}

fn run(finished: &RunFinished) -> Builder {
    Builder::new("backup_run")
        .verdict(finished.status, finished.reason)
        .number("duration_seconds", finished.duration_seconds)
        .counts(HOSTS, &finished.hosts)
        .counts(PATHS, &finished.paths)
}

/// A run that never began says nothing about the backups, so it has no verdict.
fn refusal(refused: &RunRefused) -> Builder {
    Builder::new("backup_run")
        .number("refused", 1.0)
        .text("reason", refused.reason.name())
        .text("message", &refused.message)
}

fn host(finished: &HostFinished) -> Builder {
    Builder::new("backup_host")
        .tag("host", &finished.host)
        .verdict(finished.status, finished.reason)
        .number("duration_seconds", finished.duration_seconds)
        .counts(PATHS, &finished.paths)
}

fn path(finished: &PathFinished) -> Builder {
    let mut point = Builder::new("backup_path")
        .tag("host", &finished.host)
        .tag("path", &finished.path)
        .verdict(finished.status, finished.reason)
        .number("error_count", finished.error_count as f64)
        .number("warning_count", finished.warning_count as f64)
        .number("duration_seconds", finished.duration_seconds)
        .number("attempts", finished.attempts as f64);
    if let Some(code) = finished.exit_code {
        point = point.number("exit_code", code.into());
    }
    if let Some(signal) = finished.signal {
        point = point.number("signal", signal.into());
    }
    if let Some(message) = finished.messages.first() {
        point = point.text("message", message);
    }
    let Some(stats) = finished.stats else { return point };
    for (name, count) in [
        ("files", stats.files),
        ("files_created", stats.files_created),
        ("files_deleted", stats.files_deleted),
        ("files_transferred", stats.files_transferred),
        ("source_size_bytes", stats.source_size_bytes),
        ("transferred_size_bytes", stats.transferred_size_bytes),
        ("literal_bytes", stats.literal_bytes),
        ("matched_bytes", stats.matched_bytes),
        ("sent_bytes", stats.sent_bytes),
        ("received_bytes", stats.received_bytes),
    ] {
        point = point.number(name, count as f64);
    }
    point.number("transfer_rate", stats.transfer_rate_bytes_per_second).number("speedup", stats.speedup_ratio)
}

fn snapshot(decision: &Snapshot) -> Builder {
    let mut point = Builder::new("backup_snapshot")
        .tag("schedule", &decision.schedule)
        .text("action", decision.action.name())
        .number("missing_count", decision.missing.len() as f64);
    if let Some(name) = &decision.name {
        point = point.text("name", name);
    }
    if let Some(message) = &decision.message {
        point = point.text("message", message);
    }
    if let Some(complete) = decision.complete {
        point = point.number("complete", f64::from(u8::from(complete)));
    }
    match (decision.action, decision.complete) {
        (SnapshotAction::Failed, _) => point.number("status_numeric", 0.0),
        (SnapshotAction::Created, Some(false)) => point.number("status_numeric", 0.5),
        (SnapshotAction::Created, _) => point.number("status_numeric", 1.0),
        _ => point,
    }
}

/// The names of the counts by status, in the order of [`Status::ALL`].
type CountNames = [&'static str; 4];
const HOSTS: CountNames = ["hosts_success", "hosts_skipped", "hosts_warning", "hosts_failed"];
const PATHS: CountNames = ["paths_success", "paths_skipped", "paths_warning", "paths_failed"];

/// The older system's number for a status.
pub fn status_numeric(status: Status) -> f64 {
    match status {
        Status::Success => 1.0,
        Status::Warning | Status::Skipped => 0.5,
        Status::Failed => 0.0,
    }
}

struct Builder {
    measurement: &'static str,
    tags: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, Field)>,
}

impl Builder {
    fn new(measurement: &'static str) -> Self {
        Self { measurement, tags: Vec::new(), fields: Vec::new() }
    }

    fn tag(mut self, name: &'static str, value: &str) -> Self {
        self.tags.push((name, value.to_owned()));
        self
    }

    fn number(mut self, name: &'static str, value: f64) -> Self {
        self.fields.push((name, Field::Number(value)));
        self
    }

    fn text(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, Field::Text(value.to_owned())));
        self
    }

    fn verdict(self, status: Status, reason: Reason) -> Self {
        self.text("status", status.name())
            .text("reason", reason.name())
            .number("status_numeric", status_numeric(status))
    }

    fn counts(mut self, names: CountNames, counts: &StatusCounts) -> Self {
        for (status, name) in Status::ALL.into_iter().zip(names) {
            self = self.number(name, counts.get(&status).copied().unwrap_or(0) as f64);
        }
        self
    }

    fn at(self, time: Timestamp, server: &str) -> Point {
        let Self { measurement, tags, fields } = self.tag("server", server);
        Point { measurement, tags, fields, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::influx::line_protocol::line;

    fn lines(records: &str) -> Vec<String> {
        let points =
            records.lines().filter_map(|line| of_record(&Record::decode(line.as_bytes()).unwrap(), "here"));
        points.filter_map(|point| line(&point)).collect()
    }

    #[test]
    fn each_kind_of_record() {
        let records = r#"{"v":1,"type":"run_started","time":"2026-01-02T03:04:05.000001Z","run_id":"r","trigger":"timer","pid":1,"version":"1","hosts":1,"paths":1}
{"v":1,"type":"path_finished","time":"2026-01-02T03:04:06.5Z","run_id":"r","host":"a b","path":"/x","dest":"/d","status":"failed","reason":"source_missing","exit_code":23,"signal":null,"attempts":2,"started":"2026-01-02T03:04:05Z","duration_seconds":1.5,"error_count":1,"warning_count":0,"errors":{"io":1},"messages":["rsync: \"no\"","second"]}
{"v":1,"type":"host_finished","time":"2026-01-02T03:04:07Z","run_id":"r","host":"a b","status":"failed","reason":"source_missing","duration_seconds":2.0,"paths":{"failed":1}}
{"v":1,"type":"snapshot","time":"2026-01-02T03:04:08Z","run_id":"r","schedule":"daily","action":"created","name":"daily_2026-01-02_030408_incomplete","complete":false,"missing":["a b:/x"],"message":null}
{"v":1,"type":"run_finished","time":"2026-01-02T03:04:09Z","run_id":"r","status":"failed","reason":"source_missing","duration_seconds":4.0,"hosts":{"failed":1},"paths":{"failed":1}}
{"v":1,"type":"run_refused","time":"2026-01-02T03:04:10Z","run_id":"r","reason":"locked","message":"held by 12"}"#;
        let expected = [
            r#"backup_path,host=a\ b,path=/x,server=here status="failed",reason="source_missing",status_numeric=0,error_count=1,warning_count=0,duration_seconds=1.5,attempts=2,exit_code=23,message="rsync: \"no\"" 1767323046500000000"#,
            r#"backup_host,host=a\ b,server=here status="failed",reason="source_missing",status_numeric=0,duration_seconds=2,paths_success=0,paths_skipped=0,paths_warning=0,paths_failed=1 1767323047000000000"#,
            r#"backup_snapshot,schedule=daily,server=here action="created",missing_count=1,name="daily_2026-01-02_030408_incomplete",complete=0,status_numeric=0.5 1767323048000000000"#,
            r#"backup_run,server=here status="failed",reason="source_missing",status_numeric=0,duration_seconds=4,hosts_success=0,hosts_skipped=0,hosts_warning=0,hosts_failed=1,paths_success=0,paths_skipped=0,paths_warning=0,paths_failed=1 1767323049000000000"#,
            r#"backup_run,server=here refused=1,reason="locked",message="held by 12" 1767323050000000000"#,
        ];
        assert_eq!(lines(records), expected);
    }

    #[test]
    fn a_size() {
        let time = Timestamp::from_second(1).unwrap();
        let point = size_point(("h", "/p"), "here", time, (4096, 5000, 3));
        assert_eq!(
            line(&point).unwrap(),
            "backup_size,host=h,path=/p,server=here total_size_bytes=4096,apparent_size_bytes=5000,files=3 1000000000"
        );
    }
}
