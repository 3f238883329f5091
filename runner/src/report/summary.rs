//! The closing table: one line for each path, and what to do about those that are not whole.

use std::fmt::Write;
use std::iter::once;

use backup_common::reason::Reason;
use backup_common::record::PathFinished;
use backup_common::status::Status;
use backup_common::units;
use comfy_table::ColumnConstraint::LowerBoundary;
use comfy_table::Width::Fixed;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

const COLUMNS: [&str; 8] = ["host", "path", "state", "files", "size", "transferred", "deleted", "time"];
/// The first column of figures.
const FIRST_FIGURE: usize = 3;

/// Rows that are laid out at a time: a row takes two kilobytes until it is text, and there can be ten thousands.
const ROWS_AT_ONCE: usize = 256;

/// Renders the ends of all paths, in the order given.
pub fn summary(finished: &[PathFinished]) -> String {
    let mut out = lines(finished, ROWS_AT_ONCE);
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

/// The table as text, made of smaller ones with the same columns.
fn lines(finished: &[PathFinished], rows_at_once: usize) -> String {
    let tables = || once(header()).chain(finished.chunks(rows_at_once).map(rows));
    let mut widths = [0; COLUMNS.len()];
    for table in tables() {
        for (widest, width) in widths.iter_mut().zip(table.column_max_content_widths()) {
            *widest = width.max(*widest);
        }
    }
    let mut out = String::new();
    for mut table in tables() {
        for (index, (column, width)) in table.column_iter_mut().zip(&widths).enumerate() {
            let with_padding = width.saturating_add(column.padding_width());
            column.set_constraint(LowerBoundary(Fixed(with_padding)));
            if index >= FIRST_FIGURE {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

fn header() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(COLUMNS);
    table
}

fn rows(finished: &[PathFinished]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
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
    table
}

#[cfg(test)]
mod tests {
    use backup_common::error_kind::ErrorCounts;
    use backup_common::record::TransferStats;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn ended(host: &str, path: &str, files: Option<u64>) -> PathFinished {
        PathFinished {
            host: host.to_owned(),
            path: path.to_owned(),
            dest: String::new(),
            status: Status::Success,
            reason: Reason::Ok,
            exit_code: None,
            signal: None,
            attempts: 1,
            started: Timestamp::UNIX_EPOCH,
            duration_seconds: 1.5,
            stats: files.map(|files| TransferStats { files, ..TransferStats::default() }),
            error_count: 0,
            warning_count: 0,
            errors: ErrorCounts::new(),
            messages: Vec::new(),
        }
    }

    /// As comfy-table lays out one table of everything.
    fn in_one_table(finished: &[PathFinished]) -> String {
        let mut table = header();
        for row in rows(finished).row_iter() {
            table.add_row(row.clone());
        }
        for column in FIRST_FIGURE..COLUMNS.len() {
            table.column_mut(column).expect("is there").set_cell_alignment(CellAlignment::Right);
        }
        table.lines().fold(String::new(), |out, line| out + line.trim_end() + "\n")
    }

    #[test]
    fn without_paths_there_is_the_header() {
        assert_eq!(summary(&[]), in_one_table(&[]));
    }

    proptest! {
        #[test]
        fn smaller_tables_make_the_same_text_as_one(
            ends in proptest::collection::vec(("[a-zü]{1,20}", "/[a-z 日é]{0,30}", proptest::option::of(0u64..99_999_999)), 0..12),
            at_once in 1usize..5,
        ) {
            let finished: Vec<_> = ends.iter().map(|(host, path, files)| ended(host, path, *files)).collect();
            prop_assert_eq!(lines(&finished, at_once), in_one_table(&finished));
        }
    }
}
