//! Measures directories as `backup-sizes` does, and prints the seconds and the sum of the bytes on disk:
//!
//! ```text
//! scan-sizes tree VOLUME DIRECTORY…    once in full, then once more for each line on standard input
//! scan-sizes walk BASE DIRECTORY…
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backup_sizes::btrfs::Volume;
use backup_sizes::totals::Totals;
use backup_sizes::walk::{Options, walk};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let method = arguments.next().unwrap_or_default();
    let base = PathBuf::from(arguments.next().unwrap_or_default());
    // Both methods want the directories below the base.
    let below = |path: PathBuf| path.strip_prefix(&base).map(Path::to_owned).unwrap_or(path);
    let directories: Vec<PathBuf> = arguments.map(PathBuf::from).map(below).collect();
    if method == "walk" {
        let begun = Instant::now();
        let walks = directories.iter().map(|directory| walk(&base, directory, Options::default()));
        let totals: Vec<Totals> = walks.map(|walk| walk.map(|walk| walk.totals)).collect::<Result<_, _>>()?;
        report(begun, totals);
        return Ok(());
    }
    let mut volume = Volume::new(base, Duration::MAX);
    loop {
        let begun = Instant::now();
        let measured = volume.measure(&directories, false)?;
        let totals: Option<Vec<Totals>> = measured.totals.into_iter().collect();
        report(begun, totals.ok_or("a directory is not there")?);
        if std::io::stdin().read_line(&mut String::new())? == 0 {
            return Ok(());
        }
    }
}

fn report(begun: Instant, totals: Vec<Totals>) {
    let seconds = begun.elapsed().as_secs_f64();
    let mut sum = Totals::default();
    for totals in totals {
        sum += totals;
    }
    println!("{seconds} {}", sum.disk_bytes);
}
