//! Stands in for rsync where only the runner is measured.
//!
//! Under the name `rsync` it notes when it was started, prints what rsync prints at its end, and ends. Otherwise
//! it notes the time in the file that is its first argument and becomes the program in the others, so that the
//! time from there to the first `rsync` can be told.
#![allow(clippy::unwrap_used, reason = "a measurement that can not go on ends")]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

/// What a listing of the source shows.
const LISTING: &str =
    "drwxr-xr-x          4,096 2026/01/01 00:00:00 .\n-rw-r--r--          4,096 2026/01/01 00:00:00 file\n";

const FIGURES: &str = "
Number of files: 20,001 (reg: 20,000, dir: 1)
Number of created files: 0
Number of deleted files: 0
Number of regular files transferred: 0
Total file size: 81,920,000 bytes
Total transferred file size: 0 bytes
Literal data: 0 bytes
Matched data: 0 bytes
Total bytes sent: 1,234
Total bytes received: 56,789

sent 1,234 bytes  received 56,789 bytes  116,046.00 bytes/sec
total size is 81,920,000  speedup is 1,411.85
";

fn main() {
    let mut arguments = std::env::args_os();
    let own = arguments.next().unwrap_or_default();
    if Path::new(&own).file_name().is_some_and(|name| name == "rsync") {
        let arguments: Vec<_> = arguments.collect();
        as_rsync(|wanted| arguments.iter().any(|argument| argument == wanted));
        return;
    }
    let file = arguments.next().unwrap_or_default();
    let program = arguments.next().unwrap_or_default();
    stamp(Path::new(&file));
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("cannot start {}: {error}", program.display());
    std::process::exit(127);
}

fn as_rsync(is_given: impl Fn(&str) -> bool) {
    let mut out = std::io::stdout().lock();
    if is_given("--version") {
        out.write_all(b"rsync  version 3.4.1  protocol version 32\n").unwrap();
        return;
    }
    // Its place is known, its environment is not: the runner leaves nothing in it.
    stamp(Path::new("/usr/local/sbin/started"));
    let text = if is_given("--list-only") { LISTING } else { FIGURES };
    out.write_all(text.as_bytes()).unwrap();
}

/// Appends the time in nanoseconds since the machine was started.
fn stamp(file: &Path) {
    let now = clock_gettime(ClockId::Monotonic);
    let mut out = OpenOptions::new().create(true).append(true).open(file).unwrap();
    out.write_all(format!("{}{:09}\n", now.tv_sec, now.tv_nsec).as_bytes()).unwrap();
}
