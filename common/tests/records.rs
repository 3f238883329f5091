//! The wire format: what was written stays readable, and no damage is read as a record.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::collections::BTreeMap;
use std::fs;

use backup_common::error_kind::ErrorKind;
use backup_common::reason::Reason;
use backup_common::record::{
    Body, DecodeError, HostFinished, PathFinished, PathProgress, PathStarted, Record, RunFinished,
    RunRefused, RunStarted, Snapshot, SnapshotAction, Spare, TransferStats, Trigger,
};
use backup_common::status::Status;
use jiff::Timestamp;
use proptest::prelude::*;

const RUN: &str = "0123456789abcdef0123456789abcdef";

fn time() -> Timestamp {
    "2026-11-23T01:02:03.456789Z".parse().unwrap()
}

fn path_finished() -> PathFinished {
    PathFinished {
        host: "server1".to_owned(),
        path: "/etc".to_owned(),
        dest: "/share/backup/server1/etc".to_owned(),
        status: Status::Warning,
        reason: Reason::VanishedFiles,
        exit_code: Some(24),
        signal: None,
        attempts: 1,
        started: time(),
        duration_seconds: 1.25,
        stats: Some(TransferStats {
            files: 5,
            files_created: 1,
            files_deleted: 2,
            files_transferred: 3,
            source_size_bytes: 9_000_000,
            transferred_size_bytes: 3_000_000,
            literal_bytes: 2_999_999,
            matched_bytes: 1,
            sent_bytes: 100,
            received_bytes: 3_000_100,
            transfer_rate_bytes_per_second: 2_000_000.5,
            speedup_ratio: 3.0,
        }),
        error_count: 0,
        warning_count: 1,
        errors: BTreeMap::from([(ErrorKind::Vanished, 1)]),
        messages: vec!["file has vanished: \"/etc/x\"".to_owned()],
    }
}

/// One of each type, in the order of a run.
fn one_of_each() -> Vec<Record> {
    let counts = BTreeMap::from([(Status::Success, 2), (Status::Warning, 1)]);
    let (host, path, dest) =
        ("server1".to_owned(), "/etc".to_owned(), "/share/backup/server1/etc".to_owned());
    [
        Body::RunStarted(RunStarted {
            trigger: Trigger::Timer,
            pid: 4242,
            version: "0.1.0".to_owned(),
            hosts: 1,
            paths: 3,
            rsync_version: Some("3.5.0".to_owned()),
        }),
        Body::RunRefused(RunRefused {
            reason: Reason::Locked,
            message: "another run holds /run/backup-runner.lock".to_owned(),
        }),
        Body::PathStarted(PathStarted { host: host.clone(), path: path.clone(), dest }),
        Body::PathProgress(PathProgress {
            host: host.clone(),
            path: path.clone(),
            bytes: 1_048_576,
            percent: 12.0,
            files: 7,
        }),
        Body::PathFinished(Box::new(path_finished())),
        Body::HostFinished(HostFinished {
            host,
            status: Status::Warning,
            reason: Reason::VanishedFiles,
            duration_seconds: 2.5,
            paths: counts.clone(),
        }),
        Body::Snapshot(Snapshot {
            schedule: "daily".to_owned(),
            action: SnapshotAction::Created,
            name: Some("daily_2026-11-23_010203_incomplete".to_owned()),
            complete: Some(false),
            missing: vec!["server1:/etc".to_owned()],
            message: None,
        }),
        Body::RunFinished(RunFinished {
            status: Status::Warning,
            reason: Reason::VanishedFiles,
            duration_seconds: 3.0,
            hosts: BTreeMap::from([(Status::Warning, 1)]),
            paths: counts,
        }),
    ]
    .into_iter()
    .map(|body| Record { time: time(), run_id: RUN.to_owned(), body })
    .collect()
}

fn without_newline(line: &str) -> &[u8] {
    line.strip_suffix('\n').expect("a record ends with its newline").as_bytes()
}

/// `records/v1.jsonl` was written by the first version. It is only ever added to.
#[test]
fn records_of_the_first_version_stay_readable() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/records/v1.jsonl");
    let encoded: String = one_of_each().iter().map(Record::encode).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, &encoded).unwrap();
    }
    let golden = fs::read_to_string(file).unwrap();
    let decoded: Vec<_> = golden.lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
    assert_eq!(decoded, one_of_each());
    assert_eq!(encoded, golden, "a changed shape needs a new version");
}

#[test]
fn a_run_that_says_nothing_of_its_rsync_is_read() {
    let line = one_of_each()[0].encode().replace(",\"rsync_version\":\"3.5.0\"", "");
    let record = Record::decode(without_newline(&line)).unwrap();
    let Body::RunStarted(started) = record.body else { panic!("{record:#?}") };
    assert_eq!((started.rsync_version, started.version.as_str()), (None, "0.1.0"));
}

#[test]
fn a_line_cut_at_any_byte_is_no_record() {
    for record in one_of_each() {
        let line = record.encode();
        let whole = without_newline(&line);
        assert_eq!(Record::decode(whole), Ok(record));
        for cut in 0..whole.len() {
            assert!(Record::decode(&whole[..cut]).is_err(), "cut at {cut} of {line}");
        }
    }
}

#[test]
fn unknown_fields_are_accepted_and_unknown_meanings_are_not() {
    let line = one_of_each()[0].encode();
    let with = |from: &str, to: &str| Record::decode(without_newline(&line.replace(from, to)));
    assert!(with("\"pid\":", "\"colour\":{\"deep\":[1,2]},\"pid\":").is_ok());
    assert_eq!(with("\"v\":1", "\"v\":2"), Err(DecodeError::Version(2)));
    assert_eq!(with("run_started", "run_paused"), Err(DecodeError::Type("run_paused".to_owned())));
    assert_eq!(with("timer", "cosmic"), Err(DecodeError::Field("trigger")));
    assert_eq!(with("\"hosts\":1", "\"hosts\":{\"success\":1}"), Err(DecodeError::Field("hosts")));
    assert!(matches!(with("4242", "-1"), Err(DecodeError::Malformed(_))));
    assert!(matches!(with("4242", "1e999"), Err(DecodeError::Malformed(_))));
    assert_eq!(with("2026-11-23T", "2026-11-33T"), Err(DecodeError::Field("time")));
}

#[test]
fn a_reason_of_a_later_version_is_other() {
    let line = one_of_each()[1].encode().replace("\"locked\"", "\"eclipse\"");
    let Ok(Record { body: Body::RunRefused(refused), .. }) = Record::decode(without_newline(&line)) else {
        panic!("{line}");
    };
    assert_eq!(refused.reason, Reason::Other);
}

#[test]
fn garbage_is_skipped_with_a_name_from_the_closed_list() {
    let deep = "[".repeat(10_000);
    let nul = "\0".repeat(100);
    for garbage in ["", "{}", "null", "[]", "RSYNC_STATS: host=a", "{\"v\":1}", &deep, &nul, "\u{fffd}"] {
        let error = Record::decode(garbage.as_bytes()).expect_err(garbage);
        assert!(DecodeError::NAMES.contains(&error.name()));
    }
    assert!(Record::decode(b"{\"v\":1,\"type\":\"\xff\xfe\"}").is_err());
}

proptest! {
    #[test]
    fn any_text_survives_the_wire(host in "\\PC{1,20}", message: String, seconds in 0.0f64..1e9, count: u64) {
        let mut finished = path_finished();
        finished.host = host;
        finished.messages = vec![message];
        finished.duration_seconds = seconds;
        finished.error_count = count;
        let record = Record { time: time(), run_id: RUN.to_owned(), body: Body::PathFinished(Box::new(finished)) };
        let line = record.encode();
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(Record::decode(without_newline(&line)), Ok(record));
    }

    /// The memory of other records leaves nothing of them behind.
    #[test]
    fn memory_that_is_used_again_is_empty(lines in proptest::collection::vec((0..8usize, 0..400usize, any::<bool>()), 0..60)) {
        let mut spare = Spare::default();
        for (which, cut, damaged) in lines {
            let line = one_of_each()[which % one_of_each().len()].encode();
            let mut line = without_newline(&line);
            if damaged {
                line = &line[..cut.min(line.len())];
            }
            let read = Record::decode_into(line, &mut spare);
            prop_assert_eq!(&read, &Record::decode(line));
            if let Ok(record) = read {
                spare.give(record);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&line);
    }

    /// The frequent types have a reader of their own; it takes nothing that the general one would refuse or
    /// read differently. A blank in front of the first name leads past it.
    #[test]
    fn both_readers_read_the_same(
        which in 0..8usize,
        key in 0..30usize,
        value in prop_oneof![
            Just("null"), Just("-1"), Just("1e300"), Just("\"\""), Just("\"x\""), Just("{}"), Just("[]"), Just("[1]"), Just("true"),
            Just("\"2026-11-23T01:02:03Z\""), Just("{\"files\":1,\"later\":2}"), Just("{\"vanished\":1,\"later\":2}"),
            Just("{\"vanished\":1,\"vanished\":2}"), Just("{\"later\":1,\"other\":2}"), Just("[\"a\\\"\",\"\\u00e9\"]"), Just("07"),
            Just("1.50"), Just("4294967296"), Just("\"2026-12-31T23:59:60.000000Z\""), Just("\"2026-02-29T01:02:03.000004Z\""),
        ],
        change in 0..6usize,
    ) {
        let line = one_of_each()[which % one_of_each().len()].encode();
        let mut parts = fields(&line);
        let key = key % parts.len();
        let name = parts[key].split(':').next().unwrap().to_owned();
        match change {
            0 => drop(parts.remove(key)),
            1 | 2 => parts[key] = format!("{name}:{value}"),
            3 => parts.push(parts[key].clone()),
            4 => parts.rotate_left(key),
            _ => parts.insert(key, format!("\"later\":{value}")),
        }
        assert_read_alike(&parts.join(","))?;
    }

    /// As before, with a few bytes anywhere in the line gone, doubled or others.
    #[test]
    fn both_readers_read_a_damaged_line_the_same(
        which in 0..8usize,
        at in 0..1000usize,
        length in 0..4usize,
        scrap in prop_oneof![any::<String>(), "[0-9.eE\"\\\\,:{}\\[\\] tnu-]{0,4}"],
    ) {
        let line = one_of_each()[which % one_of_each().len()].encode();
        let mut inner = line.trim_end().strip_prefix('{').and_then(|line| line.strip_suffix('}')).unwrap().to_owned();
        let boundary = |at: usize| (at..line.len()).find(|at| line.is_char_boundary(at + 1)).unwrap();
        let from = boundary(at % inner.len());
        let to = boundary((from + length).min(inner.len()));
        inner.replace_range(from..to, &scrap);
        assert_read_alike(&inner)?;
    }
}

/// The fields of an object in their order, as `"name":value`.
fn fields(line: &str) -> Vec<String> {
    let inner = line.trim_end().strip_prefix('{').and_then(|line| line.strip_suffix('}')).unwrap();
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for character in inner.chars() {
        match character {
            '"' if !escaped => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        parts.last_mut().unwrap().push(character);
    }
    parts
}

fn assert_read_alike(inner: &str) -> Result<(), TestCaseError> {
    let [ours, general] = [format!("{{{inner}}}"), format!("{{ {inner}}}")]
        .map(|line| Record::decode(line.as_bytes()).map_err(|error| error.name()));
    prop_assert_eq!(ours, general, "{}", inner);
    Ok(())
}
