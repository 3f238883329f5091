//! The reader of calendar expressions against systemd's own: `systemd-analyze calendar`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::process::Command;

use backup_exporter::inputs::timer::analyze;
use backup_exporter::schedule::calendar::Calendar;
use backup_exporter::schedule::{Plan, Times};
use backup_testkit::process;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

/// Expressions that systemd reads at a time.
const ITERATIONS: usize = 8;

/// What systemd says.
enum Answer {
    Times(Vec<Timestamp>),
    /// The expression can not be read.
    NoExpression,
    /// systemd 252 loses its way with some steps.
    InfiniteLoop,
}

fn ask_systemd(expression: &str, after: Timestamp, zone: &str) -> Answer {
    let base = format!("--base-time={} UTC", TimeZone::UTC.to_datetime(after).strftime("%Y-%m-%d %H:%M:%S"));
    let mut command = Command::new("systemd-analyze");
    command.env("TZ", format!(":{zone}")).env("LC_ALL", "C");
    command.args(["calendar", &format!("--iterations={ITERATIONS}"), &base, "--", expression]);
    let output = process::run(&mut command);
    match output.code {
        0 => Answer::Times(analyze::times(&output.stdout)),
        _ if output.stderr.contains("Failed to parse") => Answer::NoExpression,
        // The second is what it says where it does not tell what it was doing (EDEADLK).
        _ if ["Infinite loop", "Resource deadlock avoided"]
            .iter()
            .any(|text| output.stderr.contains(text)) =>
        {
            Answer::InfiniteLoop
        }
        _ => panic!("{expression}: {output:?}"),
    }
}

fn by_systemd(expression: &str, after: Timestamp, zone: &str) -> Option<Vec<Timestamp>> {
    match ask_systemd(expression, after, zone) {
        Answer::Times(times) => Some(times),
        Answer::NoExpression => None,
        Answer::InfiniteLoop => panic!("{expression} leads systemd astray"),
    }
}

/// The same by our own reader, to the second.
fn by_us(expression: &str, after: Timestamp, zone: &str) -> Option<Vec<Timestamp>> {
    let zone = TimeZone::get(zone).unwrap();
    let calendar = Calendar::parse(expression).ok()?;
    let next = |&time: &Timestamp| calendar.next_after(time, &zone);
    let times = std::iter::successors(next(&after), next).take(ITERATIONS);
    Some(times.map(|time| Timestamp::from_second(time.as_second()).unwrap()).collect())
}

fn compare(expression: &str, after: Timestamp, zone: &str) {
    let (ours, systemd) = (by_us(expression, after, zone), by_systemd(expression, after, zone));
    assert_eq!(ours, systemd, "{expression:?} after {after} in {zone}");
}

#[test]
fn forms_of_the_manual_page() {
    let after = "2026-11-23T12:34:56Z".parse().unwrap();
    for expression in [
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed..Wed,Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "*-*-7 0:0:0",
        "10-15",
        "monday *-12-* 17:00",
        "Mon,Fri *-*-3,1,2 *:30:45",
        "12,14,13,12:20,10,30",
        "12..14:10,20,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05 08:05:40",
        "08:05:40",
        "05:40",
        "Sat,Sun 12-05 08:05:40",
        "Sat,Sun 08:05:40",
        "2003-03-05 05:40",
        "05:40:23.4200004/3.1700005",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "2003-03-05",
        "03-05",
        "hourly",
        "daily",
        "daily UTC",
        "monthly",
        "weekly",
        "weekly Pacific/Auckland",
        "yearly",
        "annually",
        "*:2/3",
        "quarterly",
        "semiannually",
        "minutely",
        "*-*-* 00/2:00:00",
        "*-02~01",
        "Mon *-05~07/1",
        "*-*~5..7",
        "*-*~07..05",
        "*~31",
        "Mon..Fri *-*-* 02:30:00 Europe/Berlin",
        "2099-12-31",
        "@1900000000",
        "Mon @1900000000",
        // None of these is one.
        "",
        "*",
        "1",
        "Mon..",
        "Mon...Fri",
        "Fri..Mon",
        "Mon,,Fri",
        "Monx 10:00",
        "24:00",
        "10:60",
        "10:00:60",
        "*-13-01",
        "*-*-32",
        "10:00 Nowhere/Land",
        "00/0:00",
        "1..2/5:00",
        "2..2:00",
        "*-*~2..3/9",
        "nonsense",
        "*-*-* 10:00:00 x",
        "10:00  ",
        "DAILY",
    ] {
        compare(expression, after, "UTC");
    }
}

#[test]
fn changes_of_the_clock() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"] {
        for after in
            ["2026-03-27T22:10:00Z", "2026-10-23T22:10:00Z", "2026-10-03T12:00:00Z", "2026-04-03T12:00:00Z"]
        {
            for expression in
                ["daily", "02:30", "*:30", "00/2:00", "*:0/15", "Sun 02:15", "Mon..Fri 01:30", "02:30 UTC"]
            {
                compare(expression, after.parse().unwrap(), zone);
            }
        }
    }
}

/// No range of a single second, which systemd refuses though it takes one of a single minute.
/// systemd 252 says 5 January, when it comes from December.
#[test]
fn a_step_of_days_begins_anew_in_january() {
    let december: Timestamp = "2023-12-30T02:00:00Z".parse().unwrap();
    let ours = by_us("*-*-1/4 01:00", december, "UTC").unwrap();
    assert_eq!(ours[0], "2024-01-01T01:00:00Z".parse().unwrap());
    assert_eq!(ours[1], "2024-01-05T01:00:00Z".parse().unwrap());
}

fn entry(numbers: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    let number = || numbers.clone();
    prop_oneof![
        4 => number().prop_map(|one| format!("{one:02}")),
        2 => (number(), number()).prop_map(|(one, two)| format!("{}..{}", one.min(two), one.max(two) + 1)),
        2 => (number(), 1u32..15).prop_map(|(one, step)| format!("{one}/{step}")),
        1 => (number(), number(), 1u32..10).prop_map(|(one, two, step)| format!("{}..{}/{step}", one.min(two), one.max(two) + 1)),
    ]
}

fn list(numbers: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        3 => proptest::collection::vec(entry(numbers), 1..4).prop_map(|entries| entries.join(",")),
    ]
}

/// Days with what stands before them. systemd lowers the limit of days that are counted from the end with
/// each entry of a list, which is a slip in its check: we take what is meant.
fn days_of_month() -> impl Strategy<Value = String> {
    prop_oneof![
        list(1..32).prop_map(|days| format!("-{days}")),
        entry(1..32).prop_map(|days| format!("~{days}"))
    ]
}

fn expression() -> impl Strategy<Value = String> {
    const DAYS: [&str; 7] = ["Mon", "tue", "Wednesday", "THU", "Fri", "Sat", "Sun"];
    let day = || (0usize..7).prop_map(|day| DAYS[day].to_owned());
    let days = prop_oneof![
        day(),
        (0usize..7, 0usize..7).prop_map(|(one, two)| format!(
            "{}..{}",
            DAYS[one.min(two)],
            DAYS[one.max(two)]
        )),
        (day(), day()).prop_map(|(one, two)| format!("{one},{two}")),
    ];
    let weekdays = prop_oneof![3 => Just(String::new()), 1 => days.prop_map(|days| format!("{days} "))];
    let year = prop_oneof![4 => Just("*".to_owned()), 1 => list(2024..2040), 1 => list(24..40)];
    let date = prop_oneof![
        2 => Just(String::new()),
        3 => (year, list(1..13), days_of_month()).prop_map(|(year, month, days)| format!("{year}-{month}{days} ")),
        1 => (list(1..13), days_of_month()).prop_map(|(month, days)| format!("{month}{days} ")),
    ];
    let time = prop_oneof![
        3 => (list(0..24), list(0..60)).prop_map(|(hour, minute)| format!("{hour}:{minute}")),
        2 => (list(0..24), list(0..60), list(0..60)).prop_map(|(hour, minute, second)| format!("{hour}:{minute}:{second}")),
    ];
    let zone = prop_oneof![4 => Just(""), 1 => Just(" UTC"), 1 => Just(" America/New_York")];
    (weekdays, date, time, zone)
        .prop_map(|(weekdays, date, time, zone)| format!("{weekdays}{date}{time}{zone}"))
}

/// Whether a time is in January in a zone that the expressions have.
fn is_in_january(time: Timestamp) -> bool {
    ZONES.iter().any(|zone| TimeZone::get(zone).unwrap().to_datetime(time).month() == 1)
}

/// Whether a time is in the first hour of a day in a zone that the expressions have.
fn is_after_midnight(time: Timestamp) -> bool {
    ZONES.iter().any(|zone| TimeZone::get(zone).unwrap().to_datetime(time).hour() == 0)
}

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Also whether an expression is one: the strategy makes lists that systemd refuses.
    ///
    /// With steps that lead beyond the hour, such as `*:0/7`, systemd 252 goes from 23:56 to 00:07 on some
    /// days and leaves out 00:00; and with a step of days, such as `*-*-1/4`, it leaves out the first of those days in
    /// January when it comes from December. The manual page has no word of either, so we do not.
    #[test]
    fn random_expressions(expression in expression(), after in 1_700_000_000_i64..2_200_000_000, zone in 0usize..3) {
        let zone = ZONES[zone];
        let after = Timestamp::from_second(after).unwrap();
        let ours = by_us(&expression, after, zone);
        let systemd = match ask_systemd(&expression, after, zone) {
            Answer::Times(times) => Some(times),
            Answer::NoExpression => None,
            Answer::InfiniteLoop => return Ok(()),
        };
        if let (Some(ours), Some(systemd)) = (&ours, &systemd)
            && ours != systemd
        {
            let steps_days = expression.split(' ').any(|part| part.contains('-') && part.contains('/'));
            let lost = ours.iter().filter(|time| !systemd.contains(time) && Some(*time) < systemd.last());
            prop_assert!(expression.contains('/'), "{:?} {:?}", ours, systemd);
            let further = systemd.iter().filter(|time| Some(*time) < ours.last());
            for time in further {
                prop_assert!(ours.contains(time), "{} is no time of ours: {:?} {:?}", time, ours, systemd);
            }
            for time in lost {
                prop_assert!(is_after_midnight(*time) || steps_days && is_in_january(*time), "{} is no time of systemd: {:?} {:?}", time, ours, systemd);
            }
        } else {
            prop_assert_eq!(ours, systemd);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whenever one looks within the next year, no two runs of the schedule are further apart.
    #[test]
    fn no_gap_is_larger_than_the_interval(expressions in proptest::collection::vec(expression(), 1..3), now in 1_700_000_000_i64..1_900_000_000, later in 0_i64..300 * 86_400, zone in 0usize..3) {
        let calendars: Vec<_> = expressions.iter().filter_map(|text| Calendar::parse(text).ok()).map(Times::Calendar).collect();
        let plan = Plan { calendars, ..Plan::default() };
        let zone = TimeZone::get(ZONES[zone]).unwrap();
        let (now, later) = (Timestamp::from_second(now).unwrap(), Timestamp::from_second(now + later).unwrap());
        let next = |&time: &Timestamp| plan.next_after(time, &zone);
        // More runs than one every five minutes are not looked through for a whole year.
        let dense = std::iter::successors(next(&now), next).nth(288);
        prop_assume!(dense.is_none_or(|time| time.duration_since(now).as_hours() >= 24));
        let interval = plan.interval(now, &zone);
        let times: Vec<_> = std::iter::successors(next(&later), next).take(50).collect();
        for pair in times.windows(2).filter(|pair| pair[1].duration_since(now).as_hours() < 24 * 400) {
            let gap = pair[1].duration_since(pair[0]).unsigned_abs();
            prop_assert!(interval.is_some_and(|interval| gap <= interval), "{:?} > {:?} at {}", gap, interval, pair[0]);
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}|[A-Za-z0-9*.,/:~@ -]{0,40}") {
        if let Ok(calendar) = Calendar::parse(&text) {
            let after = Timestamp::from_second(1_800_000_000).unwrap();
            let found = calendar.next_after(after, &TimeZone::UTC);
            prop_assert!(found.is_none_or(|found| found > after));
        }
    }
}
