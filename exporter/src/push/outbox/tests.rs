//! The outbox against a model: a list of lines and an index.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const ROOMY: u64 = 64 << 20;

fn lines(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("m n={number} {number}")).collect()
}

fn drain(outbox: &mut Outbox) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let batch = outbox.peek(3);
        if batch.lines.is_empty() {
            outbox.acknowledge(&batch);
            return all;
        }
        all.extend(batch.lines.clone());
        outbox.acknowledge(&batch);
    }
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    found.sort();
    found
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Append(usize),
    Peek(usize),
    Send(usize),
    Reopen,
    Torn(usize),
    LosePosition,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_like_a_list(acts in proptest::collection::vec(prop_oneof![
        (0usize..120).prop_map(Act::Append),
        (1usize..50).prop_map(Act::Peek),
        (1usize..50).prop_map(Act::Send),
        Just(Act::Reopen),
        (1usize..40).prop_map(Act::Torn),
        Just(Act::LosePosition),
    ], 0..40)) {
        let directory = tempfile::tempdir().unwrap();
        // Small segments, so that many come and go.
        let mut outbox = Outbox::open(directory.path(), ROOMY);
        outbox.cap = 16 * 4096 * 16;
        let (mut written, mut sent) = (0, 0);
        for act in acts {
            match act {
                Act::Append(count) => {
                    prop_assert!(matches!(outbox.append(&lines(written, count)), Appended::Stored));
                    written += count;
                }
                Act::Peek(limit) | Act::Send(limit) => {
                    let batch = outbox.peek(limit);
                    prop_assert!(batch.lines.len() <= limit);
                    prop_assert_eq!(batch.lines.is_empty(), sent == written);
                    prop_assert_eq!(&batch.lines, &lines(sent, batch.lines.len()));
                    if matches!(act, Act::Send(_)) {
                        sent += batch.lines.len();
                        let ahead = outbox.peek_behind(batch.end(), limit);
                        outbox.acknowledge(&batch);
                        prop_assert_eq!(ahead.is_some(), sent < written);
                        if let Some(ahead) = ahead {
                            prop_assert!(outbox.is_next(&ahead));
                            prop_assert_eq!(ahead, outbox.peek(limit));
                        }
                    }
                }
                Act::Reopen => outbox = Outbox::open(directory.path(), ROOMY),
                Act::Torn(cut) => {
                    // A writer that was killed in the middle of a write that was never promised.
                    prop_assert!(matches!(outbox.append(&lines(written, 1)), Appended::Stored));
                    written += 1;
                    let mut frame = String::new();
                    frame::push(&mut frame, "m n=99 never");
                    if let Some(last) = segments(&directory).last() {
                        let mut bytes = fs::read(last).unwrap();
                        bytes.extend(&frame.as_bytes()[..cut.min(frame.len() - 1)]);
                        fs::write(last, bytes).unwrap();
                        outbox = Outbox::open(directory.path(), ROOMY);
                    }
                }
                Act::LosePosition => {
                    // Lines of a segment that is still there come again, none is lost.
                    fs::write(directory.path().join("position"), "rubbish").unwrap();
                    outbox = Outbox::open(directory.path(), ROOMY);
                    let mut all = drain(&mut outbox);
                    let again = all.len() - (written - sent);
                    prop_assert!(again <= sent);
                    prop_assert_eq!(all.split_off(again), lines(sent, written - sent));
                    sent = written;
                }
            }
        }
        prop_assert_eq!(drain(&mut outbox), lines(sent, written - sent));
        prop_assert_eq!((outbox.bytes(), outbox.dropped()), (0, 0));
    }
}

#[test]
fn a_flip_or_a_cut_of_any_byte_costs_one_line_and_never_the_start() {
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(directory.path(), ROOMY);
        outbox.append(&lines(0, 2));
        let batch = outbox.peek(1);
        outbox.acknowledge(&batch);
        outbox.append(&lines(2, 4));
        directory
    };
    let original = make();
    let names = ["0000000000000001.segment", "position"];
    for name in names {
        let bytes = fs::read(original.path().join(name)).unwrap();
        for position in 0..bytes.len() {
            for cut in [false, true] {
                let directory = make();
                let mut damaged = bytes.clone();
                if cut {
                    damaged.truncate(position);
                } else {
                    damaged[position] ^= 0x41;
                }
                fs::write(directory.path().join(name), damaged).unwrap();
                let mut outbox = Outbox::open(directory.path(), ROOMY);
                let found = drain(&mut outbox);
                let missing = lines(1, 5).iter().filter(|line| !found.contains(line)).count();
                match (name, cut) {
                    ("position", _) => assert_eq!(missing, 0, "{position}: {found:?}"),
                    (_, false) => assert!(missing <= 1, "{position}: {found:?}"),
                    _ => assert!(lines(0, 6).starts_with(&found) || lines(1, 5).starts_with(&found)),
                }
                outbox.append(&lines(50, 1));
                assert_eq!(drain(&mut outbox), lines(50, 1), "{name} {position}");
            }
        }
    }
}

#[test]
fn beyond_the_cap_the_oldest_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let cap = 64 << 10;
    let mut outbox = Outbox::open(directory.path(), cap);
    let total = 10_000;
    for from in (0..total).step_by(100) {
        outbox.append(&lines(from, 100));
        let used: u64 = segments(&directory).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(used <= cap + 8192, "{used}");
    }
    let dropped = usize::try_from(outbox.dropped()).unwrap();
    assert!(dropped > 5000);
    assert_eq!(drain(&mut outbox), lines(dropped, total - dropped));
    assert!(segments(&directory).len() <= 1);
}

#[test]
fn a_directory_that_can_not_be_written_holds_one_batch_in_memory() {
    let parent = tempfile::tempdir().unwrap();
    // A file where the directory should be refuses everything, for root as well.
    let place = parent.path().join("outbox");
    fs::write(&place, "").unwrap();
    let mut outbox = Outbox::open(&place, ROOMY);
    assert!(matches!(outbox.append(&lines(0, 2)), Appended::Held(_)));
    assert!(!outbox.is_durable());
    assert!(matches!(outbox.append(&lines(2, 2)), Appended::Refused(_)));
    let batch = outbox.peek(10);
    assert_eq!(batch.lines, lines(0, 2));
    assert_eq!(outbox.peek_behind(batch.end(), 10), None);
    outbox.acknowledge(&batch);
    assert!(outbox.is_durable());
    assert!(matches!(outbox.append(&lines(2, 2)), Appended::Held(_)));
    fs::remove_file(&place).unwrap();
    assert!(matches!(outbox.append(&lines(4, 2)), Appended::Stored));
    assert!(outbox.is_durable());
    assert_eq!(drain(&mut outbox), lines(2, 4));
}

#[test]
fn a_batch_that_was_dropped_while_it_was_sent_does_not_move_the_position_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(directory.path(), 16 << 10);
    outbox.append(&lines(0, 50));
    let batch = outbox.peek(10);
    let ahead = outbox.peek_behind(batch.end(), 10).unwrap();
    assert_eq!(ahead.lines, lines(10, 10));
    for from in (50..3000).step_by(50) {
        outbox.append(&lines(from, 50));
    }
    let next = outbox.peek(1);
    outbox.acknowledge(&batch);
    assert_eq!(outbox.peek(1), next);
    assert!(outbox.dropped() > 20);
    assert!(!outbox.is_next(&ahead), "it was dropped, and counted as such");
}

#[test]
fn a_segment_that_vanishes_costs_itself_alone() {
    let directory = tempfile::tempdir().unwrap();
    Outbox::open(directory.path(), ROOMY).append(&lines(0, 5));
    let mut outbox = Outbox::open(directory.path(), ROOMY);
    outbox.append(&lines(5, 5));
    fs::remove_file(&segments(&directory)[0]).unwrap();
    assert_eq!(drain(&mut outbox), lines(5, 5));
    assert_eq!(outbox.dropped(), 1);
}
