//! Builds the state that a log makes, and prints the MiB that it takes: hold-state LOG

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use backup_common::record::{Body, Record};
use backup_exporter::event::{Event, Input, Listing};
use backup_exporter::state::State;

fn main() -> Result<(), Box<dyn Error>> {
    let log = std::env::args().nth(1).unwrap_or_default();
    let before = resident()?;
    let mut state = State::default();
    state.apply(Event::Configured(listing(&log)?));
    each(&log, |record| state.apply(Event::Recorded(Input::Stats, record)))?;
    let paths: usize = state.hosts().map(|(_, host)| host.paths().count()).sum();
    println!("{} MiB for {paths} paths", resident()? - before);
    Ok(())
}

/// Only what is configured has a state: all that the log tells of.
fn listing(log: &str) -> Result<Listing, Box<dyn Error>> {
    let mut listing = Listing::default();
    each(log, |record| {
        if let Body::PathStarted(path) = record.body {
            listing.0.entry(path.host).or_default().insert(path.path);
        }
    })?;
    Ok(listing)
}

fn each(log: &str, mut take: impl FnMut(Record)) -> Result<(), Box<dyn Error>> {
    let (mut lines, mut line) = (BufReader::new(File::open(log)?), Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        take(Record::decode(line.trim_ascii_end())?);
        line.clear();
    }
    Ok(())
}

/// Resident memory in MiB.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
