use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Row;
use super::memory::OPENMETRICS;
use crate::exporter::Exporter;
use crate::results::Section;
use crate::web::{Hostile, get, series, wrk};
use crate::{Bench, data, peers};

pub const ROW: Row = Row {
    name: "scrape",
    title: "scrapes",
    about: "`first` is the answer to the first scrape after a record has changed the state, so that everything is made anew; per series, \
            because node_exporter has a few hundred and the others have hundreds of thousands. The Go client is a program with Prometheus's own Go library and \
            as many series for as many paths; it and node_exporter make everything anew at each scrape. The rates are those of wrk with \
            keep-alive, with `--web.max-requests 0`; nginx serves the same bytes as a static file, compressed beforehand. `hostile` is the same while 50 sockets drip \
            endless heads or ask and read nothing.",
    measure,
};

fn measure(bench: &Bench, section: &mut Section) {
    // Seconds that wrk takes for each figure.
    let duration = bench.nearly_full(2);
    for (hosts, paths) in [(10, bench.nearly_full(100)), (100, bench.nearly_full(100))] {
        let case = format!("{} paths", hosts * paths);
        let folder = bench.folder();
        data::config::write(folder.path(), "", &data::config::fleet(hosts, paths));
        let log = folder.path().join("stats.log");
        data::log::append_run(&log, hosts, paths, 0);
        let exporter = Exporter::start(bench, folder.path(), &["--web.max-requests", "0"]);
        let go = peers::go_client(&bench.programs.canonicalize().unwrap(), hosts, paths);
        let node = peers::node_exporter();
        for round in 0..bench.rounds {
            first(section, &case, &exporter, &log, u32::try_from(round).unwrap() * 2 + 1, (hosts, paths));
            for (name, peer) in [("Go client", &go), ("node_exporter", &node)] {
                for (kind, headers) in [("plain", ""), ("gzip", "Accept-Encoding: gzip\r\n")] {
                    let count = series(&get(&peer.address, "/metrics", "").body) as f64;
                    let answer = get(&peer.address, "/metrics", headers);
                    section.add(
                        &case,
                        name,
                        &format!("first, {kind}, per series"),
                        "µs",
                        answer.seconds / count * 1e6,
                    );
                    if round == 0 && kind == "plain" {
                        section.add(&case, name, "series", "", count);
                    }
                }
            }
        }
        drop((go, node));
        let plain = get(&exporter.address, "/metrics", "").body;
        let gzip = get(&exporter.address, "/metrics", "Accept-Encoding: gzip\r\n").body;
        section.add(&case, "exporter", "body, plain", "MiB", plain.len() as f64 / f64::from(1 << 20));
        section.add(&case, "exporter", "body, gzip", "MiB", gzip.len() as f64 / f64::from(1 << 20));
        let nginx = peers::nginx(folder.path(), &plain, &gzip);
        for _ in 0..bench.rounds {
            for (kind, compressed) in [("plain", false), ("gzip", true)] {
                for clients in [1, 50] {
                    let quantity = format!("cached, {kind}, {clients} clients");
                    for (name, address) in [("exporter", &exporter.address), ("nginx", &nginx.address)] {
                        let load = wrk(address, "/metrics", clients, duration, compressed);
                        section.add(&case, name, &quantity, "answers/s", load.rate);
                    }
                }
            }
            hostile(section, &case, &exporter, duration);
        }
        checks(section, &case);
    }
}

/// Scrapes twice after a change: in plain text, and after another one compressed.
fn first(
    section: &mut Section,
    case: &str,
    exporter: &Exporter,
    log: &Path,
    run: u32,
    (hosts, paths): (usize, usize),
) {
    let mut before = get(&exporter.address, "/metrics", "").body;
    for (number, (kind, headers)) in [("plain", ""), ("gzip", OPENMETRICS)].into_iter().enumerate() {
        data::log::append_run(log, hosts, paths, run + u32::try_from(number).unwrap());
        // Longer than the exporter takes to see it; a scrape in between would be the first one.
        std::thread::sleep(Duration::from_millis(1500));
        let answer = get(&exporter.address, "/metrics", headers);
        let after = get(&exporter.address, "/metrics", "").body;
        assert!(before != after, "the state has not changed: {}", fs::metadata(log).unwrap().len());
        let count = series(&after) as f64;
        section.add(
            case,
            "exporter",
            &format!("first, {kind}, per series"),
            "µs",
            answer.seconds / count * 1e6,
        );
        if run == 1 && kind == "plain" {
            section.add(case, "exporter", "series", "", count);
        }
        before = after;
    }
}

fn hostile(section: &mut Section, case: &str, exporter: &Exporter, duration: usize) {
    // Before each of the two, so that neither pays for a text that is made once.
    let warm = || get(&exporter.address, "/metrics", "Accept-Encoding: gzip\r\n");
    warm();
    let quiet = wrk(&exporter.address, "/metrics", 1, duration, true);
    section.add(case, "exporter", "p99, gzip, 1 client", "ms", quiet.p99);
    let sockets = Hostile::start(&exporter.address);
    std::thread::sleep(Duration::from_millis(500));
    warm();
    let loaded = wrk(&exporter.address, "/metrics", 1, duration, true);
    drop(sockets);
    section.add(case, "exporter", "p99, gzip, 1 client, hostile", "ms", loaded.p99);
    section.add(case, "exporter", "failed, hostile", "", loaded.failed);
}

fn checks(section: &mut Section, case: &str) {
    for kind in ["plain", "gzip"] {
        for peer in ["Go client", "node_exporter"] {
            let ratio = section.ratio(case, &format!("first, {kind}, per series"), peer, "exporter");
            section.at_least(
                &format!("first scrape per series, {kind}, {case}, times as fast as {peer}"),
                ratio,
                "×",
                3.0,
            );
        }
        for clients in [1, 50] {
            let quantity = format!("cached, {kind}, {clients} clients");
            let ratio = section.ratio(case, &quantity, "nginx", "exporter");
            section.at_most(&format!("{quantity}, {case}, time beside nginx"), ratio, "×", 1.5);
        }
    }
    let quiet = section.median(case, "exporter", "p99, gzip, 1 client");
    let loaded = section.median(case, "exporter", "p99, gzip, 1 client, hostile");
    let ratio = loaded.zip(quiet).map(|(loaded, quiet)| loaded / quiet);
    section.at_most(&format!("p99 under 50 hostile sockets, {case}"), ratio, "×", 1.5);
}
