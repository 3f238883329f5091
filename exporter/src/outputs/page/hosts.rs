//! The hosts and their paths: grouped, the bad ones first, a bounded number of them at a time.

use std::cmp::Reverse;

use backup_common::units;
use jiff::Timestamp;
use maud::{Markup, html};

use super::query::{Filter, Query};
use super::standing::{Counts, Standing, allowed_seconds, backed_up};
use super::{View, chart, words};
use crate::state::{Host, Notice, Path, State};

/// Paths that are shown at a time.
pub const LISTED: usize = 100;
/// Up to so many hosts are all unfolded.
const UNFOLDED: usize = 8;

/// A host with those of its paths that are asked for.
pub struct Group<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is known of it.
    pub host: &'a Host,
    /// How all of its paths stand, also those that are not asked for.
    pub counts: Counts,
    /// The paths, the worst first.
    pub paths: Vec<(Standing, &'a str, &'a Path)>,
}

/// The hosts with paths that a query asks for, the worst first: by the worst of their paths, then by how
/// many of them are bad, then by name.
pub fn matching<'a>(state: &'a State, query: &Query, now: Timestamp) -> Vec<Group<'a>> {
    let allowed = allowed_seconds(state);
    let (host_text, path_text) = (query.host.to_lowercase(), query.path.to_lowercase());
    let holds = |name: &str, text: &str| text.is_empty() || name.to_lowercase().contains(text);
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (name, host) in state.hosts().filter(|(name, _)| holds(name, &host_text)) {
        let mut group = Group { name, host, counts: Counts::default(), paths: Vec::new() };
        for (path_name, path) in host.paths() {
            let standing = Standing::of(path, now, allowed);
            group.counts.add(standing, path.phase());
            let asked = match query.state {
                None => true,
                Some(Filter::Problems) => standing != Standing::Good,
                Some(Filter::Running) => path.is_running(),
                Some(Filter::Is(one)) => standing == one,
            };
            if asked && holds(path_name, &path_text) {
                group.paths.push((standing, path_name, path));
            }
        }
        if !group.paths.is_empty() {
            group.paths.sort_by_key(|(standing, name, path)| (*standing, !path.is_running(), *name));
            groups.push(group);
        }
    }
    groups.sort_by_key(|group| (group.counts.worst(), Reverse(group.counts.bad()), group.name));
    groups
}

pub fn section(state: &State, view: &View) -> Markup {
    let groups = matching(state, &view.query, view.now);
    let found: usize = groups.iter().map(|group| group.paths.len()).sum();
    // A page that is not there any more shows the last one.
    let page = view.query.page.min(found.saturating_sub(1) / LISTED);
    let (begin, end) = (page * LISTED, found.min((page + 1) * LISTED));
    let unfolded = groups.len() <= UNFOLDED || view.query.filters();
    let mut before = 0;
    let shown = groups.iter().filter_map(|group| {
        let first = before;
        before += group.paths.len();
        let part = begin.max(first)..end.min(before);
        (!part.is_empty()).then(|| (group, &group.paths[part.start - first..part.end - first]))
    });
    html! {
        section aria-labelledby="paths" {
            h2 #paths tabindex="-1" { "Hosts and paths" }
            (form(view))
            p role="status" {
                @if found == 0 {
                    @if view.query.filters() { "No path is like that." } @else { "There are none." }
                } @else if found <= LISTED {
                    (units::counted(found as u64, "path")) " on " (units::counted(groups.len() as u64, "host"))
                    ", what needs attention first."
                } @else {
                    "Paths " (units::grouped(begin as u64 + 1)) " to " (units::grouped(end as u64)) " of "
                    (units::grouped(found as u64)) " on " (units::counted(groups.len() as u64, "host"))
                    ", what needs attention first."
                }
            }
            @for (group, paths) in shown { (host(group, paths, unfolded, view)) }
            (pages(view, page, found))
        }
    }
}

fn form(view: &View) -> Markup {
    let query = &view.query;
    html! {
        form role="search" aria-label="Filter the paths" {
            label { "Host " input type="search" name="host" value=(query.host) maxlength="200"; }
            label { "Path " input type="search" name="path" value=(query.path) maxlength="200"; }
            label {
                "State "
                select name="state" {
                    option value="" { "All" }
                    @for filter in Filter::ALL {
                        option value=(filter.name()) selected[query.state == Some(filter)] { (filter.words()) }
                    }
                }
            }
            @if query.paused { input type="hidden" name="refresh" value="off"; }
            button { "Filter" }
            @if query.filters() {
                a href=(Query { paused: query.paused, ..Query::default() }.link()) { "Show all" }
            }
        }
    }
}

fn pages(view: &View, page: usize, found: usize) -> Markup {
    let link = |page| Query { page, ..view.query.clone() }.link() + "#paths";
    let end = (page + 1) * LISTED;
    html! {
        @if found > LISTED {
            nav.pages aria-label="Parts of the list" {
                @if page > 0 { a rel="prev" href=(link(page - 1)) { "← The " (LISTED) " before" } }
                @if end < found {
                    a rel="next" href=(link(page + 1)) {
                        "The next " (units::grouped(LISTED.min(found - end) as u64)) " →"
                    }
                }
            }
        }
    }
}

fn host(group: &Group<'_>, paths: &[(Standing, &str, &Path)], unfolded: bool, view: &View) -> Markup {
    let worst = group.counts.worst().unwrap_or(Standing::Never);
    html! {
        details.host open[unfolded || worst.is_bad() || group.counts.running > 0] {
            summary {
                h3 { (words::name(group.name)) }
                " " span.state.(worst.name()) { span.mark aria-hidden="true" { (worst.mark()) } (in_words(group)) }
            }
            table role="table" {
                caption { "Paths of " (words::name(group.name)) }
                thead role="rowgroup" {
                    tr role="row" {
                        @for (title, _) in COLUMNS { th scope="col" role="columnheader" { (title) } }
                    }
                }
                tbody role="rowgroup" {
                    @for (standing, name, path) in paths { (row(*standing, name, path, view)) }
                }
            }
        }
    }
}

fn in_words(group: &Group<'_>) -> String {
    let counts = &group.counts;
    let mut words: Vec<String> = Vec::new();
    if group.host.reachable == Some(false) {
        words.push("not reachable".to_owned());
    }
    let all = counts.all();
    for standing in Standing::ALL {
        let count = counts.of(standing);
        if count > 0 {
            let what = match standing {
                Standing::Failed => "failed",
                Standing::Late => "too old",
                Standing::Never => "not yet backed up",
                Standing::Warning => "with warnings",
                Standing::Skipped => "skipped",
                Standing::Good => "backed up",
            };
            words.push(match (count == all, all) {
                (true, 1) => format!("1 path, {what}"),
                (true, _) => format!("{} paths, all {what}", units::grouped(all as u64)),
                (false, _) => {
                    format!("{} of {} {what}", units::grouped(count as u64), units::grouped(all as u64))
                }
            });
        }
    }
    if counts.running > 0 {
        words.push(format!("{} running", units::grouped(counts.running as u64)));
    }
    words.join(", ")
}

/// Titles of the columns, and the class of their cells.
const COLUMNS: [(&str, &str); 7] = [
    ("State", ""),
    ("Path", "wide"),
    ("Last good backup", ""),
    ("Took", "number"),
    ("Transferred", "number"),
    ("Stored", "number"),
    ("Last runs", ""),
];

fn row(standing: Standing, name: &str, path: &Path, view: &View) -> Markup {
    let [_, wide, good, took, transferred, stored, runs] = COLUMNS;
    let last = path.last.as_ref();
    let stats = last.and_then(|outcome| outcome.stats);
    let newest = path.stored.newest();
    let cell = |column: (&'static str, &'static str), content: Markup| {
        html! { td role="cell" data-title=(column.0) class=[Some(column.1).filter(|class| !class.is_empty())] { (content) } }
    };
    html! {
        tr role="row" {
            td role="cell" data-title="State" {
                span.state.(standing.name()) { span.mark aria-hidden="true" { (standing.mark()) } (standing.words()) }
                @if path.is_running() { " " (running(path)) }
            }
            th scope="row" role="rowheader" class=(wide.1) {
                bdi.path { (words::name(name)) }
            }
            (cell(good, html! {
                @match backed_up(path) {
                    Some(time) => (words::when(time, view.now, &view.zone)),
                    None => span.quiet { "never" },
                }
            }))
            (cell(took, figure(last.and_then(|outcome| outcome.duration_seconds).map(units::duration))))
            (cell(transferred, figure(stats.map(|stats| units::bytes(stats.transferred_size_bytes)))))
            (cell(stored, html! {
                (figure(newest.map(|point| units::bytes(point.bytes))))
                @if path.stored.trouble.is_some() { " " span.quiet { "not measured last time" } }
                (chart::sizes(&path.stored.series))
            }))
            (cell(runs, chart::runs(path.history.points())))
        }
        @if !matches!(standing, Standing::Good | Standing::Never) || Notice::ALL.iter().any(|&notice| path.history.has(notice)) {
            tr.why role="row" {
                td role="cell" {}
                td role="cell" colspan="6" { (why(standing, path, view)) }
            }
        }
    }
}

pub(super) fn running(path: &Path) -> Markup {
    html! {
        span.state.running {
            span.mark aria-hidden="true" { "▶" } "Running"
            @if let Some(ratio) = path.progress_ratio() {
                ", " (percent(ratio)) " % "
                progress max="100" value=(percent(ratio)) aria-label="Done" {}
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share from 0 to 1")]
fn percent(ratio: f64) -> u64 {
    (ratio * 100.0).floor().clamp(0.0, 100.0) as u64
}

fn figure(text: Option<String>) -> Markup {
    html! { @match text { Some(text) => (text), None => span.quiet { "–" } } }
}

/// Why a path stands as it does, and what to do about it.
fn why(standing: Standing, path: &Path, view: &View) -> Markup {
    let last = path.last.as_ref().filter(|_| standing != Standing::Good);
    let ended = path.history.points().last().map(crate::state::Point::time);
    let code = last
        .and_then(|outcome| outcome.exit_code)
        .filter(|code| *code != 0)
        .filter(|_| last.is_some_and(|outcome| !outcome.reason.cause().contains("exit code")));
    let told = |messages: usize| {
        let counts = path.last.as_ref().and_then(|outcome| outcome.errors.as_ref());
        counts.map_or(0, |counts| counts.values().sum::<u64>()).saturating_sub(messages as u64)
    };
    html! {
        @if standing == Standing::Late {
            p { "The last good copy is older than two and a half intervals of the schedule." }
            p.remedy { "Look whether runs are started, and whether this path is part of them." }
        } @else if let Some(outcome) = last {
            p {
                (outcome.reason.cause())
                @if let Some(code) = code { " (exit code " (code) ")" }
                @if let Some(time) = ended { " " span.quiet { (words::relative(time, view.now)) } }
            }
            p.remedy { (outcome.reason.remedy()) }
            @let messages: Vec<&str> = outcome.messages.iter().collect();
            @if !messages.is_empty() {
                ul.messages {
                    @for message in &messages { li { code { (words::name(message)) } } }
                    @let more = told(messages.len());
                    @if more > 0 { li.quiet { "and " (units::grouped(more)) " more in the journal" } }
                }
            }
        }
        @for notice in Notice::ALL.into_iter().filter(|&notice| path.history.has(notice)) {
            p.notice { "Unusual: " (words::notice(notice)) }
        }
    }
}
