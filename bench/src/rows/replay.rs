use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use backup_common::lines::{Line, LineBuffer};
use backup_common::record::Record;
use backup_exporter::event::{Event, Input, Listing};
use backup_exporter::state::State;
use backup_testkit::{process, wait};

use super::Row;
use crate::exporter::Exporter;
use crate::results::Section;
use crate::{Bench, data, measure, web};

const HOSTS: usize = 10;
const PATHS: usize = 10;

pub const ROW: Row = Row {
    name: "replay",
    title: "replay of the stats log",
    about: "A log of 1,000,000 records (hourly runs over 10 hosts with 10 paths each) is read at the start of the exporter. \
            `exporter` is the program from its start until it is ready; `decode and apply` is the same work without reading \
            and handing over; `jq -c .` reads each record and writes it again; `jq -c select` takes three fields out of the records that \
            end a path: `jq -c 'select(.type==\"path_finished\") | [.host,.path,.status]'`.",
    measure,
};

const JQ: [(&str, &str); 2] =
    [("jq -c .", "."), ("jq -c select", "select(.type==\"path_finished\") | [.host,.path,.status]")];

fn measure(bench: &Bench, section: &mut Section) {
    state_memory(bench, section);
    let folder = bench.folder();
    data::config::write(folder.path(), "", &data::config::fleet(HOSTS, PATHS));
    let log = folder.path().join("stats.log");
    let full = bench.scaled(1_000_000);
    for part in [full / 4, full] {
        fs::write(&log, "").unwrap();
        let runs = part.div_ceil(data::log::records_of_run(HOSTS, PATHS));
        for run in 0..runs {
            data::log::append_run(&log, HOSTS, PATHS, run.try_into().unwrap());
        }
        let records = (runs * data::log::records_of_run(HOSTS, PATHS)) as f64;
        let case = format!("{records} records, {} MiB", fs::metadata(&log).unwrap().len() >> 20);
        for _ in 0..bench.rounds {
            let exporter = Exporter::start(bench, folder.path(), &[]);
            section.add(&case, "exporter", "rate", "records/s", records / exporter.ready_after);
            section.add(&case, "exporter", "memory", "MiB", measure::memory(exporter.id(), "VmRSS"));
            drop(exporter);
            let (seconds, ()) = measure::seconds(|| decode_and_apply(&fs::read(&log).unwrap()));
            section.add(&case, "decode and apply", "rate", "records/s", records / seconds);
            for (subject, filter) in JQ {
                let usage = measure::run(Command::new("jq").args(["-c", filter]).arg(&log), &[0]);
                section.add(&case, subject, "rate", "records/s", records / usage.wall);
            }
        }
        if part == full {
            arrival(bench, section, folder.path(), u32::try_from(runs).unwrap());
            section.at_least(
                "records read in a second",
                section.median(&case, "exporter", "rate"),
                "records/s",
                300_000.0,
            );
            for (subject, _) in JQ {
                let ratio = section.ratio(&case, "rate", "exporter", subject);
                section.at_least(&format!("times as fast as {subject}"), ratio, "×", 10.0);
            }
        }
    }
}

/// How long a record takes from the log to a scrape, looked at again and again.
fn arrival(bench: &Bench, section: &mut Section, folder: &Path, runs: u32) {
    const CASE: &str = "a run of 212 records is appended";
    let tries = u32::try_from(bench.nearly_full(20)).unwrap();
    let exporter = Exporter::start(bench, folder, &[]);
    for number in runs..runs + tries {
        let wanted = format!("\nbackup_runs_total {}\n", number + 1);
        data::log::append_run(&folder.join("stats.log"), HOSTS, PATHS, number);
        let (seconds, ()) = measure::seconds(|| {
            wait::until("the run to be counted", || {
                let text = String::from_utf8(web::get(&exporter.address, "/metrics", "").body).unwrap();
                text.contains(&wanted).then_some(())
            });
        });
        section.add(CASE, "exporter", "from the log to /metrics", "ms", seconds * 1e3);
    }
    let median = section.median(CASE, "exporter", "from the log to /metrics");
    section.at_most("a record from the log to /metrics", median, "ms", 1000.0);
}

/// What the state alone takes, in a program that does nothing else.
fn state_memory(bench: &Bench, section: &mut Section) {
    let hosts = bench.nearly_full(100);
    let case = format!("{} paths, 30 outcomes each", hosts * 100);
    let folder = bench.folder();
    let log = folder.path().join("stats.log");
    (0..30).for_each(|run| data::log::append_run(&log, hosts, 100, run));
    let program = std::env::current_exe().unwrap().with_file_name("hold-state");
    let printed = process::run(Command::new(program).arg(&log)).stdout;
    let mebibytes: f64 =
        printed.strip_suffix(&format!(" MiB for {} paths\n", hosts * 100)).unwrap().parse().unwrap();
    section.add(&case, "state", "memory", "MiB", mebibytes);
    section.at_most(&format!("memory of the state of {} paths", hosts * 100), Some(mebibytes), "MiB", 64.0);
}

fn decode_and_apply(log: &[u8]) {
    let mut state = State::default();
    let paths = || (0..PATHS).map(data::path).collect();
    state.apply(Event::Configured(Listing((0..HOSTS).map(|host| (data::host(host), paths())).collect())));
    LineBuffer::default().push(log, |line| {
        let Line::Complete(line) = line else { panic!("{line:?}") };
        state.apply(Event::Recorded(Input::Stats, Record::decode(line).unwrap()));
    });
    black_box(state);
}
