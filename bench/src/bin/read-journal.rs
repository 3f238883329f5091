//! Reads a unit's sessions out of a journal as the exporter does, and ends: read-journal DIRECTORY UNIT

use std::path::PathBuf;

use backup_exporter::event::Event;
use backup_exporter::inputs::journal::{Source, collect};
use jiff::Timestamp;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let unit = arguments.next().unwrap_or_default();
    let source = Source { unit, directory, system_directories: Vec::new(), state_directory: None };
    let mut sessions = 0;
    collect(&source, Timestamp::UNIX_EPOCH, |event| {
        sessions += usize::from(matches!(event, Event::Session(_)));
    })?;
    println!("{sessions} events of sessions");
    Ok(())
}
