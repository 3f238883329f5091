//! A log of several batches, sent to another thread that gives them back: the same events in the same order.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

use std::fs;
use std::sync::mpsc as orders;
use std::thread;

use backup_common::record::{Body, PathStarted, Record};
use backup_exporter::event::{Event, Input};
use backup_exporter::inputs::stats;
use proptest::prelude::*;
use tokio::sync::mpsc;

const FINISHED: &str = include_str!("../../common/tests/records/v1.jsonl");

/// A line of the log: a record of any type, whole or cut somewhere, or something else.
fn line(number: usize, which: usize, cut: Option<usize>) -> String {
    let records: Vec<&str> = FINISHED.lines().collect();
    let line = match records.get(which) {
        Some(record) => record.replace("server1", &format!("server{number}")),
        None if which == records.len() => "RSYNC_STATS: torn".to_owned(),
        None => {
            let place = PathStarted {
                host: format!("host \"{number}\""),
                path: "/é".to_owned(),
                dest: String::new(),
            };
            let record = Record {
                time: jiff::Timestamp::UNIX_EPOCH,
                run_id: number.to_string(),
                body: Body::PathStarted(place),
            };
            record.encode().trim_end().to_owned()
        }
    };
    let cut = cut.map_or(line.len(), |cut| cut.min(line.len()));
    line.char_indices().map_while(|(at, character)| (at < cut).then_some(character)).collect()
}

/// What the log says, without what the input says of itself.
fn is_said(event: &Event) -> bool {
    matches!(event, Event::Recorded(..) | Event::Skipped(..))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_that_are_filled_again_hold_the_same_events(
        lines in proptest::collection::vec((0..12usize, proptest::option::weighted(0.1, 0..300usize)), 0..4000),
        gives_back: bool,
        ends: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let lines: Vec<String> =
            lines.into_iter().enumerate().map(|(number, (which, cut))| line(number, which, cut)).collect();
        fs::write(&log, lines.join("\n") + if ends { "\n" } else { "" }).unwrap();

        let mut alone = Vec::new();
        stats::collect(&log, |event| alone.push(event));
        alone.retain(is_said);

        let (sender, mut events) = mpsc::channel(2);
        let (used, given_back) = orders::sync_channel(2);
        let reader = thread::spawn(move || stats::run(&log, &sender, Some(&given_back)));
        let mut together = Vec::new();
        let mut over = false;
        while !over {
            let batch = events.blocking_recv().unwrap();
            over = batch.contains(&Event::CaughtUp(Input::Stats));
            together.extend(batch.iter().filter(|event| is_said(event)).cloned());
            if gives_back {
                let _ = used.try_send(batch);
            }
        }
        drop(events);
        reader.join().unwrap();
        prop_assert_eq!(together, alone);
    }
}
