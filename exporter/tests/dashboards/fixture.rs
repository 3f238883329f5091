//! A backup server with everything to see: five runs of the last days with all states and notices, one that is
//! under way, snapshots, a timer, stored sizes.

use std::fs;
use std::process::Command;

use backup_common::error_kind::ErrorKind;
use backup_common::reason::Reason;
use backup_common::record::{
    Body, HostFinished, PathFinished, PathProgress, PathStarted, Record, RunFinished, RunRefused, RunStarted,
    Snapshot, SnapshotAction, TransferStats, Trigger,
};
use backup_common::status::Status;
use jiff::{SignedDuration, Timestamp};

use super::support::Home;

const DAYS: i64 = 5;
const MIB: u64 = 1 << 20;

/// Writes configuration, directories and records, and gives the command that shows them.
pub fn fill(home: &Home) -> Command {
    let base = home.path().join("base");
    for (host, path) in [("server1", "etc"), ("server1", "home"), ("server2", "var/www")] {
        let directory = base.join(host).join(path);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), vec![1; 100_000]).unwrap();
    }
    for name in ["daily_2026-01-02_030405", "daily_2026-01-03_030405_incomplete", "weekly_2026-01-02_030405"]
    {
        fs::create_dir_all(home.path().join("volume/.snapshots").join(name)).unwrap();
    }
    let unit = home.path().join("nightly.timer");
    fs::write(&unit, "[Timer]\nOnCalendar=daily UTC\n").unwrap();
    home.configure(&format!(
        "config: {{backup_base: {}}}\nhosts:\n  \
         server1: {{ssh_user: '', paths: [{{path: /etc}}, {{path: /home}}]}}\n  \
         server2: {{ssh_user: root, paths: [{{path: /var/www}}, {{path: /opt}}, {{path: /data}}, {{path: /new}}]}}\n  \
         server3: {{ssh_user: root, paths: [{{path: /srv}}]}}\n\
         snapshots:\n  volume: {}\n  schedules:\n    - {{type: daily, count: 7, interval: 86400}}\n    \
         - {{type: weekly, count: 4, interval: 604800}}\n",
        base.display(),
        home.path().join("volume").display(),
    ));
    home.append(records());
    let mut command = home.command();
    command.arg("--timer").arg(unit).args(["--size.interval", "1s"]);
    command
}

/// What happens while the databases look on.
pub fn later() -> String {
    let refused = RunRefused { reason: Reason::Locked, message: "held by process 12".to_owned() };
    let mut snapshot = created("daily");
    snapshot.action = SnapshotAction::Failed;
    snapshot.message = Some("cannot create the snapshot: No space left on device".to_owned());
    at(Timestamp::now(), Body::RunRefused(refused))
        + &at(Timestamp::now(), Body::Snapshot(snapshot))
        + "this is no record\n"
}

fn at(time: Timestamp, body: Body) -> String {
    Record { time, run_id: format!("{:032}", time.as_second() / 86400), body }.encode()
}

fn records() -> String {
    let mut text = String::new();
    for day in (1..=DAYS).rev() {
        let begun = Timestamp::now() - SignedDuration::from_hours(24 * day);
        let last = day == 1;
        let mut add =
            |seconds: i64, body| text.push_str(&at(begun + SignedDuration::from_secs(seconds), body));
        add(0, Body::RunStarted(started(0)));
        let mut etc = ended("server1", "/etc", Reason::Ok, 2048);
        if last {
            // Slow, long, wholly sent again, and half of the source is gone.
            etc = ended("server1", "/etc", Reason::Ok, 1024);
            etc.duration_seconds = 4000.0;
            let stats = etc.stats.as_mut().unwrap();
            (stats.received_bytes, stats.speedup_ratio) = (1024 * MIB, 1.0);
            stats.transfer_rate_bytes_per_second = 100_000.0;
        }
        let home_size = if last { 8192 } else { 1024 };
        let var = if day == DAYS { Reason::Ok } else { Reason::PermissionDenied };
        let srv = if day == DAYS { Reason::Ok } else { Reason::Unreachable };
        for (number, path) in [
            etc,
            ended("server1", "/home", Reason::PartialTransfer, home_size),
            ended("server2", "/var/www", var, 100),
            ended("server2", "/opt", Reason::HookSkip, 0),
            ended("server3", "/srv", srv, 10),
        ]
        .into_iter()
        .enumerate()
        {
            add(10 + i64::try_from(number).unwrap(), Body::PathFinished(Box::new(path)));
        }
        for (host, reason) in [("server1", Reason::PartialTransfer), ("server2", var), ("server3", srv)] {
            let paths = [(reason.status(), 1)].into();
            let host = host.to_owned();
            let status = reason.status();
            add(
                500,
                Body::HostFinished(HostFinished { host, status, reason, duration_seconds: 480.0, paths }),
            );
        }
        add(510, Body::Snapshot(created("daily")));
        add(511, Body::Snapshot(created("weekly")));
        let counts =
            || [(Status::Success, 1), (Status::Warning, 1), (Status::Failed, 2), (Status::Skipped, 1)].into();
        let (hosts, paths) = (counts(), counts());
        let finished = RunFinished {
            status: Status::Failed,
            reason: Reason::PermissionDenied,
            duration_seconds: 600.0,
            hosts,
            paths,
        };
        add(600, Body::RunFinished(finished));
    }
    // Under way for far longer than the others took.
    let begun = Timestamp::now() - SignedDuration::from_secs(5000);
    let (host, path) = (|| "server2".to_owned(), || "/data".to_owned());
    text.push_str(&at(begun, Body::RunStarted(started(std::process::id()))));
    text.push_str(&at(
        begun,
        Body::PathStarted(PathStarted { host: host(), path: path(), dest: "/d".to_owned() }),
    ));
    let progress = PathProgress { host: host(), path: path(), bytes: 42 * MIB, percent: 42.0, files: 7 };
    text + &at(begun + SignedDuration::from_secs(60), Body::PathProgress(progress))
}

fn started(pid: u32) -> RunStarted {
    RunStarted {
        trigger: Trigger::Timer,
        pid,
        version: "1".to_owned(),
        hosts: 3,
        paths: 7,
        rsync_version: None,
    }
}

fn created(schedule: &str) -> Snapshot {
    Snapshot {
        schedule: schedule.to_owned(),
        action: SnapshotAction::Created,
        name: Some(format!("{schedule}_2026-01-02_030405_incomplete")),
        complete: Some(false),
        missing: vec!["server2:/var/www".to_owned()],
        message: None,
    }
}

fn ended(host: &str, path: &str, reason: Reason, mebibytes: u64) -> PathFinished {
    let well = matches!(reason.status(), Status::Success | Status::Warning);
    let errors = u64::from(!well);
    PathFinished {
        host: host.to_owned(),
        path: path.to_owned(),
        dest: "/d".to_owned(),
        status: reason.status(),
        reason,
        exit_code: Some(if well { 0 } else { 23 }),
        signal: (reason == Reason::PermissionDenied).then_some(15),
        attempts: 1,
        started: Timestamp::now(),
        duration_seconds: 60.0,
        stats: well.then_some(TransferStats {
            files: 1000,
            files_created: 2,
            files_deleted: 1,
            files_transferred: 10,
            source_size_bytes: mebibytes * MIB,
            transferred_size_bytes: 20 * MIB,
            literal_bytes: 15 * MIB,
            matched_bytes: 5 * MIB,
            sent_bytes: MIB,
            received_bytes: 100 * MIB,
            transfer_rate_bytes_per_second: 10_000_000.0,
            speedup_ratio: 20.0,
        }),
        error_count: errors,
        warning_count: u64::from(reason == Reason::PartialTransfer),
        errors: [(ErrorKind::Permission, errors)].into(),
        messages: vec![format!("rsync: [sender] opendir \"{path}/x\" failed: Permission denied (13)")],
    }
}
