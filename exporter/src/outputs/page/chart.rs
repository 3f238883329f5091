//! Small charts as SVG inside the page: whole numbers and classes only, so that they are short and need
//! neither style attributes nor scripts. Each says in words what it shows.

use std::fmt::Write as _;

use backup_common::status::Status;
use backup_common::units;
use maud::{Markup, html};

use super::words;
use crate::size_history;
use crate::state::{Point, REMEMBERED};

const WIDTH: u64 = 120;
const HEIGHT: u64 = 24;
/// Width of a run, with the gap behind it.
const STEP: u64 = WIDTH / REMEMBERED as u64;
/// Most corners of a line.
const CORNERS: usize = 60;

/// The last runs: bars as high as they took long. One that failed is a cross, one with warnings is
/// hollow, one that was skipped is a dash; so they differ in shape as well as in colour.
pub fn runs(points: &[Point]) -> Markup {
    if points.is_empty() {
        return html! { span.quiet { "none" } };
    }
    let longest = points.iter().filter_map(Point::duration_seconds).fold(0.0, f64::max);
    let mut shapes: [String; 4] = Default::default();
    for (place, point) in points.iter().enumerate() {
        let x = (REMEMBERED.saturating_sub(points.len()) + place) as u64 * STEP;
        let height = share(point.duration_seconds().unwrap_or(0.0), longest, HEIGHT - 2).max(2);
        let shape = &mut shapes[point.status as usize];
        // Writing into a String has no way to fail.
        let _ = match point.status {
            Status::Success => write!(shape, "M{x} {HEIGHT}v-{height}h3v{height}z"),
            Status::Warning => write!(shape, "M{x} {}v-{}h2v{}z", HEIGHT - 1, height - 1, height - 1),
            Status::Failed => write!(shape, "M{x} {}l4 10m0-10l-4 10", HEIGHT - 10),
            Status::Skipped => write!(shape, "M{x} {}h3", HEIGHT - 1),
        };
    }
    let label = runs_in_words(points);
    html! {
        svg.chart viewBox=(format!("-1 0 {} {}", WIDTH + 1, HEIGHT)) role="img" aria-label=(label) {
            title { (label) }
            @for (status, shape) in Status::ALL.into_iter().zip(&shapes) {
                @if !shape.is_empty() { path.(status.name()) d=(shape) {} }
            }
        }
    }
}

fn runs_in_words(points: &[Point]) -> String {
    let mut words = format!("Last {}:", units::counted(points.len() as u64, "run"));
    for (status, name) in [
        (Status::Success, "good"),
        (Status::Warning, "with warnings"),
        (Status::Skipped, "skipped"),
        (Status::Failed, "failed"),
    ] {
        let count = points.iter().filter(|point| point.status == status).count();
        if count > 0 {
            let comma = if words.ends_with(':') { "" } else { "," };
            let _ = write!(words, "{comma} {count} {name}");
        }
    }
    words
}

/// The stored size day by day, from its least to its most.
pub fn sizes(series: &size_history::Series) -> Markup {
    let points: Vec<_> = series.points().collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    if points.len() < 2 {
        return html! {};
    }
    let (start, end) = (first.time.as_second(), last.time.as_second());
    let smallest = points.iter().map(|point| point.bytes).min().unwrap_or(0);
    let most = points.iter().map(|point| point.bytes).max().unwrap_or(0);
    let every = points.len().div_ceil(CORNERS);
    let kept = points.iter().enumerate().filter(|(place, _)| place % every == 0 || place + 1 == points.len());
    let mut line = String::new();
    for (_, point) in kept {
        let x = share((point.time.as_second() - start) as f64, (end - start) as f64, WIDTH);
        let y = if most == smallest {
            HEIGHT / 2
        } else {
            HEIGHT - 2 - share((point.bytes - smallest) as f64, (most - smallest) as f64, HEIGHT - 4)
        };
        let _ = write!(line, "{}{x} {y}", if line.is_empty() { "M" } else { "L" });
    }
    let bytes = i128::from(last.bytes) - i128::from(first.bytes);
    let days = (end - start + 43_200).max(0) / 86_400;
    let label = format!(
        "Stored size, {} in {}: from {} to {}",
        words::change(i64::try_from(bytes).unwrap_or(i64::MAX)),
        units::counted(days.unsigned_abs(), "day"),
        units::bytes(first.bytes),
        units::bytes(last.bytes),
    );
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            title { (label) }
            path.line d=(line) {}
        }
    }
}

/// So many of `size` steps as `part` is of `whole`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and size")]
fn share(part: f64, whole: f64, size: u64) -> u64 {
    if whole > 0.0 { (part / whole * size as f64).round().clamp(0.0, size as f64) as u64 } else { 0 }
}
