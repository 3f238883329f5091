//! Records with times of their own, and configurations of the push.

use std::fs;

use backup_common::reason::Reason;
use backup_common::record::{Body, Record};
use backup_testkit::influxdb::InfluxDb;
use jiff::Timestamp;

use super::{Exporter, Home, path_finished};

/// The database of the tests.
pub const DATABASE: &str = "backup_metrics";

/// The `number`-th record: the end of a path, one millisecond after the one before; its number is in
/// `error_count`.
pub fn nth(host: &str, path: &str, number: u64) -> String {
    let line = path_finished(host, path, Reason::Ok);
    let mut record = Record::decode(line.trim_end().as_bytes()).unwrap();
    record.time = Timestamp::from_millisecond(1_767_323_045_000 + i64::try_from(number).unwrap()).unwrap();
    let Body::PathFinished(finished) = &mut record.body else { panic!() };
    finished.error_count = number;
    record.encode()
}

/// Records with the numbers of a range, all of one path.
pub fn range(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| nth("server1", "/etc", number)).collect()
}

/// An InfluxDB with the database of the tests.
pub fn influxdb(home: &Home) -> InfluxDb {
    let influxdb = InfluxDb::start(home.path(), "");
    influxdb.query("", &format!("CREATE DATABASE {DATABASE}"));
    influxdb
}

/// Points the push to a port, with further lines.
pub fn configure(home: &Home, port: u16, keys: &str) {
    let text = format!("influxdb:\n  host: 127.0.0.1\n  port: {port}\n  timeout: 1 s\n{keys}\n");
    fs::write(home.path().join("influxdb-config.yaml"), text).unwrap();
}

/// The keys of 1.x without a user.
pub fn v1() -> String {
    format!("  database: {DATABASE}")
}

/// The keys of 2.x.
pub const V2: &str = "  token: the-token\n  organization: home\n  bucket: backup";

/// How many points of paths are there, and the sum of their numbers.
pub fn stored(influxdb: &InfluxDb) -> (u64, u64) {
    let query = "SELECT count(error_count), sum(error_count) FROM backup_path";
    let rows = influxdb.rows(DATABASE, query);
    // While InfluxDB learns of a new field, it answers null.
    let Some(row) = rows.first() else { return (0, 0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers")]
    let sum = row[2].as_f64().unwrap_or(0.0) as u64;
    (row[1].as_u64().unwrap_or(0), sum)
}

/// Waits until exactly these numbers are stored.
pub fn until_stored(influxdb: &InfluxDb, numbers: std::ops::Range<u64>) {
    let expected = (numbers.end - numbers.start, numbers.sum());
    backup_testkit::wait::until(&format!("{expected:?} to be stored"), || {
        (stored(influxdb) == expected).then_some(())
    });
}

/// A counter of failures.
pub fn failures(exporter: &Exporter, class: &str) -> f64 {
    exporter.value(&format!("backup_exporter_push_failures_total{{class=\"{class}\"}}")).unwrap_or(0.0)
}
