//! What the state of many paths takes of the memory. Alone in its program, so that nothing else counts.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::collections::BTreeMap;
use std::fs;

use backup_common::record::{Body, Record};
use backup_exporter::event::{Event, Input, Listing};
use backup_exporter::state::{KEPT_MESSAGES, Path, REMEMBERED, State};

const HOSTS: usize = 100;
const PATHS: usize = 100;
const LIMIT: u64 = 64 << 20;

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn host(number: usize) -> String {
    format!("server{number}.example.com")
}

fn path(number: usize) -> String {
    format!("/srv/data/customers/{number}")
}

#[test]
fn ten_thousand_paths_with_full_histories() {
    let example = include_str!("../../common/tests/records/v1.jsonl").lines().nth(4).unwrap();
    let example = Record::decode(example.as_bytes()).unwrap();
    let Body::PathFinished(finished) = &example.body else { panic!("{example:?}") };
    let paths = || (0..PATHS).map(path).collect();
    let listing: BTreeMap<_, _> = (0..HOSTS).map(|number| (host(number), paths())).collect();

    let before = resident_bytes();
    let mut state = State::default();
    state.apply(Event::Configured(Listing(listing)));
    for _ in 0..=REMEMBERED {
        for host_number in 0..HOSTS {
            for path_number in 0..PATHS {
                let mut finished = finished.clone();
                (finished.host, finished.path) = (host(host_number), path(path_number));
                finished.messages = vec!["x".repeat(500); 10];
                let body = Body::PathFinished(finished);
                state.apply(Event::Recorded(Input::Stats, Record { body, ..example.clone() }));
            }
        }
    }
    let taken = resident_bytes() - before;
    let (_, last) = state.hosts().last().unwrap();
    assert!(last.paths().all(|(_, path)| path.history.points().len() == REMEMBERED));
    let messages = |path: &Path| path.last.as_ref().map(|outcome| outcome.messages.iter().count());
    assert!(last.paths().all(|(_, path)| messages(path) == Some(KEPT_MESSAGES)));
    println!("{HOSTS} x {PATHS} paths take {} KiB", taken / 1024);
    assert!(taken < LIMIT, "{} MiB", taken >> 20);
}
