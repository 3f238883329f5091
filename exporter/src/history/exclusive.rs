//! Edge: `--exclusive`, what of each directory is its own and what it shares.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use backup_common::units;
use backup_sizes::exclusive::{self, Exclusive};
use serde_json::json;

use super::text::{Column, DASH, Style, name};
use crate::event::sizes::{ExclusiveBytes, Place};
use crate::inputs::sizes::{Extents, Targets};
use crate::progress;

/// Measures one directory after the other, and leaves the figures in the state directory, from where the
/// summary and the exporter have them. Ends with 1 when one could not be measured.
pub fn run(
    targets: &Targets,
    state_directory: &Path,
    limit: Duration,
    as_json: bool,
    style: Style,
) -> (String, ExitCode) {
    let mut extents = Extents::open(state_directory);
    let bar = progress::bar(targets.directories.len() as u64);
    let mut found: Vec<(&Place, Result<Exclusive, String>)> = Vec::new();
    for (place, directory) in &targets.directories {
        bar.set_message(format!("{} {}", name(&place.host), name(&place.path)));
        let measured = exclusive::measure(&targets.base.join(directory), limit);
        if let Ok(Exclusive { exclusive_bytes, set_shared_bytes, .. }) = measured {
            extents.take_exclusive(place, ExclusiveBytes { exclusive_bytes, set_shared_bytes });
            // One by one: it takes long, and may be ended in the middle.
            extents.sync();
        }
        found.push((place, measured.map_err(|error| ErrorChain(&error).to_string())));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let code = ExitCode::from(u8::from(found.iter().any(|(_, measured)| measured.is_err())));
    let mut text = if as_json { json(&found) } else { table(&found, style) };
    if let Some(trouble) = extents.trouble().filter(|_| !as_json) {
        text += &style.wrapped("! ", "  ", &format!("the figures are not remembered: {}", name(trouble)));
    }
    (text, code)
}

fn json(found: &[(&Place, Result<Exclusive, String>)]) -> String {
    let one = |(place, measured): &(&Place, Result<Exclusive, String>)| {
        let figures = measured.as_ref().ok();
        json!({
            "host": place.host,
            "path": place.path,
            "total_bytes": figures.map(|figures| figures.total_bytes),
            "exclusive_bytes": figures.map(|figures| figures.exclusive_bytes),
            "set_shared_bytes": figures.and_then(|figures| figures.set_shared_bytes),
            "error": measured.as_ref().err(),
        })
    };
    format!("{:#}\n", json!({"version": 1, "paths": found.iter().map(one).collect::<Vec<_>>()}))
}

fn table(found: &[(&Place, Result<Exclusive, String>)], style: Style) -> String {
    let mut columns = [
        Column::new("host", false, 0),
        Column::new("path", false, 0),
        Column::new("total", true, 1),
        Column::new("exclusive", true, 0),
        Column::new("shared", true, 2),
    ];
    let mut troubles = String::new();
    for (place, measured) in found {
        let figures = measured.as_ref().ok();
        let bytes = |count: Option<u64>| count.map_or_else(|| DASH.to_owned(), units::bytes);
        let cells = [
            name(&place.host),
            name(&place.path),
            bytes(figures.map(|figures| figures.total_bytes)),
            bytes(figures.map(|figures| figures.exclusive_bytes)),
            bytes(figures.and_then(|figures| figures.set_shared_bytes)),
        ];
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
        if let Err(error) = measured {
            troubles += &style.wrapped("! ", "  ", &name(error));
        }
    }
    let gap = if troubles.is_empty() { "" } else { "\n" };
    format!("{}{gap}{troubles}", style.table(columns.into()))
}
