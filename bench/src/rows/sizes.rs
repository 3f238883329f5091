use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use backup_testkit::btrfs::Volume;
use backup_testkit::process;

use super::Row;
use crate::results::Section;
use crate::{Bench, data, measure};

pub const ROW: Row = Row {
    name: "sizes",
    title: "sizes of what is stored",
    about: "1,000,000 files of up to 8 KiB in 20 directories on a loop-mounted btrfs. `cold` is after the volume was mounted anew and its image put out of the \
            memory, `warm` is the second time. The loop device reads with direct I/O, as a disk is read: without it, it reads one request at a time through the memory of the \
            file system below. `tree` and `walk` are the two methods of this system, run by a small program. All of them find the volume as it was \
            made. A rescan is of what `tree` still knows, after so many files were written anew and synced; those come last, because they change the volume.",
    measure,
};

const DIRECTORIES: usize = 20;

/// Cases of rescans: one file in so many is written anew. Of a million files these are 1,000, 10,000 and 100,000.
const CHANGES: [(&str, usize); 3] =
    [("rescan, 0.1 % changed", 1000), ("rescan, 1 % changed", 100), ("rescan, 10 % changed", 10)];

/// What does not grow with the files: the program, its threads, and what they read into.
const FIXED_MIB: f64 = 8.0;

fn measure(bench: &Bench, section: &mut Section) {
    let folder = bench.folder();
    let files = bench.scaled(1_000_000) / DIRECTORIES;
    let mebibytes = 1024 + (files * DIRECTORIES / 64) as u64;
    let volume = Volume::make(folder.path(), mebibytes);
    let directories: Vec<PathBuf> =
        (0..DIRECTORIES).map(|number| volume.path().join(format!("path{number:02}"))).collect();
    for (number, directory) in directories.iter().enumerate() {
        data::tree::make(directory, files, number as u64);
    }
    volume.btrfs(&["filesystem", "sync", "."]);
    let site = Site { volume: &volume, directories: &directories };
    let tools = ["tree", "walk", "btrfs filesystem du", "du", "dua", "pdu"];
    let tools: Vec<&str> = tools.into_iter().filter(|tool| is_there(tool)).collect();
    for round in 0..bench.rounds {
        for turn in 0..tools.len() {
            let tool = tools[(turn + round) % tools.len()];
            site.forget();
            let cold = measure::run(&mut site.command(tool), &[0]);
            section.add("cold", tool, "wall", "s", cold.wall);
            section.add("cold", tool, "peak memory", "MiB", cold.peak_mib);
            let warm = measure::run(&mut site.command(tool), &[0]);
            section.add("warm", tool, "wall", "s", warm.wall);
        }
    }
    // Afterwards, because they write a tenth of the files anew, and each full scan is to find the volume as it was made.
    for round in 0..bench.rounds {
        site.rescans(section, files, round);
    }
    checks(section, files * DIRECTORIES);
}

fn is_there(tool: &str) -> bool {
    let program = match tool {
        "tree" | "walk" => return true,
        "btrfs filesystem du" => "btrfs",
        program => program,
    };
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

struct Site<'a> {
    volume: &'a Volume,
    directories: &'a [PathBuf],
}

impl Site<'_> {
    fn command(&self, tool: &str) -> Command {
        let own = std::env::current_exe().unwrap().with_file_name("scan-sizes");
        let (program, arguments): (PathBuf, &[&str]) = match tool {
            "tree" => (own, &["tree"]),
            "walk" => (own, &["walk"]),
            "btrfs filesystem du" => ("btrfs".into(), &["filesystem", "du", "-s"]),
            "du" => ("du".into(), &["-s", "--block-size=1"]),
            "dua" => ("dua".into(), &["aggregate"]),
            // By itself it takes one thread where it thinks that the disk rotates.
            _ => ("pdu".into(), &["--quantity=block-size", "--max-depth=1", "--threads=max"]),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        if matches!(tool, "tree" | "walk") {
            command.arg(self.volume.path());
        }
        command.args(self.directories);
        command
    }

    /// Puts what the kernel knows of the volume out of the memory.
    fn forget(&self) {
        self.volume.unmount();
        let image = format!("if={}", self.volume.image().display());
        assert_eq!(process::run(Command::new("dd").args([&image, "iflag=nocache", "count=0"])).code, 0);
        self.volume.mount_direct("nosuid,nodev");
    }

    fn rescans(&self, section: &mut Section, files: usize, round: usize) {
        let mut scanner = Scanner::start(self.command("tree"));
        section.add("warm", "tree", "full scan without the start", "s", scanner.next());
        section.add("rescan, nothing changed", "tree", "wall", "ms", scanner.again() * 1e3);
        for (case, every) in CHANGES {
            for (number, directory) in self.directories.iter().enumerate() {
                let seed = (round * 10_000 + every * 20 + number) as u64;
                data::tree::change_one_in(every, directory, files, seed);
            }
            self.volume.btrfs(&["filesystem", "sync", "."]);
            section.add(case, "tree", "wall", "ms", scanner.again() * 1e3);
        }
        section.add("rescans", "tree", "peak memory", "MiB", measure::memory(scanner.child.id(), "VmHWM"));
    }
}

/// A program that keeps what it knows between scans.
struct Scanner {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Scanner {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    fn next(&mut self) -> f64 {
        let line = self.output.next().unwrap().unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }

    fn again(&mut self) -> f64 {
        writeln!(self.input).unwrap();
        self.next()
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn checks(section: &mut Section, files: usize) {
    let ratio = |case: &str, peer: &str| section.ratio(case, "wall", peer, "tree");
    let walkers = |case: &str| {
        let all = ["du", "dua", "pdu"].into_iter().filter_map(|peer| ratio(case, peer));
        all.min_by(f64::total_cmp)
    };
    let (cold, warm) = (ratio("cold", "btrfs filesystem du"), ratio("warm", "btrfs filesystem du"));
    let (cold_walk, warm_walk) = (walkers("cold"), walkers("warm"));
    let walk = ["cold", "warm"].map(|case| section.ratio(case, "wall", "walk", "pdu"));
    let unchanged = section.median("rescan, nothing changed", "tree", "wall");
    let full = section.median("warm", "tree", "full scan without the start");
    let times = |case: &str| {
        let rescan = section.median(case, "tree", "wall")?;
        Some(full? * 1e3 / rescan)
    };
    let peak = section.median("rescans", "tree", "peak memory");
    let peak = peak.zip(section.median("cold", "tree", "peak memory")).map(|(one, other)| one.max(other));
    let changed = CHANGES.map(|(case, _)| times(case));
    section.at_least("cold, times as fast as btrfs filesystem du", cold, "×", 12.0);
    section.at_least("cold, times as fast as the best walker", cold_walk, "×", 4.0);
    section.at_least("warm, times as fast as btrfs filesystem du", warm, "×", 18.0);
    section.at_least("warm, times as fast as the best walker", warm_walk, "×", 2.0);
    section.at_most("the walk beside pdu, cold", walk[0], "×", 1.0);
    section.at_most("the walk beside pdu, warm", walk[1], "×", 1.0);
    section.at_most("rescan, nothing changed", unchanged, "ms", 5.0);
    section.at_least("rescan with 0.1 % changed, times as fast as a full scan", changed[0], "×", 20.0);
    section.at_least("rescan with 1 % changed, times as fast as a full scan", changed[1], "×", 4.0);
    section.at_most("peak memory of the trees, scans and rescans", peak, "MiB", memory_target(files));
    if let Some(ten) = changed[2] {
        section.note(format!(
            "A rescan with 10 % changed is {ten:.1} times as fast as a full scan; there is no target for it."
        ));
    }
}

/// 64 MiB for a million files, and for fewer a share of it beside what every process takes.
fn memory_target(files: usize) -> f64 {
    FIXED_MIB + (64.0 - FIXED_MIB) * files as f64 / 1e6
}
