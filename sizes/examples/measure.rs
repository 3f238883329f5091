//! Measures directories and says how long it took, for benches and for a look by hand:
//!
//! ```text
//! measure walk BASE DIRECTORY…
//! measure tree VOLUME DIRECTORY…     once in full, then once more for each line on standard input
//! ```
#![expect(clippy::unwrap_used, reason = "a tool for developers")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backup_sizes::btrfs::Volume;
use backup_sizes::totals::Totals;
use backup_sizes::walk::{Options, walk};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (method, base) = (arguments.next().unwrap(), PathBuf::from(arguments.next().unwrap()));
    let directories: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    if method == "walk" {
        let begun = Instant::now();
        let walk = |directory: &PathBuf| walk(&base, directory, Options::default()).unwrap().totals;
        report("walk", begun, directories.iter().map(walk).collect());
        return;
    }
    let mut volume = Volume::new(base, Duration::MAX);
    loop {
        let begun = Instant::now();
        let measured = volume.measure(&directories, false).unwrap();
        report(&format!("{:?}", measured.method), begun, measured.totals.into_iter().flatten().collect());
        if std::io::stdin().read_line(&mut String::new()).unwrap() == 0 {
            return;
        }
    }
}

fn report(what: &str, begun: Instant, totals: Vec<Totals>) {
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let mut sum = Totals::default();
    for totals in totals {
        sum += totals;
    }
    println!("{what} {milliseconds:.1} ms, peak {peak}, {} bytes, {} entries", sum.disk_bytes, sum.entries());
}
