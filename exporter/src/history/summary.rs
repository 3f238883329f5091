//! Pure: the summary, what a person wants to see first.

use backup_common::units;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

use super::text::{Column, Style, name, or_dash};
use crate::outputs::verdict::{Level, Verdict, seconds_between};
use crate::schedule::Source;
use crate::size_history::Growth;
use crate::state::{Notice, Path, Phase, State};

/// When and where it is shown.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Now.
    pub now: Timestamp,
    /// The zone of the reader.
    pub zone: TimeZone,
    /// How to write.
    pub style: Style,
    /// Only this host.
    pub host: Option<&'a str>,
    /// More of it.
    pub verbose: bool,
}

impl View<'_> {
    /// A time as the reader's clock has it, and how long ago that is.
    pub fn when(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let seconds = self.now.duration_since(time).as_secs_f64();
        if seconds < 0.0 {
            format!("{local}, in {}", units::duration(-seconds))
        } else {
            format!("{local}, {} ago", units::duration(seconds))
        }
    }

    /// A line with a label.
    pub fn labelled(&self, label: &str, text: &str) -> String {
        self.style.wrapped(&format!("  {label:<10} "), &" ".repeat(13), text)
    }

    /// What could not be read.
    pub fn unread(&self, unread: &[String]) -> String {
        if unread.is_empty() {
            return String::new();
        }
        let lines: String = unread.iter().map(|text| self.style.wrapped("  ", "    ", &name(text))).collect();
        format!("\nNot read:\n{lines}")
    }
}

/// The summary.
pub fn render(state: &State, verdict: &Verdict, unread: &[String], view: &View<'_>) -> String {
    let mut out = headline(verdict, view.style);
    out += "\n";
    out += &runs(state, view);
    out += &paths(state, view);
    out += &findings(verdict, view);
    out += &snapshots(state, view);
    out += &storage(state, view);
    out += &view.unread(unread);
    out
}

fn headline(verdict: &Verdict, style: Style) -> String {
    let word = verdict.level.name().to_uppercase();
    let text = style.wrapped("", "", &format!("{word}: {}", verdict.headline));
    match text.strip_prefix(&word) {
        Some(rest) => format!("{}{rest}", style.paint(&word)),
        None => text,
    }
}

fn runs(state: &State, view: &View<'_>) -> String {
    let run = state.run();
    let mut last = view.style.paint(run.phase.name());
    if let (Phase::Ended(_), Some(reason)) = (run.phase, run.reason) {
        let _ = write!(last, " ({reason})");
    }
    if let Some(start) = run.last_start {
        let _ = write!(last, ", started {}", view.when(start));
    }
    if let (Phase::Ended(_), Some(seconds)) = (run.phase, run.duration_seconds) {
        let _ = write!(last, ", took {}", units::duration(seconds));
    }
    let mut out = view.labelled("last run", &last);
    if let Some(time) = run.last_success.filter(|_| run.phase != Phase::Never) {
        out += &view.labelled("last good", &view.when(time));
    }
    let next = match (state.expected().next_run(), state.expected().timer()) {
        (Some(time), _) => view.when(time),
        (None, Some(_)) => "the timer does not say".to_owned(),
        (None, None) => "not known: no timer was found".to_owned(),
    };
    out += &view.labelled("next run", &next);
    let every = match state.expected().interval() {
        Some((source, interval)) => {
            let by = match source {
                Source::Timer => "by the timer",
                Source::Observed => "by the last runs",
                Source::Configured => "by the unit file of the timer",
            };
            format!("every {} at most, {by}", units::duration(interval.as_secs_f64()))
        }
        None => "how often is not known: there is no timer, and too few runs".to_owned(),
    };
    out += &view.labelled("expected", &every);
    let notices: Vec<_> =
        Notice::ALL.into_iter().filter(|&notice| run.history.has(notice)).map(words).collect();
    if !notices.is_empty() {
        out += &view.labelled("unusual", &notices.join(", "));
    }
    if let (Some(reason), Some(time)) = (run.refused_reason, run.last_refused) {
        out += &view.labelled("refused", &format!("{reason}, {}", view.when(time)));
    }
    out
}

fn paths(state: &State, view: &View<'_>) -> String {
    let mut columns = [
        Column::new("state", false, 0),
        Column::new("host", false, 0),
        Column::new("path", false, 0),
        Column::new("last good", true, 1),
        Column::new("took", true, 4),
        Column::new("files", true, 6),
        Column::new("source", true, 5),
        Column::new("stored", true, 2),
        Column::new("exclusive", true, 9),
        Column::new("a day", true, 7),
        Column::new("a week", true, 3),
        Column::new("a month", true, 8),
    ];
    for (host, known) in state.hosts().filter(|(host, _)| view.host.is_none_or(|only| only == *host)) {
        for (path_name, path) in known.paths() {
            let cells = cells(path, view);
            let first = [path.phase().name().to_owned(), name(host), name(path_name)];
            for (column, cell) in columns.iter_mut().zip(first.into_iter().chain(cells)) {
                column.cells.push(cell);
            }
        }
    }
    if columns[0].cells.is_empty() {
        return match view.host {
            Some(host) => format!("\nNothing is known of a host {}.\n", name(host)),
            None => String::new(),
        };
    }
    format!("\n{}", view.style.table(columns.into()))
}

fn cells(path: &Path, view: &View<'_>) -> [String; 9] {
    let last = path.last.as_ref();
    let figures = last.and_then(|last| last.stats.filter(|_| !last.without_counts));
    let sizes = last.and_then(|last| last.stats);
    let growth = |days| or_dash(path.stored.series.growth(days).map(grown));
    [
        or_dash(path.last_success.map(|time| {
            let seconds = seconds_between(time, view.now);
            format!("{} ago", units::duration(seconds))
        })),
        or_dash(last.and_then(|last| last.duration_seconds).map(units::duration)),
        or_dash(figures.map(|stats| units::grouped(stats.files))),
        or_dash(sizes.map(|stats| units::bytes(stats.source_size_bytes))),
        or_dash(path.stored.newest().map(|point| units::bytes(point.bytes))),
        or_dash(path.stored.exclusive_bytes().map(units::bytes)),
        growth(1),
        growth(7),
        growth(30),
    ]
}

fn grown(growth: Growth) -> String {
    let sign = if growth.bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", units::bytes(growth.bytes.unsigned_abs()))
}

fn findings(verdict: &Verdict, view: &View<'_>) -> String {
    let mut out = String::new();
    for finding in &verdict.findings {
        let place = finding.place.as_ref();
        if view.host.is_some_and(|only| place.is_some_and(|(host, _)| host != only)) {
            continue;
        }
        let about = place.map_or_else(String::new, |(host, path)| format!("{} {}: ", name(host), name(path)));
        let reason = finding.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let mark = if finding.level == Level::Critical { "!" } else { "-" };
        out += &view.style.wrapped(&format!("{mark} "), "  ", &format!("{about}{}{reason}", finding.text));
        if let Some(reason) = finding.reason {
            out += &view.style.wrapped("    -> ", "       ", reason.remedy());
        }
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

fn words(notice: Notice) -> String {
    notice.name().replace('_', " ")
}

fn snapshots(state: &State, view: &View<'_>) -> String {
    let mut columns = [
        Column::new("snapshots", false, 0),
        Column::new("complete", true, 0),
        Column::new("keeps", true, 2),
        Column::new("incomplete", true, 1),
        Column::new("newest", true, 0),
        Column::new("oldest", true, 3),
    ];
    for (tag, schedule) in state.snapshots().schedules() {
        let count = schedule.count;
        let age = |time: Option<Timestamp>| {
            or_dash(time.map(|time| format!("{} ago", units::duration(seconds_between(time, view.now)))))
        };
        let keeps = if schedule.rule.limit == 0 { "all".to_owned() } else { schedule.rule.limit.to_string() };
        let cells = [
            name(tag),
            or_dash(count.map(|count| count.complete.to_string())),
            keeps,
            or_dash(count.map(|count| count.incomplete.to_string())),
            age(count.and_then(|count| count.newest)),
            age(count.and_then(|count| count.oldest)),
        ];
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
    }
    if columns[0].cells.is_empty() {
        return String::new();
    }
    format!("\n{}", view.style.table(columns.into()))
}

fn storage(state: &State, view: &View<'_>) -> String {
    let mut out = String::new();
    if let Some(volume) = state.sizes().volume {
        let [used, size, free] = [volume.used, volume.size, volume.free].map(units::bytes);
        out += &view.labelled("volume", &format!("{used} of {size} used, {free} free"));
    }
    let points = || {
        let paths = state.hosts().flat_map(|(_, host)| host.paths());
        paths.filter_map(|(_, path)| path.stored.newest())
    };
    if let (Some(oldest), Some(newest)) =
        (points().min_by_key(|point| point.time), points().max_by_key(|point| point.time))
    {
        let total = units::bytes(points().map(|point| point.bytes).fold(0, u64::saturating_add));
        let mut methods: Vec<_> = points().map(|point| point.method.name()).collect();
        methods.sort_unstable();
        methods.dedup();
        let mut text =
            format!("{total} stored; measured {} by {}", view.when(newest.time), methods.join(" and "));
        let apart = seconds_between(oldest.time, newest.time);
        if apart > 3600.0 {
            let _ = write!(text, ", the oldest figure {} before", units::duration(apart));
        }
        out += &view.labelled("sizes", &text);
    } else if state.hosts().next().is_some() {
        out += &view.labelled("sizes", "not measured yet; the exporter does so, or --send-influxdb-wait");
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}
