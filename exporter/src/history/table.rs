//! Pure: runs for people.

use std::fmt::Write as _;
use std::time::Duration;

use backup_common::record::Trigger;
use backup_common::units;
use jiff::tz::TimeZone;

use super::runs::{Ending, Run, RunPath};
use super::select::{Selection, Wanted};
use super::summary::View;
use super::text::{Column, name, or_dash};

/// Lines of the log that are shown without `--verbose`, the last ones.
const LINES: usize = 20;
/// Messages of a path that are shown without `--verbose`.
const MESSAGES: usize = 3;

/// The runs that were selected.
pub fn render(
    selection: &Selection<'_>,
    wanted: &Wanted,
    interval: Option<Duration>,
    view: &View<'_>,
) -> String {
    let mut out = String::new();
    for (index, run) in selection.runs.iter().enumerate() {
        if index > 0 {
            out += "\n";
        }
        out += &one(run, &ordinal(wanted.back + index), interval, view);
    }
    let shortage = shortage(selection, wanted, view);
    let gap = if out.is_empty() || shortage.is_empty() { "" } else { "\n" };
    out + gap + &shortage
}

/// Says that there are fewer runs than were asked for.
pub fn shortage(selection: &Selection<'_>, wanted: &Wanted, view: &View<'_>) -> String {
    if selection.runs.len() >= wanted.count {
        return String::new();
    }
    let host = wanted.host.as_ref().map_or_else(String::new, |host| format!(" of {}", name(host)));
    let since = wanted.since.map_or_else(String::new, |since| {
        let local = since.to_zoned(view.zone.clone()).strftime("%Y-%m-%d %H:%M");
        format!(" since {local}")
    });
    let there = if selection.found <= 1 { "is" } else { "are" };
    let found = match selection.found {
        0 => "no run".to_owned(),
        1 => "only 1 run".to_owned(),
        more => format!("only {more} runs"),
    };
    let asked = match (wanted.back, wanted.count) {
        (0, 1) => String::new(),
        (back, 1) => format!("; asked for was the {}", ordinal(back).to_lowercase()),
        (0, count) => format!("; asked for were {count}"),
        (back, count) => format!("; asked for were {count}, from the {} on", ordinal(back).to_lowercase()),
    };
    view.style.wrapped("", "", &format!("There {there} {found}{host}{since}{asked}."))
}

/// `Last run`, `2nd last run`, `3rd last run`, …
pub fn ordinal(back: usize) -> String {
    let number = back + 1;
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    if back == 0 { "Last run".to_owned() } else { format!("{number}{ending} last run") }
}

/// How a run stood against the expected interval: `late`, `early` or `on_time`.
///
/// A tenth of the interval is no matter, and as with the alerts ten minutes more for one that is late.
pub fn punctuality(gap_seconds: f64, interval: Duration) -> &'static str {
    let interval = interval.as_secs_f64();
    let slack = 0.1 * interval;
    match gap_seconds - interval {
        late if late > slack + 600.0 => "late",
        early if early < -slack => "early",
        _ => "on_time",
    }
}

fn one(run: &Run, title: &str, interval: Option<Duration>, view: &View<'_>) -> String {
    let mut out = format!("{title}: {}", view.style.paint(run.ending.name()));
    if let Some(reason) = run.reason.filter(|_| run.ending != Ending::Running) {
        let _ = write!(out, " ({reason})");
    }
    let mut out = view.style.wrapped("", "  ", &out);
    let by = match run.trigger {
        Some(Trigger::Timer) => ", by the timer",
        Some(Trigger::Service) => ", by systemd",
        Some(Trigger::Manual) => ", by hand",
        None => "",
    };
    out += &view.labelled("started", &format!("{}{by}", view.when(run.started)));
    if run.ending != Ending::Running && run.ending != Ending::Refused {
        let took = run.duration_seconds.map_or_else(|| "not known".to_owned(), units::duration);
        out += &view.labelled("took", &took);
    }
    out += &against(run, interval, view);
    if let Some(reason) =
        run.reason.filter(|reason| reason.status() != backup_common::status::Status::Success)
    {
        out += &view.labelled("why", reason.cause());
        out += &view.labelled("", &format!("-> {}", reason.remedy()));
    }
    if let Some(message) = &run.message {
        out += &view.labelled("message", &name(message));
    }
    if !run.has_records {
        out += &view.labelled("known", "from the journal or the lines of the older system, without records");
    }
    if let Some(end) = &run.session {
        out += &session(end, view);
    }
    if view.verbose && !run.id.is_empty() {
        out += &view.labelled("id", &name(&run.id));
    }
    out += &paths(run, view);
    out += &messages(run, view);
    for snapshot in &run.snapshots {
        let what = [snapshot.name.as_deref(), snapshot.message.as_deref()];
        let what: Vec<_> = what.iter().flatten().map(|text| name(text)).collect();
        let mut text = format!("{} {} {}", name(&snapshot.schedule), snapshot.action, what.join(": "));
        if !snapshot.missing.is_empty() {
            let missing: Vec<_> = snapshot.missing.iter().map(|missing| name(missing)).collect();
            let _ = write!(text, " (without {})", missing.join(", "));
        }
        out += &view.labelled("snapshot", text.trim_end());
    }
    out + &log(run, view)
}

fn against(run: &Run, interval: Option<Duration>, view: &View<'_>) -> String {
    let (Some(gap), Some(interval)) = (run.gap_seconds, interval) else { return String::new() };
    let seconds = interval.as_secs_f64();
    let word = match punctuality(gap, interval) {
        "late" => format!("{} late", units::duration(gap - seconds)),
        "early" => "earlier than that".to_owned(),
        _ => "on time".to_owned(),
    };
    let text = format!(
        "{} after the run before; expected every {}: {word}",
        units::duration(gap.max(0.0)),
        units::duration(seconds)
    );
    view.labelled("schedule", &text)
}

fn session(end: &crate::event::SessionEnd, view: &View<'_>) -> String {
    let mut text = format!("ended with {}", name(&end.result));
    if let Some(code) = end.exit_code {
        let _ = write!(text, ", exit code {code}");
    }
    if let Some(signal) = end.signal {
        let _ = write!(text, ", signal {signal}");
    }
    let mut out = view.labelled("service", &text);
    if let Some(stats) = &end.stats {
        let [source, sent, received] =
            [stats.source_size_bytes, stats.sent_bytes, stats.received_bytes].map(units::bytes);
        let text =
            format!("{source} on the source, {sent} sent, {received} received by what rsync has logged");
        out += &view.labelled("in all", &text);
    }
    if !end.errors.is_empty() {
        let kinds: Vec<_> =
            end.errors.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        out += &view.labelled("errors", &kinds.join(", "));
    }
    out
}

fn shown<'a>(run: &'a Run, view: &'a View<'_>) -> impl Iterator<Item = (&'a str, &'a str, &'a RunPath)> {
    let hosts = run.hosts.iter().filter(|(host, _)| view.host.is_none_or(|only| only == host.as_str()));
    hosts.flat_map(|(host, known)| {
        known.paths.iter().map(move |(path, known)| (host.as_str(), path.as_str(), known))
    })
}

fn paths(run: &Run, view: &View<'_>) -> String {
    let mut columns = [
        Column::new("state", false, 0),
        Column::new("host", false, 0),
        Column::new("path", false, 0),
        Column::new("reason", false, 1),
        Column::new("took", true, 3),
        Column::new("files", true, 6),
        Column::new("new", true, 8),
        Column::new("deleted", true, 7),
        Column::new("source", true, 5),
        Column::new("sent", true, 9),
        Column::new("received", true, 4),
        Column::new("speed-up", true, 8),
        Column::new("errors", true, 2),
    ];
    for (host, path_name, path) in shown(run, view) {
        let end = path.finished.as_deref();
        let stats = end.and_then(|end| end.stats);
        let counted = stats.filter(|_| !path.without_counts);
        let word = path.status().map_or("running", backup_common::status::Status::name);
        let cells = [
            word.to_owned(),
            name(host),
            name(path_name),
            or_dash(path.reason().map(|reason| reason.name().to_owned())),
            or_dash(end.filter(|_| !path.without_counts).map(|end| units::duration(end.duration_seconds))),
            or_dash(counted.map(|stats| units::grouped(stats.files))),
            or_dash(counted.map(|stats| units::grouped(stats.files_created))),
            or_dash(counted.map(|stats| units::grouped(stats.files_deleted))),
            or_dash(stats.map(|stats| units::bytes(stats.source_size_bytes))),
            or_dash(stats.map(|stats| units::bytes(stats.sent_bytes))),
            or_dash(stats.map(|stats| units::bytes(stats.received_bytes))),
            or_dash(stats.map(|stats| format!("{:.1}", stats.speedup_ratio))),
            or_dash(end.map(|end| (end.error_count + end.warning_count).to_string())),
        ];
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
    }
    if columns[0].cells.is_empty() { String::new() } else { view.style.table(columns.into()) }
}

fn messages(run: &Run, view: &View<'_>) -> String {
    let mut out = String::new();
    for (host, path_name, path) in shown(run, view) {
        let Some(end) = &path.finished else { continue };
        let most = if view.verbose { usize::MAX } else { MESSAGES };
        for message in end.messages.iter().take(most) {
            let place = format!("{} {}: ", name(host), name(path_name));
            out += &view.style.wrapped("  ", "      ", &format!("{place}{}", name(message)));
        }
        let more = end.messages.len().saturating_sub(most);
        if more > 0 {
            out += &view.style.wrapped("  ", "      ", &format!("… {more} more; --verbose shows them"));
        }
    }
    out
}

fn log(run: &Run, view: &View<'_>) -> String {
    let about = |text: &str| view.verbose || view.host.is_none_or(|host| mentions(text, host));
    let lines: Vec<_> = run.lines.iter().filter(|line| about(&line.text)).collect();
    if lines.is_empty() {
        return String::new();
    }
    let most = if view.verbose { lines.len() } else { LINES };
    let left_out = lines.len().saturating_sub(most) as u64 + run.lines_left_out;
    let host = view.host.filter(|_| !view.verbose);
    let of = host.map_or_else(String::new, |host| format!(" that name {}", name(host)));
    let mut title = format!("log, {}{of}", units::counted((lines.len()) as u64, "line"));
    if left_out > 0 {
        let _ = write!(title, ", the last {most} of them (--verbose shows all)");
    }
    let mut out = view.style.wrapped("  ", "    ", &title);
    for line in lines.iter().skip(lines.len().saturating_sub(most)) {
        let time = clock(line.time, &view.zone);
        out += &view.style.wrapped(&format!("    {time} "), &" ".repeat(13), &line.text);
    }
    out
}

fn clock(time: jiff::Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// Whether a line names a host, as a word of its own.
fn mentions(text: &str, host: &str) -> bool {
    let is_inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.match_indices(host).any(|(at, found)| {
        !is_inside(text[..at].chars().next_back()) && !is_inside(text[at + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let all = [0, 1, 2, 3, 10, 11, 12, 20, 21].map(ordinal);
        assert_eq!(all[..4], ["Last run", "2nd last run", "3rd last run", "4th last run"]);
        assert_eq!(all[4..7], ["11th last run", "12th last run", "13th last run"]);
        assert_eq!(all[7..], ["21st last run", "22nd last run"]);
        assert!(mentions("pulling server1:/etc", "server1"));
        assert!(!mentions("pulling server10:/etc", "server1") && !mentions("my-server1", "server1"));
    }

    #[test]
    fn late_and_early() {
        let day = Duration::from_secs(86400);
        let words = [86400.0, 95_000.0, 96_000.0, 77_500.0, 0.5].map(|gap| punctuality(gap, day));
        assert_eq!(words, ["on_time", "on_time", "late", "early", "early"]);
    }
}
