//! What is about no single path: what runs, when the next run comes, what grows, snapshots, the exporter.

use std::cmp::Reverse;

use backup_common::units;
use maud::{Markup, html};

use super::{View, chart, hosts, words};
use crate::outputs::verdict::overdue_seconds;
use crate::schedule::Source;
use crate::size_history::Growth;
use crate::state::{Notice, Path, Phase, State};

/// Paths under way that are named.
const RUNNING: usize = 16;
/// Paths that are named because they grow.
const GROWING: usize = 5;
/// Days over which growth is measured, the longest that is known counting.
const GROWTH_DAYS: [i64; 3] = [30, 7, 1];

/// The run that is under way, if one is.
pub fn running(state: &State, view: &View) -> Markup {
    let run = state.run();
    let under_way: Vec<(&str, &str, &Path)> =
        all_paths(state).filter(|(_, _, path)| path.is_running()).collect();
    let all = all_paths(state).count();
    let done = run.last_start.map_or(0, |start| {
        let ended = |path: &Path| path.history.points().last().is_some_and(|point| point.time() >= start);
        all_paths(state).filter(|(_, _, path)| !path.is_running() && ended(path)).count()
    });
    html! {
        @if run.phase == Phase::Running || !under_way.is_empty() {
            section aria-labelledby="running" {
                h2 #running { "A backup is running" }
                p {
                    @if let Some(start) = run.last_start { "It began " (words::when(start, view.now, &view.zone)) ". " }
                    @if all > 0 {
                        (units::grouped(done as u64)) " of " (units::counted(all as u64, "path")) " done. "
                        progress max=(all) value=(done) aria-label="Paths done" {}
                    }
                }
                @if !under_way.is_empty() {
                    ul.plain {
                        @for (host, name, path) in under_way.iter().take(RUNNING) {
                            li {
                                strong { (words::name(host)) } " " bdi.path { (words::name(name)) } " "
                                (hosts::running(path))
                                @if let Some(start) = path.last_attempt {
                                    " " span.quiet { "for " (words::coarse(words::age_seconds(start, view.now))) }
                                }
                            }
                        }
                        @if under_way.len() > RUNNING {
                            li.quiet { "and " (units::grouped((under_way.len() - RUNNING) as u64)) " more" }
                        }
                    }
                }
            }
        }
    }
}

/// The last run and the next one.
pub fn schedule(state: &State, view: &View) -> Markup {
    let (run, expected) = (state.run(), state.expected());
    let when = |time| words::when(time, view.now, &view.zone);
    html! {
        section aria-labelledby="schedule" {
            h2 #schedule { "Schedule" }
            dl {
                dt { "Next run" }
                dd {
                    @match expected.next_run() {
                        Some(time) => (when(time)),
                        None if expected.timer().is_some() => "The timer is not started, or waits for the run to end.",
                        None => "No timer is known.",
                    }
                }
                dt { "Overdue" }
                dd {
                    @match (overdue_seconds(state, view.now), expected.interval()) {
                        (Some(late), _) => { strong { "Yes, by " (units::duration(late)) "." } },
                        (None, Some(_)) => "No.",
                        (None, None) => "Not known: there is no timer, and too few runs to tell.",
                    }
                }
                @if let Some((source, interval)) = expected.interval() {
                    dt { "Runs expected" }
                    dd {
                        "at least every " (units::duration(interval.as_secs_f64()))
                        span.quiet { " (" (source_in_words(source)) ")" }
                    }
                }
                dt { "Last run" }
                dd {
                    (phase(run.phase))
                    @if let Some(time) = run.last_start { ", began " (when(time)) }
                    @if let Some(seconds) = run.duration_seconds.filter(|_| run.phase != Phase::Running) {
                        ", took " (units::duration(seconds))
                    }
                }
                dt { "Last run without any fault" }
                dd { @match run.last_success { Some(time) => (when(time)), None => "none" } }
                dt { "Runs" }
                dd {
                    (units::grouped(run.started)) " began, " (units::grouped(run.failed)) " failed, "
                    (units::grouped(run.refused)) " refused "
                    (chart::runs(run.history.points()))
                }
                @for notice in Notice::ALL.into_iter().filter(|&notice| run.history.has(notice)) {
                    dt { "Unusual" } dd { (words::notice(notice)) }
                }
            }
        }
    }
}

const fn source_in_words(source: Source) -> &'static str {
    match source {
        Source::Timer => "by the timer in systemd",
        Source::Configured => "by the unit file of the timer",
        Source::Observed => "as seen in the past",
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Never => "none is recorded",
        Phase::Running => "is running",
        Phase::Ended(status) => match status {
            backup_common::status::Status::Success => "ended well",
            backup_common::status::Status::Warning => "ended with warnings",
            backup_common::status::Status::Skipped => "skipped everything",
            backup_common::status::Status::Failed => "failed",
        },
    }
}

/// What grows fastest, as bytes a day over the longest time that is known, and the space that is left.
pub fn growth(state: &State) -> Markup {
    let known =
        |path: &Path| GROWTH_DAYS.into_iter().find_map(|days| Some((days, path.stored.series.growth(days)?)));
    let mut growing: Vec<(i64, i64, Growth, &str, &str, &Path)> = all_paths(state)
        .filter_map(|(host, name, path)| {
            let (days, growth) = known(path)?;
            (growth.bytes > 0).then_some((growth.bytes / days, days, growth, host, name, path))
        })
        .collect();
    growing.sort_by_key(|(rate, _, _, host, name, _)| (Reverse(*rate), *host, *name));
    growing.truncate(GROWING);
    html! {
        section aria-labelledby="growth" {
            h2 #growth { "Space" }
            @if let Some(volume) = state.sizes().volume {
                p {
                    (units::bytes(volume.used)) " of " (units::bytes(volume.size)) " are taken, "
                    (units::bytes(volume.free)) " are free. "
                    meter min="0" max=(volume.size) value=(volume.used) aria-label="Space taken" {}
                }
            }
            @if growing.is_empty() {
                p.quiet { "Nothing is known to grow; sizes have to be known for a day at least." }
            } @else {
                table.narrow role="table" {
                    caption { "What grows fastest" }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for title in ["Path", "A day", "In all", "Stored now"] {
                                th scope="col" role="columnheader" { (title) }
                            }
                        }
                    }
                    tbody role="rowgroup" {
                        @for (rate, days, growth, host, name, path) in &growing {
                            tr role="row" {
                                th.wide scope="row" role="rowheader" { (words::name(host)) " " bdi.path { (words::name(name)) } }
                                td.number role="cell" data-title="A day" { (words::change(*rate)) }
                                td.number role="cell" data-title="In all" {
                                    (words::change(growth.bytes)) " in " (units::counted(days.unsigned_abs(), "day"))
                                }
                                td.number role="cell" data-title="Stored now" {
                                    @if let Some(point) = path.stored.newest() { (units::bytes(point.bytes)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The snapshots of each schedule.
pub fn snapshots(state: &State, view: &View) -> Markup {
    let when = |time: Option<jiff::Timestamp>| {
        html! { @match time { Some(time) => (words::when(time, view.now, &view.zone)), None => span.quiet { "none" } } }
    };
    html! {
        section aria-labelledby="snapshots" {
            h2 #snapshots { "Snapshots" }
            @if state.snapshots().schedules().next().is_none() {
                p.quiet { "None are configured." }
            } @else {
                table.narrow role="table" {
                    caption { "Snapshots by schedule" }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for title in ["Schedule", "Complete", "Incomplete", "Newest", "Oldest", "Failures"] {
                                th scope="col" role="columnheader" { (title) }
                            }
                        }
                    }
                    tbody role="rowgroup" {
                        @for (tag, schedule) in state.snapshots().schedules() {
                            tr role="row" {
                                th scope="row" role="rowheader" { (words::name(tag)) }
                                @if let Some(count) = schedule.count {
                                    td.number role="cell" data-title="Complete" {
                                        (count.complete)
                                        @if schedule.rule.limit > 0 { " of " (schedule.rule.limit) }
                                    }
                                    td.number role="cell" data-title="Incomplete" { (count.incomplete) }
                                    td role="cell" data-title="Newest" { (when(count.newest)) }
                                    td role="cell" data-title="Oldest" { (when(count.oldest)) }
                                } @else {
                                    td role="cell" data-title="Snapshots" colspan="4" { "The directory can not be read." }
                                }
                                td.number role="cell" data-title="Failures" { (schedule.failures) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where all of this comes from, and where it goes.
pub fn exporter(state: &State, view: &View) -> Markup {
    let when = |time| words::when(time, view.now, &view.zone);
    html! {
        section aria-labelledby="exporter" {
            h2 #exporter { "Where this comes from" }
            dl {
                @for (input, health) in state.inputs() {
                    dt { (input_in_words(input)) }
                    dd {
                        @if health.up { "is read" } @else if health.caught_up { strong { "can not be read" } } @else { "not read yet" }
                        @if let Some(time) = health.last_event { ", last record " (when(time)) }
                        @let skipped: u64 = health.skipped.values().sum();
                        @if skipped > 0 { ", " (units::counted(skipped, "line")) " passed over" }
                    }
                }
                dt { "Configuration" }
                dd {
                    @if state.config_is_current() { "is in use" } @else { strong { "has errors; the one before is in use" } }
                    @if let Some(time) = state.config_loaded() { ", read " (when(time)) }
                }
                @if let Some(scan) = state.sizes().scan {
                    dt { "Sizes" }
                    dd { "measured " (when(scan.time)) ", in " (units::duration(scan.duration_seconds)) }
                }
                dt { "InfluxDB" }
                dd {
                    @match state.push() {
                        None => "nothing is sent, or nothing yet",
                        Some(push) => {
                            (units::counted(push.points, "point")) " sent"
                            @if let Some(time) = push.last_success { ", last " (when(time)) }
                            @if push.outbox_bytes > 0 { ", " (units::bytes(push.outbox_bytes)) " wait" }
                            @if push.dropped > 0 { ", " strong { (units::grouped(push.dropped)) " lost" } }
                            @for (class, count) in push.failures.iter().filter(|(_, count)| **count > 0) {
                                ", " (units::grouped(*count)) " × " (class.name())
                            }
                        },
                    }
                }
            }
        }
    }
}

const fn input_in_words(input: crate::event::Input) -> &'static str {
    use crate::event::Input;
    match input {
        Input::Stats => "Stats log",
        Input::Journal => "Journal",
        Input::Timer => "Timer",
        Input::Snapshots => "Snapshot directory",
    }
}

fn all_paths(state: &State) -> impl Iterator<Item = (&str, &str, &Path)> {
    state.hosts().flat_map(|(name, host)| host.paths().map(move |(path, value)| (name, path, value)))
}
