//! What the pages of the tests show: the same records for the pure renderer and for the built exporter.
#![allow(dead_code, reason = "each test program uses a part of it")]

use backup_common::error_kind::ErrorKind;
use backup_common::reason::Reason;
use backup_common::record::{
    Body, HostFinished, PathFinished, PathProgress, PathStarted, Record, RunFinished, RunStarted, Snapshot,
    SnapshotAction, TransferStats, Trigger,
};
use backup_common::status::Status;
use backup_exporter::event::sizes::Place;
use backup_exporter::size_history::{Method, Point, encode};
use jiff::{SignedDuration, Timestamp};

/// Three hosts with five paths and two schedules of snapshots; `DIR` is a directory.
pub const CONFIG: &str = "
config:
  require_mount: false
snapshots:
  volume: DIR
  schedules:
    - {type: daily, count: 7, interval: 86400}
    - {type: weekly, count: 4, interval: 604800}
hosts:
  mail:
    ssh_user: backup
    paths: [{path: /etc}, {path: /var/mail}]
  nas:
    ssh_user: backup
    paths: [{path: /srv/photos}]
  web:
    ssh_user: backup
    paths: [{path: /etc}, {path: /var/www}]
";

/// The paths of [`CONFIG`], with the size of their source in GiB.
pub const PATHS: [(&str, &str, u64); 5] = [
    ("mail", "/etc", 1),
    ("mail", "/var/mail", 40),
    ("nas", "/srv/photos", 310),
    ("web", "/etc", 1),
    ("web", "/var/www", 12),
];

/// Runs before the last one.
const BEFORE: i64 = 24;

/// A page that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing has ever run.
    Empty,
    /// All is well.
    Healthy,
    /// Some of the paths failed.
    Failing,
    /// A run is under way.
    Running,
}

impl Scene {
    pub const ALL: [Self; 4] = [Self::Empty, Self::Healthy, Self::Failing, Self::Running];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Running => "running",
        }
    }

    /// What the runner has written by now: runs every two hours.
    pub fn records(self, now: Timestamp) -> Vec<Record> {
        if self == Self::Empty {
            return Vec::new();
        }
        let mut records = Vec::new();
        for before in (0..=BEFORE).rev() {
            let start = now - SignedDuration::from_mins(50 + before * 120);
            records.extend(run(start, before, self == Self::Failing && before == 0));
        }
        if self == Self::Running {
            records.extend(under_way(now));
        }
        records
    }

    /// The sizes that were measured by now, in the format of the state directory.
    pub fn sizes(self, now: Timestamp) -> Vec<(Place, Point)> {
        if self == Self::Empty {
            return Vec::new();
        }
        let mut sizes = Vec::new();
        for (host, path, gib) in PATHS {
            for day in (0..45).rev() {
                let place = Place { host: host.to_owned(), path: path.to_owned() };
                let bytes = (gib << 30) - (gib << 22) * day * 2 + ((day % 3) << 20);
                let time = now - SignedDuration::from_hours(24 * i64::try_from(day).unwrap() + 3);
                let point = Point {
                    time,
                    method: Method::Walk,
                    duration_seconds: 2.0,
                    bytes,
                    apparent_bytes: bytes,
                    files: 1000,
                };
                sizes.push((place, point));
            }
        }
        sizes
    }

    /// The file of them.
    pub fn sizes_file(self, now: Timestamp) -> String {
        self.sizes(now).iter().map(|(place, point)| encode(place, point)).collect()
    }
}

fn record(time: Timestamp, run: i64, body: Body) -> Record {
    Record { time, run_id: format!("{run:032x}"), body }
}

fn started(start: Timestamp, number: i64) -> Record {
    let body = RunStarted {
        trigger: Trigger::Timer,
        pid: u32::MAX,
        version: "1".to_owned(),
        hosts: 3,
        paths: 5,
        rsync_version: None,
    };
    record(start, number, Body::RunStarted(body))
}

fn run(start: Timestamp, number: i64, fails: bool) -> Vec<Record> {
    let mut records = vec![started(start, number)];
    let mut worst = Status::Success;
    for (place, (host, path, gib)) in PATHS.into_iter().enumerate() {
        let (reason, messages): (_, &[&str]) = match (fails, host, path) {
            (true, "web", _) => {
                (Reason::ConnectionRefused, &["ssh: connect to host web port 22: Connection refused"])
            }
            (true, "mail", "/var/mail") => (
                Reason::PartialTransfer,
                &[
                    "rsync: [sender] send_files failed to open \"/var/mail/root\": Permission denied (13)",
                    "rsync: [sender] send_files failed to open \"/var/mail/<b>postmaster</b>\": Permission denied (13)",
                ],
            ),
            // One of the older runs failed, for the chart.
            _ if number == 9 && host == "nas" => (Reason::Timeout, &[]),
            _ => (Reason::Ok, &[]),
        };
        let end = start + SignedDuration::from_mins(4 + 3 * i64::try_from(place).unwrap());
        records.push(record(
            end,
            number,
            Body::PathFinished(Box::new(finished(host, path, reason, end, gib, messages))),
        ));
        worst = worst.max(reason.status());
    }
    for host in ["mail", "nas", "web"] {
        let status = match (fails, host) {
            (true, "web") => Status::Failed,
            (true, "mail") => Status::Warning,
            _ => Status::Success,
        };
        let body = HostFinished {
            host: host.to_owned(),
            status,
            reason: if status == Status::Success { Reason::Ok } else { Reason::Other },
            duration_seconds: 700.0,
            paths: [].into(),
        };
        records.push(record(start + SignedDuration::from_mins(19), number, Body::HostFinished(body)));
    }
    if fails {
        let body = Snapshot {
            schedule: "weekly".to_owned(),
            action: SnapshotAction::Failed,
            name: None,
            complete: None,
            missing: Vec::new(),
            message: Some("cannot create the snapshot weekly_x: No space left on device".to_owned()),
        };
        records.push(record(start + SignedDuration::from_mins(19), number, Body::Snapshot(body)));
    }
    let body = RunFinished {
        status: worst,
        reason: if fails { Reason::ConnectionRefused } else { Reason::Ok },
        duration_seconds: 1140.0,
        hosts: [].into(),
        paths: [].into(),
    };
    records.push(record(start + SignedDuration::from_mins(19), number, Body::RunFinished(body)));
    records
}

/// The end of a path.
pub fn finished(
    host: &str,
    path: &str,
    reason: Reason,
    end: Timestamp,
    gib: u64,
    messages: &[&str],
) -> PathFinished {
    let ran = !matches!(reason, Reason::ConnectionRefused | Reason::Timeout);
    let wobble = u64::try_from(end.as_second().rem_euclid(7)).unwrap();
    PathFinished {
        host: host.to_owned(),
        path: path.to_owned(),
        dest: format!("/share/backup/{host}{path}"),
        status: reason.status(),
        reason,
        exit_code: match reason {
            Reason::Ok => Some(0),
            Reason::PartialTransfer => Some(23),
            _ => Some(255),
        },
        signal: None,
        attempts: 1,
        started: end - SignedDuration::from_secs(150),
        duration_seconds: 20.0 + (gib + wobble * 5) as f64,
        stats: ran.then(|| TransferStats {
            files: 1000,
            source_size_bytes: gib << 30,
            transferred_size_bytes: (gib << 20) + (wobble << 16),
            sent_bytes: 1000,
            received_bytes: gib << 20,
            ..TransferStats::default()
        }),
        error_count: 0,
        warning_count: 0,
        errors: if messages.is_empty() { [].into() } else { [(ErrorKind::Other, 12)].into() },
        messages: messages.iter().map(|&message| message.to_owned()).collect(),
    }
}

fn under_way(now: Timestamp) -> Vec<Record> {
    let start = now - SignedDuration::from_mins(6);
    let mut records = vec![started(start, 1000)];
    let path = |host: &str, path: &str| (host.to_owned(), path.to_owned());
    let (host, name) = path("mail", "/etc");
    let end = start + SignedDuration::from_mins(1);
    records.push(record(
        end,
        1000,
        Body::PathFinished(Box::new(finished(&host, &name, Reason::Ok, end, 1, &[]))),
    ));
    for (place, percent) in [(path("mail", "/var/mail"), 64.0), (path("nas", "/srv/photos"), 7.5)] {
        let (host, path) = place;
        let body = PathStarted { host: host.clone(), path: path.clone(), dest: "/x".to_owned() };
        records.push(record(end, 1000, Body::PathStarted(body)));
        let body = PathProgress { host, path, bytes: 1, percent, files: 1 };
        records.push(record(now - SignedDuration::from_secs(5), 1000, Body::PathProgress(body)));
    }
    records
}
