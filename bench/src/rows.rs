//! The rows, in the order of the document.

mod fleet;
mod influx;
mod journal;
mod memory;
mod replay;
mod runs;
mod scrape;
mod sizes;
mod start;

use clap::builder::PossibleValuesParser;

use crate::Bench;
use crate::results::Section;

/// A row of the table of targets.
pub struct Row {
    /// Name on the command line.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What is done, in sentences.
    pub about: &'static str,
    /// Measures it; a panic ends this row alone.
    pub measure: fn(&Bench, &mut Section),
}

/// All rows.
pub const ALL: &[Row] = &[
    runs::ROW,
    start::ROW,
    journal::ROW,
    replay::ROW,
    scrape::ROW,
    memory::ROW,
    sizes::ROW,
    influx::ROW,
    fleet::ROW,
];

/// Accepts the names of the rows.
pub fn names() -> PossibleValuesParser {
    ALL.iter().map(|row| row.name).collect::<Vec<_>>().into()
}
