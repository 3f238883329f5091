//! What rsync would do, one line for each path.

use std::fmt::Write;

use backup_common::config::Config;
use backup_common::reason::Reason;
use backup_common::status::Status;
use backup_common::units;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::forecast::Forecast;
use crate::rsync::command;

/// Renders all paths, and what to do about those that would not be backed up whole.
pub fn table(forecasts: &[Forecast<'_>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "host",
        "path",
        "would be",
        "files",
        "size",
        "to transfer",
        "of size",
        "to delete",
        "may delete",
    ]);
    for forecast in forecasts {
        let figure = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let stats = forecast.stats.as_ref();
        table.add_row([
            forecast.host.name.to_string(),
            forecast.job.path.to_string(),
            forecast.status.name().to_owned(),
            figure(stats.map(|stats| units::grouped(stats.files))),
            figure(stats.map(|stats| units::bytes(stats.source_size_bytes))),
            figure(stats.map(|stats| units::grouped(stats.files_transferred))),
            figure(stats.map(|stats| units::bytes(stats.transferred_size_bytes))),
            figure(stats.map(|stats| units::grouped(stats.files_deleted))),
            figure(forecast.request.max_delete.map(units::grouped)),
        ]);
    }
    for column in 3..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = String::new();
    for line in table.lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let explained =
        |forecast: &&Forecast<'_>| forecast.status != Status::Success && forecast.reason != Reason::Disabled;
    for forecast in forecasts.iter().filter(explained) {
        let (host, reason) = (&forecast.host.name, forecast.reason);
        let _ = writeln!(out, "\n{host} {}: {} ({reason})", forecast.job.path, reason.cause());
        for message in &forecast.messages {
            let _ = writeln!(out, "    {message}");
        }
        let _ = writeln!(out, "    -> {}", reason.remedy());
    }
    out
}

/// A path as a line of JSON, with the command that a backup would run.
pub fn json_line(config: &Config, forecast: &Forecast<'_>) -> String {
    let job = forecast.job;
    let words = |request| {
        let arguments = command::arguments(forecast.host, job, request);
        let arguments = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once("rsync".to_owned()).chain(arguments).collect::<Vec<_>>()
    };
    let stats = forecast.stats.map_or(Value::Null, |stats| {
        json!({
            "files": stats.files,
            "files_created": stats.files_created,
            "files_deleted": stats.files_deleted,
            "files_transferred": stats.files_transferred,
            "source_size_bytes": stats.source_size_bytes,
            "transferred_size_bytes": stats.transferred_size_bytes,
        })
    });
    json!({
        "type": "dry_run",
        "host": forecast.host.name.as_str(),
        "path": job.path,
        "dest": config.backup_base.join(&job.destination).display().to_string(),
        "command": words(forecast.request),
        "delete_command": forecast.request.deletion().map(words),
        "max_delete": forecast.request.max_delete,
        "status": forecast.status.name(),
        "reason": forecast.reason.name(),
        "stats": stats,
        "messages": forecast.messages,
    })
    .to_string()
}
