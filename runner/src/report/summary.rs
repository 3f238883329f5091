//! The closing table: one line for each path, and what to do about those that are not whole.

use std::fmt::Write;

use backup_common::reason::Reason;
use backup_common::record::PathFinished;
use backup_common::status::Status;
use backup_common::units;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// Renders the ends of all paths, in the order given.
pub fn summary(finished: &[PathFinished]) -> String {
    let mut out = String::new();
    for line in table(finished).lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    // What the administrator has switched off needs no explanation in each run.
    let explained = |path: &&PathFinished| path.status != Status::Success && path.reason != Reason::Disabled;
    for path in finished.iter().filter(explained) {
        let _ = writeln!(out, "\n{} {}: {} ({})", path.host, path.path, path.reason.cause(), path.reason);
        for message in &path.messages {
            let _ = writeln!(out, "    {message}");
        }
        let _ = writeln!(out, "    -> {}", path.reason.remedy());
    }
    out
}

fn table(finished: &[PathFinished]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["host", "path", "state", "files", "size", "transferred", "deleted", "time"]);
    for path in finished {
        let figure = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let stats = path.stats.as_ref();
        table.add_row([
            path.host.clone(),
            path.path.clone(),
            path.status.name().to_owned(),
            figure(stats.map(|stats| units::grouped(stats.files))),
            figure(stats.map(|stats| units::bytes(stats.source_size_bytes))),
            figure(stats.map(|stats| units::bytes(stats.transferred_size_bytes))),
            figure(stats.map(|stats| units::grouped(stats.files_deleted))),
            units::duration(path.duration_seconds),
        ]);
    }
    for column in 3..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
