use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process;
use backup_testkit::sshd::Sshd;

use super::Row;
use crate::measure::Usage;
use crate::results::Section;
use crate::tmpfs::Tmpfs;
use crate::{Bench, data, measure};

pub const ROW: Row = Row {
    name: "runs",
    title: "whole runs",
    about: "8 hosts of this machine and 8 hosts behind ssh on the loopback address, with 20,000 files of up to 8 KiB each. `xargs -P` runs the commands \
            that `backup-runner --dry-run --json` shows, as many at a time as the machine has cores, as the runner does; `one after the other` runs them \
            in a row as a script would; rsnapshot makes the same copies with `rsnapshot sync`. Each subject has a destination of its own; the order \
            changes each time, and what is no first copy is measured three times in a round. `own share` is the processor time of the runner itself by that of the whole run.",
    measure,
};

const SUBJECTS: [&str; 4] = ["backup-runner", "xargs -P", "one after the other", "rsnapshot"];
const CASES: [&str; 3] = ["first copy", "nothing changed", "1 % changed"];

/// Bytes that a file takes in memory, with what the kernel keeps of it: up to two pages, and an inode.
const FILE_BYTES: u64 = 8 * 1024;

/// How often each case is measured in a round: a copy can be the first one once, and the others are short, so that
/// a second of something else on the machine weighs much.
const REPEATS: [usize; 3] = [1, 3, 3];

fn measure(bench: &Bench, section: &mut Section) {
    let folder = bench.folder();
    let files = bench.scaled(20_000);
    let local = bench.nearly_full(8);
    let trees = local * 2 * (1 + SUBJECTS.len());
    let data = folder.path().join("data");
    let tmpfs = Tmpfs::mount(&data, (trees * files) as u64 * FILE_BYTES);
    let sources: Vec<PathBuf> = (0..local * 2).map(|number| data.join(format!("source{number}"))).collect();
    for (number, source) in sources.iter().enumerate() {
        data::tree::make(source, files, number as u64);
    }
    let sshd = Sshd::start(folder.path());
    let site = Site { bench, folder: folder.path(), data: &data, local, sources: &sources, sshd: &sshd };
    for round in 0..bench.rounds {
        for subject in SUBJECTS {
            site.prepare(subject);
        }
        for (case, repeats) in CASES.into_iter().zip(REPEATS) {
            for repeat in 0..repeats {
                if case == CASES[2] {
                    for (number, source) in sources.iter().enumerate() {
                        let seed = (round * repeats + repeat + 1) * 1000 + number;
                        data::tree::change(source, files, seed as u64);
                    }
                }
                for turn in 0..SUBJECTS.len() {
                    let subject = SUBJECTS[(turn + round + repeat) % SUBJECTS.len()];
                    rustix::fs::sync();
                    let usage = site.run(subject);
                    section.add(case, subject, "wall", "s", usage.wall);
                    section.add(case, subject, "processor", "s", usage.cpu);
                    if subject == "backup-runner" {
                        section.add(case, subject, "own share", "%", usage.own_cpu / usage.cpu * 100.0);
                        section.add(case, subject, "peak memory", "MiB", usage.peak_mib);
                    }
                }
            }
        }
    }
    for case in CASES {
        let ratio = |subject: &str| section.ratio(case, "wall", "backup-runner", subject);
        let (xargs, row, rsnapshot) = (ratio(SUBJECTS[1]), ratio(SUBJECTS[2]), ratio(SUBJECTS[3]));
        let own = section.median(case, "backup-runner", "own share");
        let memory = section.median(case, "backup-runner", "peak memory");
        section.at_most(&format!("{case}: wall beside xargs -P"), xargs, "×", 1.03);
        section.at_most(&format!("{case}: own processor time"), own, "%", 1.0);
        section.at_most(&format!("{case}: peak memory"), memory, "MiB", 12.0);
        section.at_most(&format!("{case}: wall beside one after the other"), row, "×", 1.0);
        section.at_most(&format!("{case}: wall beside rsnapshot"), rsnapshot, "×", 1.0);
    }
    section.note(match &tmpfs {
        Some(_) => {
            "Sources and destinations are in memory (tmpfs): a disk differs from one minute to the next by more than what is compared. The stats log is on the disk."
        }
        None => "Sources, destinations and the stats log are on the disk: there was no memory for them.",
    });
    section.note(
        "The commands delete nothing (`rsync --max-delete=0`), and nothing is gone on the sources; where something is, the runner starts a second rsync. In the first copy it asks \
         `ssh -G` and opens a TCP connection before each host behind ssh; a host that was reached last time is not asked again.",
    );
    section.note("Each record that ends a path is on the disk (`fdatasync`) before the next one is written.");
}

struct Site<'a> {
    bench: &'a Bench,
    folder: &'a Path,
    data: &'a Path,
    local: usize,
    sources: &'a [PathBuf],
    sshd: &'a Sshd,
}

impl Site<'_> {
    fn home(&self, subject: &str) -> PathBuf {
        self.data.join(subject.replace(' ', "-"))
    }

    /// An empty destination, and the commands.
    fn prepare(&self, subject: &str) {
        let home = self.home(subject);
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        if subject == "rsnapshot" {
            fs::write(home.join("rsnapshot.conf"), self.rsnapshot(&home)).unwrap();
            return;
        }
        let log = self.folder.join("stats.log");
        let _ = fs::remove_file(&log);
        data::config::write_with_log(&home, &log, "", &self.hosts());
        if subject != "backup-runner" {
            let commands = self.commands(&home);
            let mut script = String::from("export LC_ALL=C\n");
            for command in &commands {
                let _ = writeln!(script, "{command} || exit 255");
            }
            fs::write(home.join("script"), script).unwrap();
            fs::write(home.join("commands"), commands.join("\0")).unwrap();
        }
    }

    fn hosts(&self) -> String {
        let mut out = String::new();
        for (number, source) in self.sources.iter().enumerate() {
            let ssh =
                if number < self.local { String::new() } else { format!("    {}\n", self.sshd.host_keys()) };
            let source = source.display();
            let _ = writeln!(out, "  host{number}:\n{ssh}    paths: [{{path: {source}, dest_subdir: data}}]");
        }
        out
    }

    /// The commands that a run would start, as lines for a shell.
    fn commands(&self, home: &Path) -> Vec<String> {
        let mut runner = Command::new(self.bench.program("backup-runner"));
        let output =
            process::run(runner.args(["--dry-run", "--json", "--config"]).arg(home.join("backup.yaml")));
        let command = |line: &str| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            let words: Vec<&str> =
                json["command"].as_array().unwrap().iter().filter_map(|word| word.as_str()).collect();
            let destination = json["dest"].as_str().unwrap();
            fs::create_dir_all(destination).unwrap();
            format!("cd {} && {}", shell_words::quote(destination), shell_words::join(words))
        };
        let commands: Vec<String> = output.stdout.lines().map(command).collect();
        assert_eq!(commands.len(), self.sources.len(), "{}", output.stderr);
        commands
    }

    fn rsnapshot(&self, home: &Path) -> String {
        let ssh = self.sshd;
        let mut out = format!(
            "config_version\t1.2\nsnapshot_root\t{}/\ncmd_rsync\t/usr/bin/rsync\ncmd_ssh\t/usr/bin/ssh\nretain\talpha\t2\nsync_first\t1\nno_create_root\t0\n\
             verbose\t1\nloglevel\t1\nlockfile\t{}\nrsync_short_args\t-a\nrsync_long_args\t--delete --numeric-ids --relative\n\
             ssh_args\t-p {} -i {} -o UserKnownHostsFile={} -o BatchMode=yes\n",
            home.join("snapshots").display(),
            home.join("lock").display(),
            ssh.port(),
            ssh.key().display(),
            ssh.known_hosts().display()
        );
        for (number, source) in self.sources.iter().enumerate() {
            let user = if number < self.local { String::new() } else { "root@127.0.0.1:".to_owned() };
            let _ = writeln!(out, "backup\t{user}{}/\thost{number}/", source.display());
        }
        out
    }

    fn run(&self, subject: &str) -> Usage {
        let home = self.home(subject);
        let mut command = match subject {
            "backup-runner" => {
                let mut command = Command::new(self.bench.program("backup-runner"));
                command.args(["--backup", "--json", "--config"]).arg(home.join("backup.yaml"));
                command
            }
            "xargs -P" => {
                let mut command = Command::new("sh");
                let script = "LC_ALL=C xargs -0 -n 1 -P $(nproc) sh -c <\"$1\"";
                command.args(["-c", script, "sh"]).arg(home.join("commands"));
                command
            }
            "rsnapshot" => {
                let mut command = Command::new("rsnapshot");
                command.arg("-c").arg(home.join("rsnapshot.conf")).arg("sync");
                command
            }
            _ => {
                let mut command = Command::new("sh");
                command.arg(home.join("script"));
                command
            }
        };
        measure::run(&mut command, &[0])
    }
}
