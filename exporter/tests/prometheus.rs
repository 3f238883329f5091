//! A real Prometheus scrapes the built exporter, and its query API tells the state of each path.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::BTreeMap;

use backup_common::reason::Reason;
use backup_testkit::prometheus::{Labels, Prometheus};
use support::{CONFIG, Home, path_finished};

#[test]
fn prometheus_knows_the_state_of_each_path() {
    let home = Home::new();
    home.append(path_finished("server1", "/etc", Reason::Ok));
    home.append(path_finished("server1", "/home", Reason::PermissionDenied));
    let exporter = home.start();
    let prometheus = Prometheus::scraping(&exporter.address, home.path());

    prometheus.until("up{job=\"backup\"} == 1", |series| series.len() == 1);
    let states = prometheus.until("backup_path_state == 1", |series| series.len() == 3);
    let states: BTreeMap<_, _> =
        states.iter().map(|(labels, _)| ((&*labels["host"], &*labels["path"]), &*labels["state"])).collect();
    let expected = [
        (("server1", "/etc"), "success"),
        (("server1", "/home"), "failed"),
        (("server2", "/var/www"), "never"),
    ];
    assert_eq!(states, BTreeMap::from(expected));

    // By its default Accept header it gets OpenMetrics, which alone tells it the units.
    let reasons = prometheus.query("backup_path_reason");
    let reason = |path: &str| {
        let (labels, _): &(Labels, f64) = reasons.iter().find(|(labels, _)| labels["path"] == path).unwrap();
        labels["reason"].clone()
    };
    assert_eq!((reason("/etc"), reason("/home")), ("ok".to_owned(), "permission_denied".to_owned()));
    let counted = prometheus.query("sum(backup_path_attempts_total)");
    assert!((counted[0].1 - 2.0).abs() < f64::EPSILON, "{counted:?}");

    // A record is seen by the next scrape, and so is a host that left.
    home.append(path_finished("server2", "/var/www", Reason::Unreachable));
    prometheus.until("backup_host_reachable{host=\"server2\"} == 0", |series| series.len() == 1);
    home.configure(CONFIG.split_once("  server2").unwrap().0);
    exporter.process.signal("HUP");
    prometheus.until("{host=\"server2\"}", <[_]>::is_empty);
}
