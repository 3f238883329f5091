//! The commands of `backup-metrics` that look back: the summary, the last runs, the check.

pub mod check;
pub mod collect;
mod exclusive;
pub mod explain;
pub mod json;
pub mod runs;
pub mod select;
pub mod summary;
pub mod table;
pub mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use backup_common::config::Checked;
use backup_common::reason::Reason;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::inputs::sizes::Targets;
use crate::inputs::{self, journal};
use crate::metrics_cli::{Cli, Command};
use crate::outputs::{status_json, verdict};
use collect::{Collected, Places};
use select::{Wanted, select};
use summary::View;
use text::Style;

/// Does what the command line asks for.
///
/// # Errors
/// The configuration of the backups can not be used; only `--exclusive` needs it.
pub fn run(cli: &Cli, now: Timestamp) -> Result<ExitCode, inputs::config::ConfigError> {
    if let Some(Command::Explain { reason, json }) = &cli.command {
        let reasons = reason.map_or_else(|| Reason::all().collect::<Vec<_>>(), |reason| vec![reason]);
        print(&if *json { pretty(&explain::json(&reasons)) } else { explain::text(&reasons, style()) });
        return Ok(ExitCode::SUCCESS);
    }
    if cli.exclusive {
        let Checked { config, .. } = inputs::config::read(&cli.config)?;
        let mut targets = Targets::from(&config);
        let of_host = |host: &str| cli.host.as_deref().is_none_or(|only| only == host);
        targets.directories.retain(|(place, _)| of_host(&place.host));
        let (text, code) = exclusive::run(&targets, &cli.state_directory, EXCLUSIVE_LIMIT, cli.json, style());
        print(&text);
        return Ok(code);
    }
    let wanted = wanted(cli, now);
    let hours = cli.hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600));
    let collected = collect::collect(&places(cli), &wanted, hours, now);
    Ok(if cli.check {
        let max_age = cli.max_age.unwrap_or(verdict::MAX_AGE);
        let (level, line) = check::line(&collected.state, collected.is_blind, now, max_age);
        print(&line);
        ExitCode::from(check::exit_code(level))
    } else if cli.last_run.is_some() || cli.count.is_some() {
        history(cli, &collected, &wanted, now)
    } else {
        overview(cli, &collected, now)
    })
}

/// Longest time for one directory.
const EXCLUSIVE_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Which runs the command line asks for.
pub fn wanted(cli: &Cli, now: Timestamp) -> Wanted {
    let hours = cli.hours.map(|hours| SignedDuration::from_hours(i64::from(hours)));
    Wanted {
        back: cli.last_run.unwrap_or(0),
        count: cli.count.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX)),
        host: cli.host.clone(),
        since: hours.and_then(|hours| now.checked_sub(hours).ok()),
    }
}

fn history(cli: &Cli, collected: &Collected, wanted: &Wanted, now: Timestamp) -> ExitCode {
    let selection = select(&collected.runs, wanted);
    let interval = collected.state.expected().interval().map(|(_, interval)| interval);
    let view = view(cli, now);
    if cli.json {
        print(&pretty(&json::runs(&selection, wanted, interval, &collected.unread)));
    } else {
        let text = table::render(&selection, wanted, interval, &view);
        print(&(text + &view.unread(&collected.unread)));
    }
    ExitCode::from(u8::from(selection.runs.is_empty()))
}

fn overview(cli: &Cli, collected: &Collected, now: Timestamp) -> ExitCode {
    if cli.json {
        let mut value = status_json::status(&collected.state, now);
        if let (Some(host), Some(hosts)) = (&cli.host, value["hosts"].as_array_mut()) {
            hosts.retain(|one| one["host"] == host.as_str());
        }
        value["unread"] = collected.unread.clone().into();
        print(&pretty(&value));
    } else {
        let verdict = verdict::judge(&collected.state, now, verdict::MAX_AGE);
        print(&summary::render(&collected.state, &verdict, &collected.unread, &view(cli, now)));
    }
    ExitCode::from(u8::from(collected.is_blind))
}

fn places(cli: &Cli) -> Places {
    Places {
        config: cli.config.clone(),
        stats_file: cli.stats_file.clone(),
        journal: journal::Source {
            unit: cli.unit.clone(),
            directory: cli.journal_directory.clone(),
            // systemd-journald.service(8): persistent and volatile.
            system_directories: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            state_directory: None,
        },
        timer: cli.timer.clone(),
        state_directory: cli.state_directory.clone(),
    }
}

fn view(cli: &Cli, now: Timestamp) -> View<'_> {
    let (zone, host) = (TimeZone::system(), cli.host.as_deref());
    View { now, zone, style: style(), host, verbose: cli.verbose }
}

/// The terminal's width also when a pager stands in between; colours only where nothing does.
fn style() -> Style {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let size = rustix::termios::tcgetwinsize(io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(io::stderr()))
        .ok()
        .map(|size| usize::from(size.ws_col));
    let width = columns.or(size).filter(|columns| *columns > 0);
    let color =
        io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var("TERM").as_deref() != Ok("dumb");
    Style { width, color }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A reader that has seen enough, such as head(1), is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
