//! The status page as text: goldens, hostile names, ten thousand paths. `UPDATE_GOLDEN=1` writes the goldens.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backup_common::reason::Reason;
use backup_common::record::{Body, Record, RunRefused};
use backup_exporter::event::sizes::{Scan, SizesEvent, VolumeBytes};
use backup_exporter::event::{
    Event, Input, Listing, PushHealth, SnapshotCount, SnapshotListing, SnapshotRule,
};
use backup_exporter::outputs::page::query::Query;
use backup_exporter::outputs::page::verdict::{Tone, Verdict};
use backup_exporter::outputs::page::{LISTED, View, matching, render};
use backup_exporter::outputs::status_json::status;
use backup_exporter::outputs::verdict;
use backup_exporter::schedule::{Schedule, Source};
use backup_exporter::state::State;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use pages::{PATHS, Scene, finished};
use proptest::prelude::*;

fn now() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

fn view(query: &str) -> View {
    View {
        now: now(),
        zone: TimeZone::UTC,
        query: Query::parse(query),
        server: "backup1".to_owned(),
        metrics: "./metrics".to_owned(),
    }
}

fn listing(paths: impl IntoIterator<Item = (String, String)>) -> Event {
    let mut hosts: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for (host, path) in paths {
        hosts.entry(host).or_default().insert(path);
    }
    Event::Configured(Listing(hosts))
}

/// A state in which every input has spoken.
fn state(listing: Event, records: Vec<Record>) -> State {
    let mut state = State::default();
    state.apply(listing);
    state.apply(Event::Scheduled(Some(Schedule {
        source: Source::Timer,
        interval: Some(Duration::from_secs(7200)),
        next_run: Some(now() + SignedDuration::from_mins(70)),
        last_trigger: None,
    })));
    for input in Input::ALL {
        state.apply(Event::InputUp(input));
    }
    for record in records {
        state.apply(Event::Recorded(Input::Stats, record));
    }
    for input in Input::ALL {
        state.apply(Event::CaughtUp(input));
    }
    state
}

fn scene(scene: Scene) -> State {
    let places = PATHS.map(|(host, path, _)| (host.to_owned(), path.to_owned()));
    let mut state = state(listing(places), scene.records(now()));
    state.apply(Event::SnapshotsConfigured(SnapshotListing {
        directory: None,
        schedules: [("daily", 7), ("weekly", 0)]
            .map(|(tag, limit)| (tag.to_owned(), SnapshotRule { limit, ..SnapshotRule::default() }))
            .into(),
    }));
    let mut count = SnapshotCount::default();
    if scene != Scene::Empty {
        count.add(now() - SignedDuration::from_hours(20), true);
        count.add(now() - SignedDuration::from_hours(44), true);
        count.add(now() - SignedDuration::from_hours(44), false);
    }
    state.apply(Event::SnapshotsSeen(Some([("daily".to_owned(), count)].into())));
    for (place, point) in scene.sizes(now()) {
        state.apply(Event::Sizes(SizesEvent::Measured(place, point)));
    }
    state.apply(Event::Sizes(SizesEvent::Volume(VolumeBytes {
        size: 1 << 40,
        used: 700 << 30,
        free: 324 << 30,
    })));
    state
}

/// A space of text, so that a long line of HTML can be compared by eye.
fn lines(html: &str) -> String {
    html.replace("><", ">\n<")
}

#[test]
fn goldens() {
    for scene in Scene::ALL {
        let html = lines(&render(&self::scene(scene), &view("")));
        let file =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pages/{}.html", scene.name()));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &html).unwrap();
        }
        assert_eq!(html, fs::read_to_string(&file).unwrap_or_default(), "{}", file.display());
    }
}

#[test]
fn the_verdict_in_words() {
    for (scene, tone, words) in [
        (Scene::Empty, Tone::Unknown, "Nothing is backed up yet: no run is recorded."),
        (Scene::Healthy, Tone::Good, "All 5 paths were backed up in the last 46 min."),
        (Scene::Failing, Tone::Bad, "2 of 5 paths are not up to date: web /etc, web /var/www."),
        (Scene::Running, Tone::Good, "All 5 paths were backed up in the last 43 min."),
    ] {
        let verdict = Verdict::of(&self::scene(scene), now());
        assert_eq!((verdict.tone, verdict.headline.as_str()), (tone, words), "{verdict:?}");
    }
    let mut reading = scene(Scene::Healthy);
    assert!(Verdict::of(&reading, now()).concerns.is_empty());
    reading.apply(Event::Configured(Listing::default()));
    assert_eq!(Verdict::of(&reading, now()).tone, Tone::Unknown);
    assert!(Verdict::of(&State::default(), now()).headline.contains("still reading"));
}

/// Two hours and a half later nothing has run; another two hours later the copies are too old as well.
#[test]
fn what_is_late_is_said() {
    let state = scene(Scene::Healthy);
    let at = |minutes| Verdict::of(&state, now() + SignedDuration::from_mins(minutes));
    assert_eq!(at(70).tone, Tone::Good);
    let late = at(140);
    assert_eq!((late.tone, late.concerns[0].text.as_str()), (Tone::Bad, "A run is overdue by 1 h 10 min."));
    assert!(late.headline.starts_with("All 5 paths"));
    assert!(at(300).headline.starts_with("5 of 5 paths are not up to date: mail /etc, "), "{:?}", at(300));
    // Where the interval is not known, nobody can say.
    let mut state = state.clone();
    state.apply(Event::Scheduled(None));
    let page = render(&state, &view(""));
    assert!(page.contains("as seen in the past"));
}

/// The page, the check for monitoring and the alert say the same of a run that takes longer than the interval.
#[test]
fn what_is_under_way_is_not_overdue() {
    for (scene, overdue) in [(Scene::Healthy, true), (Scene::Running, false)] {
        let (state, later) = (self::scene(scene), now() + SignedDuration::from_mins(140));
        let on_page =
            Verdict::of(&state, later).concerns.iter().any(|concern| concern.text.contains("overdue"));
        let findings = verdict::judge(&state, later, verdict::MAX_AGE).findings;
        let in_check = findings.iter().any(|finding| finding.text.contains("overdue"));
        assert_eq!((on_page, in_check), (overdue, overdue), "{findings:?}");
    }
}

#[test]
fn concerns_have_a_remedy() {
    let mut state = scene(Scene::Healthy);
    for input in Input::ALL {
        state.apply(Event::InputDown(input));
    }
    state.apply(Event::ConfigRejected);
    let oldest = Some(now() - SignedDuration::from_hours(5));
    state.apply(Event::Pushed(PushHealth { oldest, outbox_bytes: 2048, ..PushHealth::default() }));
    let status = backup_common::status::Status::Failed;
    state.apply(Event::Sizes(SizesEvent::Scanned(Scan { time: now(), duration_seconds: 1.0, status })));
    let refused =
        RunRefused { reason: Reason::BaseMissing, message: "/share/<backup> is not mounted".to_owned() };
    let time = now() - SignedDuration::from_mins(2);
    let body = Body::RunRefused(refused);
    state.apply(Event::Recorded(Input::Stats, Record { time, run_id: "1".to_owned(), body }));
    let verdict = Verdict::of(&state, now());
    assert_eq!(verdict.tone, Tone::Bad);
    assert!(verdict.concerns.iter().all(|concern| !concern.remedy.is_empty()));
    let page = render(&state, &view(""));
    for text in [
        "The stats log can not be read",
        "The journal can not be read",
        "No timer is found",
        "The directory of the snapshots can not be read",
        "The configuration has errors",
        "InfluxDB has not taken what happened 5 h ago; 2.00 KiB wait on disk.",
        "Not every directory could be measured",
        "A run was refused 2 min ago",
        "/share/&lt;backup&gt; is not mounted",
        "Mount the backup volume",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn filters_and_what_comes_first() {
    let state = scene(Scene::Failing);
    let found = |query: &str| -> Vec<String> {
        let groups = matching(&state, &Query::parse(query), now());
        groups
            .iter()
            .flat_map(|group| group.paths.iter().map(|path| format!("{} {}", group.name, path.1)))
            .collect()
    };
    assert_eq!(found(""), ["web /etc", "web /var/www", "mail /var/mail", "mail /etc", "nas /srv/photos"]);
    assert_eq!(found("state=problems"), ["web /etc", "web /var/www", "mail /var/mail"]);
    assert_eq!(found("state=success&host=MAI"), ["mail /etc"]);
    assert_eq!(found("path=w"), ["web /var/www"]);
    assert_eq!(found("host=nothing"), Vec::<String>::new());
    let page = render(&state, &view("host=%22%3E%3Cscript%3E"));
    assert!(page.contains("No path is like that.") && !page.contains("<script"));
}

fn many() -> State {
    let names = |number: usize| (format!("host{:03}", number / 100), format!("/srv/customers/{number:05}"));
    let records = (0..10_000).map(|number| {
        let (host, path) = names(number);
        let reason = if number % 1000 == 777 { Reason::PermissionDenied } else { Reason::Ok };
        let end = now() - SignedDuration::from_mins(30);
        let messages = vec!["x".repeat(500); 10];
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let body = Body::PathFinished(Box::new(finished(&host, &path, reason, end, 1, &messages)));
        Record { time: end, run_id: "1".to_owned(), body }
    });
    state(listing((0..10_000).map(names)), records.collect())
}

/// The page stays small, begins with what is bad, and every path can be reached.
#[test]
fn ten_thousand_paths() {
    let state = many();
    let begin = Instant::now();
    let page = render(&state, &view(""));
    println!("10,000 paths: {} bytes in {:?}", page.len(), begin.elapsed());
    assert!(page.len() < 300_000, "{} bytes", page.len());
    assert!(
        page.contains("10 of 10 000 paths are not up to date: host007 /srv/customers/00777, "),
        "{}",
        &page[..3000]
    );
    let first = page.find("<bdi class=\"path\">").unwrap();
    assert!(page[first..].starts_with("<bdi class=\"path\">/srv/customers/00777<"));
    // All that failed stand on the first pages: each host with one begins with it.
    let mut seen = std::collections::BTreeSet::new();
    for number in 0.. {
        let page = render(&state, &view(&format!("page={number}")));
        let rows =
            page.split("<bdi class=\"path\">").skip(1).map(|row| row.split_once('<').unwrap().0.to_owned());
        let before = seen.len();
        seen.extend(rows);
        if seen.len() == before || !page.contains("rel=\"next\"") {
            break;
        }
        assert_eq!(seen.len() - before, LISTED);
    }
    assert_eq!(seen.len(), 10_000);
    let page = render(&state, &view("state=failed"));
    assert_eq!(page.matches("<bdi class=\"path\">").count(), 10);

    let begin = Instant::now();
    let json = status(&state, now()).to_string();
    println!("as JSON: {} bytes in {:?}", json.len(), begin.elapsed());
}

#[test]
fn the_json_says_the_same() {
    let json = status(&scene(Scene::Failing), now());
    assert_eq!(json["verdict"]["level"], "critical");
    let web = &json["hosts"][2]["paths"][0];
    assert_eq!(
        (web["state"].as_str(), web["reason"]["name"].as_str()),
        (Some("failed"), Some("connection_refused"))
    );
    assert_eq!(web["messages"][0], "ssh: connect to host web port 22: Connection refused");
    assert_eq!(status(&scene(Scene::Running), now())["hosts"][0]["paths"][1]["progress_ratio"], 0.64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a host, a path, a message or the address says: no tag and no attribute comes of it.
    #[test]
    fn text_from_outside_stays_text(
        host in hostile(), path in hostile(), message in hostile(), query in hostile(), server in hostile(),
    ) {
        let end = now() - SignedDuration::from_mins(30);
        let body = finished(&host, &path, Reason::PermissionDenied, end, 1, &[&message]);
        let record = Record { time: end, run_id: "1".to_owned(), body: Body::PathFinished(Box::new(body)) };
        let state = state(listing([(host.clone(), path.clone())]), vec![record]);
        let asked = Query { host: query.clone(), path: query, ..Query::default() };
        let page = render(&state, &View { server, ..view("") });
        let plain = {
            let body = finished("h", "/p", Reason::PermissionDenied, end, 1, &["m"]);
            let record = Record { time: end, run_id: "1".to_owned(), body: Body::PathFinished(Box::new(body)) };
            let state = self::state(listing([("h".to_owned(), "/p".to_owned())]), vec![record]);
            render(&state, &view(""))
        };
        // The same tags with the same quotes as in the page of harmless names, and no more.
        for sign in ['<', '>', '"'] {
            prop_assert_eq!(page.matches(sign).count(), plain.matches(sign).count(), "{}", sign);
        }
        prop_assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
        let filtered = render(&state, &View { query: asked, ..view("") });
        prop_assert!(!filtered.contains("<script") && !filtered.contains("<img"));
    }
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"><img src=x onerror=alert(1)>".to_owned()),
        Just("' onmouseover='x".to_owned()),
        Just("\u{202e}gnp.\u{1b}[2J</title></style>".to_owned()),
        Just("&lt;b&gt; %3Cb%3E -->".to_owned()),
        "[<>\"'&/a-z]{1,40}",
        any::<String>().prop_filter("a name", |text| !text.is_empty()),
    ]
}
