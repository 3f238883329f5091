//! Stats logs of many runs.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;

use backup_common::error_kind::{ErrorCounts, ErrorKind};
use backup_common::reason::Reason;
use backup_common::record::{
    Body, HostFinished, PathFinished, PathStarted, Record, RunFinished, RunStarted, StatusCounts,
    TransferStats, Trigger,
};
use backup_common::status::Status;
use jiff::{SignedDuration, Timestamp};

use super::Random;

/// Time of the first run, so that the same log comes out each time.
const BEGIN: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Records that a run of so many hosts with so many paths leaves.
pub const fn records_of_run(hosts: usize, paths: usize) -> usize {
    2 + hosts * (1 + 2 * paths)
}

/// Appends a run, the `number`th in the log, an hour after the one before.
pub fn append_run(log: &Path, hosts: usize, paths: usize, number: u32) {
    let file = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut random = Random::new(u64::from(number) + 1);
    let run_id = format!("{:016x}{:016x}", random.next(), random.next());
    let time = Cell::new(BEGIN + SignedDuration::from_hours(number.into()));
    let mut tell = |body| {
        time.set(time.get() + SignedDuration::from_micros(1234));
        let record = Record { time: time.get(), run_id: run_id.clone(), body };
        out.write_all(record.encode().as_bytes()).unwrap();
    };
    tell(Body::RunStarted(RunStarted {
        trigger: Trigger::Timer,
        pid: 4242,
        version: "0.1.0".to_owned(),
        hosts: hosts as u64,
        paths: (hosts * paths) as u64,
        rsync_version: Some("3.2.7".to_owned()),
    }));
    for host in (0..hosts).map(super::host) {
        for path in (0..paths).map(super::path) {
            let dest = format!("/share/backup/{host}{path}");
            tell(Body::PathStarted(PathStarted {
                host: host.clone(),
                path: path.clone(),
                dest: dest.clone(),
            }));
            tell(Body::PathFinished(Box::new(finished(host.clone(), path, dest, time.get(), &mut random))));
        }
        tell(Body::HostFinished(HostFinished {
            host,
            status: Status::Success,
            reason: Reason::Ok,
            duration_seconds: 12.5,
            paths: StatusCounts::from([(Status::Success, paths as u64)]),
        }));
    }
    tell(Body::RunFinished(RunFinished {
        status: Status::Warning,
        reason: Reason::VanishedFiles,
        duration_seconds: 3600.5,
        hosts: StatusCounts::from([(Status::Success, hosts as u64)]),
        paths: StatusCounts::from([(Status::Success, (hosts * paths) as u64)]),
    }));
    out.flush().unwrap();
}

/// One path in ten ends with a warning and its message.
fn finished(host: String, path: String, dest: String, time: Timestamp, random: &mut Random) -> PathFinished {
    let warns = random.below(10) == 0;
    let size = 1_000_000_000 + random.below(1_000_000_000);
    let sent = random.below(50_000_000);
    let stats = TransferStats {
        files: 20_000 + random.below(1000),
        files_created: random.below(100),
        files_deleted: random.below(100),
        files_transferred: random.below(1000),
        source_size_bytes: size,
        transferred_size_bytes: sent * 2,
        literal_bytes: sent,
        matched_bytes: sent,
        sent_bytes: 40_000,
        received_bytes: sent,
        transfer_rate_bytes_per_second: sent as f64 / 1.7,
        speedup_ratio: size as f64 / (sent + 1) as f64,
    };
    let mut errors = ErrorCounts::new();
    let mut messages = Vec::new();
    if warns {
        errors.insert(ErrorKind::Vanished, 1);
        messages.push(format!("file has vanished: \"{path}/cache/{}\"", random.below(10_000)));
    }
    PathFinished {
        host,
        path,
        dest,
        status: if warns { Status::Warning } else { Status::Success },
        reason: if warns { Reason::VanishedFiles } else { Reason::Ok },
        exit_code: Some(if warns { 24 } else { 0 }),
        signal: None,
        attempts: 1,
        started: time,
        duration_seconds: random.below(100_000) as f64 / 1000.0,
        stats: Some(stats),
        error_count: 0,
        warning_count: warns.into(),
        errors,
        messages,
    }
}
