use std::path::Path;
use std::process::Command;

use super::Row;
use crate::data::journal::{SHARE, UNIT};
use crate::results::Section;
use crate::{Bench, data, measure};

pub const ROW: Row = Row {
    name: "journal",
    title: "a unit's entries out of the journal",
    about: "A journal of 1,000,000 entries of 21 units, of which every 50th is the unit's. `exporter` is a program that reads them with the exporter's own \
            function into sessions; `-o cat` is `journalctl -u UNIT -o cat`; `json` is `journalctl -u UNIT -o json` piped to a Python program that parses \
            each line with `json`. All is in the kernel's cache: `read from the disk` as after a start of the machine, when the exporter reads its week \
            of the journal; `just written` as systemd-journal-remote has left it, in single pages, which each cost something when they are mapped: a third of the time of the \
            exporter and of `-o cat` is the kernel's then, and a seventh of that of `-o json`.",
    measure,
};

const PYTHON: &str = "import json, sys\nfor line in sys.stdin:\n    json.loads(line)\n";

fn measure(bench: &Bench, section: &mut Section) {
    let full = bench.scaled(1_000_000);
    for entries in [full / 4, full] {
        let folder = bench.folder();
        let directory = folder.path().join("journal");
        data::journal::make(&directory, entries);
        rounds(bench, section, &directory, entries, "just written");
        data::journal::read_back(&directory);
        rounds(bench, section, &directory, entries, "read from the disk");
    }
    for state in ["read from the disk", "just written"] {
        let case = case(full, state);
        let ratio = section.ratio(&case, "wall", "exporter", "-o cat");
        section.at_most(&format!("wall beside -o cat, {state}"), ratio, "×", 1.0);
        let ratio = section.ratio(&case, "wall", "json", "exporter");
        section.at_least(&format!("times as fast as json, {state}"), ratio, "×", 10.0);
    }
}

fn case(entries: usize, state: &str) -> String {
    format!("{} of {entries} entries, {state}", entries / SHARE)
}

fn rounds(bench: &Bench, section: &mut Section, directory: &Path, entries: usize, state: &str) {
    let (case, ours) = (case(entries, state), (entries / SHARE) as f64);
    let own = std::env::current_exe().unwrap().with_file_name("read-journal");
    for _ in 0..bench.rounds {
        let usage = measure::run(Command::new(&own).arg(directory).arg(UNIT), &[0]);
        section.add(&case, "exporter", "rate", "entries/s", ours / usage.wall);
        section.add(&case, "exporter", "wall", "ms", usage.wall * 1e3);
        let journalctl = |format: &str| {
            let mut command = Command::new("journalctl");
            command.args(["-q", "--no-pager", "-u", UNIT, "-o", format, "-D"]).arg(directory);
            command
        };
        let usage = measure::run(&mut journalctl("cat"), &[0]);
        section.add(&case, "-o cat", "wall", "ms", usage.wall * 1e3);
        let mut shell = Command::new("sh");
        let script = "journalctl -q --no-pager -u \"$1\" -o json -D \"$2\" | python3 -c \"$3\"";
        shell.args(["-c", script, "sh", UNIT]).arg(directory).arg(PYTHON);
        let usage = measure::run(&mut shell, &[0]);
        section.add(&case, "json", "wall", "ms", usage.wall * 1e3);
    }
}
