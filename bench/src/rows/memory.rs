use std::io::Read;

use flate2::read::GzDecoder;

use super::Row;
use crate::exporter::Exporter;
use crate::results::Section;
use crate::{Bench, data, measure, peers, web};

pub const ROW: Row = Row {
    name: "memory",
    title: "memory of the exporter",
    about: "Resident memory over 72 hourly runs, each appended to the log at once and followed by a compressed scrape as Prometheus asks for \
            it. `begin` is after the 48th run, when the history of every path is as long as it gets, `end` after 24 more, `peak` the most in all.",
    measure,
};

/// Runs until the history is full, and with a day more.
const FULL: usize = 48;
const MORE: usize = 24;

fn measure(bench: &Bench, section: &mut Section) {
    let full = u32::try_from(bench.nearly_full(FULL)).unwrap();
    let runs = full + u32::try_from(bench.nearly_full(MORE)).unwrap();
    for (hosts, paths, limit) in [(0, 0, 16.0), (10, 100, 24.0), (100, 100, 96.0)] {
        let paths = if hosts == 0 { 0 } else { bench.nearly_full(paths) };
        let case = format!("{} paths", hosts * paths);
        let (mut begin, mut end) = (0.0, 0.0);
        let folder = bench.folder();
        let hosts_text = if hosts == 0 {
            // A configuration has one host at least.
            "  a:\n    enabled: false\n    paths: [{path: /etc}]\n".to_owned()
        } else {
            data::config::fleet(hosts, paths)
        };
        data::config::write(folder.path(), "", &hosts_text);
        let log = folder.path().join("stats.log");
        data::log::append_run(&log, hosts, paths, 0);
        let exporter = Exporter::start(bench, folder.path(), &[]);
        for run in 1..=runs {
            data::log::append_run(&log, hosts, paths, run);
            until_runs(&exporter, run + 1);
            end = measure::memory(exporter.id(), "VmRSS");
            section.add(&case, "exporter", "after each run", "MiB", end);
            if run == full {
                begin = end;
            }
        }
        section.add(&case, "exporter", "begin", "MiB", begin);
        section.add(&case, "exporter", "end", "MiB", end);
        section.add(&case, "exporter", "peak", "MiB", measure::memory(exporter.id(), "VmHWM"));
        section.at_most(&format!("memory at {case}, in the end"), Some(end), "MiB", limit);
        if hosts > 0 {
            section.at_most(&format!("memory at {case}, end by begin"), Some(end / begin), "×", 1.05);
        }
    }
    let node = peers::node_exporter();
    for _ in 0..runs {
        web::get(&node.address, "/metrics", "Accept-Encoding: gzip\r\n");
    }
    section.add("this machine", "node_exporter", "end", "MiB", measure::memory(node.id(), "VmRSS"));
}

/// Scrapes as Prometheus does until all runs are counted.
fn until_runs(exporter: &Exporter, runs: u32) {
    let wanted = format!("\nbackup_runs_total {runs}\n");
    backup_testkit::wait::until("the run to be counted", || {
        let body = web::get(&exporter.address, "/metrics", OPENMETRICS).body;
        let mut text = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap().contains(&wanted).then_some(())
    });
}

/// What Prometheus says that it takes.
pub const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\nAccept-Encoding: gzip\r\n";
