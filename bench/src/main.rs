//! `make bench`: measures this system beside what one would use instead, on the machine it runs on.
//!
//! Rows are measured one after the other, each in rounds in which every subject has its turn. Raw results are kept
//! as JSON, and `docs/benchmarks.md` is written from them. What a row needs and does not find is said in its notes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a measurement that can not go on ends, and the others go on"
)]

mod data;
mod exporter;
mod machine;
mod markdown;
mod measure;
mod peers;
mod results;
mod rows;
mod store;
mod tmpfs;
mod web;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;

use crate::results::Section;

/// Measures the backup system beside what one would use instead.
#[derive(Debug, Parser)]
struct Cli {
    /// Rows to measure; all of them if none is named.
    #[arg(value_parser = rows::names())]
    rows: Vec<String>,

    /// Share of the full amount of data.
    #[arg(long, default_value_t = 0.1)]
    scale: f64,

    /// Rounds of each row.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Directory of the programs to measure.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,

    /// Directory for the data; it needs some GB.
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,

    /// Directory of the results.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,

    /// Document that is written from the results.
    #[arg(long, default_value = "docs/benchmarks.md")]
    document: PathBuf,

    /// Seconds to wait before each row until less than a tenth of the processors is in use.
    #[arg(long, default_value_t = 120)]
    patience: u64,

    /// Measure nothing; write the document from the results that are there.
    #[arg(long)]
    render: bool,
}

/// What the rows are given.
#[derive(Debug)]
pub struct Bench {
    scale: f64,
    rounds: usize,
    programs: PathBuf,
    work: PathBuf,
}

impl Bench {
    /// So many of a full amount, at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "amounts are small and positive"
    )]
    pub fn scaled(&self, full: usize) -> usize {
        ((full as f64 * self.scale).round() as usize).max(1)
    }

    /// As [`Self::scaled`], but full from a tenth on: of what a target names only a trial takes less.
    pub fn nearly_full(&self, full: usize) -> usize {
        self.scaled(full * 10).min(full)
    }

    /// A program of this project.
    pub fn program(&self, name: &str) -> PathBuf {
        let program = self.programs.join(name);
        program.canonicalize().unwrap_or_else(|error| panic!("cannot find {}: {error}", program.display()))
    }

    /// A directory that goes with the row.
    pub fn folder(&self) -> tempfile::TempDir {
        tempfile::Builder::new().prefix("backup-bench.").tempdir_in(&self.work).unwrap()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the group can write is refused by the runner.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let mut results = store::load(&cli.results);
    let bench = Bench { scale: cli.scale, rounds: cli.rounds, programs: cli.programs, work: cli.work };
    let mut failed = false;
    if !cli.render {
        for row in
            rows::ALL.iter().filter(|row| cli.rows.is_empty() || cli.rows.iter().any(|name| name == row.name))
        {
            let busy = measure::wait_for_quiet(0.1, Duration::from_secs(cli.patience));
            eprintln!("{}: {}", row.name, row.title);
            let before = measure::load();
            let mut section = Section {
                busy,
                name: row.name.to_owned(),
                title: row.title.to_owned(),
                about: row.about.to_owned(),
                time: format!("{:.0}", Timestamp::now()),
                scale: cli.scale,
                ..Section::default()
            };
            if let Err(reason) = panic::catch_unwind(AssertUnwindSafe(|| (row.measure)(&bench, &mut section)))
            {
                failed = true;
                let text = reason.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| reason.downcast_ref::<&str>().copied()).unwrap_or("it broke off");
                section.note(format!("Not measured to its end: {text}"));
            }
            section.load = (before, measure::load());
            store::put(&mut results, section);
            results.machine = machine::facts();
            store::save(&cli.results, &results);
        }
    }
    std::fs::write(&cli.document, markdown::render(&results)).unwrap();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
