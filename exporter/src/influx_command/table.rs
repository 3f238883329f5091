//! What the database holds, for people; pure.

use backup_common::units;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::samples::{Held, number, text};

/// Runs, then paths.
pub fn render(held: &Held, hours: u32) -> String {
    let of = units::counted(u64::from(hours), "hour");
    if held.runs.is_empty() && held.paths.is_empty() {
        return format!("The database holds nothing of the last {of}.\n");
    }
    let text = format!("Runs of the last {of}\n{}\n\nPaths of the last {of}\n{}\n", runs(held), paths(held));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

fn runs(held: &Held) -> Table {
    let mut table = table(&["end", "status", "reason", "duration", "good", "warning", "failed"], 3);
    for (time, fields) in &held.runs {
        let count = |name: &str| number(fields, name).map_or_else(dash, |count| format!("{count}"));
        let refused = number(fields, "refused").is_some();
        table.add_row([
            time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            if refused { "refused".to_owned() } else { text(fields, "status").unwrap_or_else(dash) },
            text(fields, "reason").unwrap_or_else(dash),
            number(fields, "duration_seconds").map_or_else(dash, units::duration),
            count("paths_success"),
            count("paths_warning"),
            count("paths_failed"),
        ]);
    }
    table
}

fn paths(held: &Held) -> Table {
    let header =
        ["host", "path", "last", "status", "reason", "ends", "failed", "errors", "duration", "stored"];
    let mut table = table(&header, 5);
    for ((host, path), held) in &held.paths {
        let last = held.ends.iter().next_back();
        let fields = last.map(|(_, fields)| fields);
        let failed =
            held.ends.values().filter(|end| text(end, "status").as_deref() == Some("failed")).count();
        let clean = |name: &str| backup_common::text::clean(name, 200);
        table.add_row([
            clean(host),
            clean(path),
            last.map_or_else(dash, |(time, _)| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
            fields.and_then(|fields| text(fields, "status")).unwrap_or_else(dash),
            fields.and_then(|fields| text(fields, "reason")).unwrap_or_else(dash),
            held.ends.len().to_string(),
            failed.to_string(),
            fields
                .and_then(|fields| number(fields, "error_count"))
                .map_or_else(dash, |count| format!("{count}")),
            fields.and_then(|fields| number(fields, "duration_seconds")).map_or_else(dash, units::duration),
            held.sizes.values().next_back().map_or_else(dash, |bytes| size(*bytes)),
        ]);
    }
    table
}

fn size(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; sizes are positive"
    )]
    let whole = bytes as u64;
    units::bytes(whole)
}

fn dash() -> String {
    "-".to_owned()
}

/// A table whose columns from `first_number` on are numbers.
fn table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Sample, Scalar};
    use super::*;

    #[test]
    fn runs_and_paths() {
        let sample = |measurement: &str, host: &str, second: i64, field: &str, value| Sample {
            measurement: measurement.to_owned(),
            host: host.to_owned(),
            path: if host.is_empty() { String::new() } else { "/etc".to_owned() },
            time: jiff::Timestamp::from_second(1_767_323_045 + second).unwrap(),
            field: field.to_owned(),
            value,
        };
        let word = |text: &str| Scalar::Text(text.to_owned());
        let samples = [
            sample("backup_run", "", 9, "status", word("failed")),
            sample("backup_run", "", 9, "duration_seconds", Scalar::Number(61.0)),
            sample("backup_run", "", 9, "paths_failed", Scalar::Number(1.0)),
            sample("backup_path", "a", 1, "status", word("success")),
            sample("backup_path", "a", 5, "status", word("failed")),
            sample("backup_path", "a", 5, "reason", word("time\u{1b}[2Jout")),
            sample("backup_size", "a", 7, "total_size_bytes", Scalar::Number(2048.0)),
            sample("backup_path", "b", 1, "status", word("success")),
        ];
        let all = render(&Held::collect(samples.clone(), None), 24);
        assert!(
            all.contains("2026-01-02 03:04:14 UTC  failed  -       1 min 1 s     -        -       1"),
            "{all}"
        );
        assert!(all.contains("time\\u1b[2Jout     2       1       -         -  2.00 KiB"), "{all}");
        assert!(!all.contains('\u{1b}'));
        let one = render(&Held::collect(samples, Some("b")), 24);
        assert!(one.contains(" b ") && !one.contains(" a "), "{one}");
        assert!(render(&Held::default(), 1).contains("nothing of the last 1 hour."));
    }
}
