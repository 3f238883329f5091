//! Entries into sessions: real lines of systemd, rsync and ssh, in any pieces and with anything else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod scenario;

use backup_exporter::event::{Event, SessionEvent};
use backup_exporter::inputs::journal::entry::Entry;
use backup_exporter::inputs::journal::session::Sessions;
use backup_exporter::state::{LINES, SESSIONS, SESSIONS_WITH_LINES, State};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const IDS: [&str; 8] = [
    "39f53479d3a045ac8e11786248231fbf",
    "7d4958e842da4a758f6c1cdc7b36dcc5",
    "be02cf6855d2428ba40df7e9d022f03d",
    "7ad2d189f7e94e70a38c781354912448",
    "d9b373ed55a64feb8242e02dbe79a49c",
    "98e322203f7a4ed290d09fe03c09fe15",
    "fe6faa94e7774663a0da52717891d8ef",
    "0e4284a0caca4bfc81c0bb6786972673",
];

const FIELDS: [&str; 12] = [
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "SYSLOG_IDENTIFIER",
    "_PID",
    "_SYSTEMD_INVOCATION_ID",
    "INVOCATION_ID",
    "UNIT_RESULT",
    "JOB_RESULT",
    "EXIT_CODE",
    "EXIT_STATUS",
    "BACKUP_RECORD",
];

const TEXTS: [&str; 9] = [
    "Starting Backup...",
    "Finished Backup.",
    "rsync error: some files could not be transferred (code 23) at main.c(1865) [generator=3.2.7]",
    "ssh: connect to host a port 22: Connection refused",
    "total size is 1,000  speedup is 5.00",
    "Number of files: 7 (reg: 5, dir: 2)",
    "RSYNC_STATS: host=a path=/x bytes_sent=1",
    "a\nb\n\u{1b}[2J",
    "",
];

fn any_entry() -> impl Strategy<Value = Entry> {
    (
        any::<bool>(),
        proptest::option::of("[ab]"),
        proptest::option::of(0..IDS.len()),
        0..TEXTS.len(),
        proptest::option::of(prop_oneof![
            Just("signal"),
            Just("exit-code"),
            Just("start-limit-hit"),
            Just("odd")
        ]),
        proptest::option::of(prop_oneof![Just("done"), Just("failed"), Just("dependency")]),
        (0u64..1_000_000, "[12]", proptest::option::of(-5i32..300)),
    )
        .prop_map(|(from_manager, invocation, id, text, result, job, (time, boot, status))| Entry {
            realtime: 1_767_322_800_000_000 + time,
            monotonic: time,
            boot: boot.into(),
            from_manager,
            invocation: invocation.unwrap_or_default(),
            message_id: id.map_or_else(String::new, |id| IDS[id].to_owned()),
            message: TEXTS[text].as_bytes().to_vec(),
            priority: 6,
            unit_result: result.unwrap_or_default().to_owned(),
            job_result: job.unwrap_or_default().to_owned(),
            exit_status: status,
            ..Entry::default()
        })
}

fn events(entries: &[Entry]) -> Vec<Event> {
    scenario::session_events(entries).concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each session begins once and before all else of it, and its end is never taken back.
    #[test]
    fn sessions_are_in_order(entries in proptest::collection::vec(any_entry(), 0..60)) {
        let mut begun = Vec::new();
        for event in events(&entries) {
            match event {
                Event::Session(SessionEvent::Started { id, .. }) => {
                    prop_assert!(!begun.contains(&id));
                    begun.push(id);
                }
                Event::Session(SessionEvent::Line { id, .. }) => prop_assert!(begun.contains(&id)),
                Event::Session(SessionEvent::Ended(end)) => {
                    prop_assert!(begun.contains(&end.id));
                    prop_assert!(end.duration_seconds.is_none_or(|seconds| seconds >= 0.0));
                }
                _ => {}
            }
        }
    }

    /// The same entries in two pieces, as the reader may hand them over, are the same events.
    #[test]
    fn pieces_do_not_matter(entries in proptest::collection::vec(any_entry(), 0..60), cut in 0usize..60) {
        let whole = events(&entries);
        let mut sessions = Sessions::new(|| TimeZone::UTC);
        let mut pieces = Vec::new();
        let (first, second) = entries.split_at(cut.min(entries.len()));
        for piece in [first, second] {
            for entry in piece {
                sessions.push(entry, &mut |event| pieces.push(event));
            }
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn an_entry_that_is_used_again_remembers_nothing(
        fields in proptest::collection::vec((proptest::sample::select(&FIELDS), "[a-z0-9]{0,40}"), 0..20),
    ) {
        let mut used = Entry::default();
        for (name, value) in &fields {
            used.set(name.as_bytes(), value.as_bytes());
        }
        used.begin(1, 2, "3".into());
        let new = Entry { realtime: 1, monotonic: 2, boot: "3".into(), priority: 6, ..Entry::default() };
        prop_assert_eq!(used, new);
    }

    #[test]
    fn no_field_makes_it_panic(fields in proptest::collection::vec(("(MESSAGE|PRIORITY|EXIT_STATUS|_PID|INVOCATION_ID|MESSAGE_ID|UNIT_RESULT)?.?", ".{0,40}"), 0..20)) {
        let mut entry = Entry::default();
        for (name, value) in &fields {
            entry.set(name.as_bytes(), value.as_bytes());
        }
        events(&[entry]);
    }
}

#[test]
fn memory_is_bounded() {
    let mut state = State::default();
    let entries: Vec<_> = (0..SESSIONS as u64 + 50)
        .flat_map(|session| {
            let line = move |number: u64| Entry {
                realtime: 1_767_322_800_000_000 + session * 1_000_000 + number,
                boot: "1".into(),
                invocation: format!("{session:032x}"),
                message: b"a line".to_vec(),
                ..Entry::default()
            };
            let many = session % 100 == 0 || session > SESSIONS as u64;
            (0..if many { LINES as u64 + 10 } else { 1 }).map(line)
        })
        .collect();
    for event in events(&entries) {
        state.apply(event);
    }
    let sessions = state.sessions();
    assert_eq!(sessions.len(), SESSIONS);
    assert_eq!(sessions.iter().filter(|(_, session)| !session.lines.is_empty()).count(), SESSIONS_WITH_LINES);
    assert!(sessions.iter().all(|(_, session)| session.lines.len() <= LINES));
    assert_eq!(sessions.last().unwrap().0, format!("{:032x}", SESSIONS + 49));
}
