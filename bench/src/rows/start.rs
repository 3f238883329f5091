use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Row;
use crate::results::Section;
use crate::{Bench, data, measure};

pub const ROW: Row = Row {
    name: "start",
    title: "start of the runner to the first rsync",
    about: "1,000 paths of 100 hosts in one configuration, and a stand-in for rsync that notes when it was started. Before the \
            first transfer the runner starts `rsync --version` once, which counts. `first run` has no stats log yet, \
            `later run` has the log of 10 runs.",
    measure,
};

const HOSTS: usize = 100;
const PATHS: usize = 10;

fn measure(bench: &Bench, section: &mut Section) {
    for (case, runs) in [("first run", 0), ("later run", 10)] {
        for _ in 0..bench.rounds {
            let folder = bench.folder();
            let settings = "  connect_timeout: 5 s\n";
            data::config::write(folder.path(), settings, &data::config::fleet(HOSTS, PATHS));
            for run in 0..runs {
                data::log::append_run(&folder.path().join("stats.log"), HOSTS, PATHS, run);
            }
            let stand_in = StandIn::make(folder.path());
            measure::run(
                stand_in.command(&bench.program("backup-runner"), folder.path()).arg("--json"),
                &[0],
            );
            section.add(case, "backup-runner", "time to the first rsync", "ms", stand_in.first() * 1e3);
        }
        let reached = section.median(case, "backup-runner", "time to the first rsync");
        section.at_most(&format!("start to the first rsync, 1,000 paths, {case}"), reached, "ms", 50.0);
    }
}

/// A directory with the stand-in under the name of rsync.
pub struct StandIn {
    directory: PathBuf,
}

impl StandIn {
    /// Puts it below a folder.
    pub fn make(folder: &Path) -> Self {
        let directory = folder.join("stand-in");
        fs::create_dir_all(&directory).unwrap();
        let own = std::env::current_exe().unwrap().with_file_name("stand-in");
        fs::copy(own, directory.join("rsync")).unwrap();
        Self { directory }
    }

    /// A backup, in a mount namespace in which the stand-in is found before rsync.
    pub fn command(&self, runner: &Path, folder: &Path) -> Command {
        let mut command =
            self.shell("exec \"$2/rsync.begin\" \"$2/begun\" \"$3\" --config \"$4\" --backup \"$5\"");
        let begin = self.directory.join("rsync.begin");
        if !begin.exists() {
            fs::copy(self.directory.join("rsync"), begin).unwrap();
        }
        command.arg(&self.directory).arg(runner).arg(folder.join("backup.yaml"));
        command
    }

    /// A shell in that namespace; `$1` is taken.
    pub fn shell(&self, script: &str) -> Command {
        let script = format!("mount --bind \"$1\" /usr/local/sbin && {script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(&self.directory);
        command
    }

    /// Seconds from the runner's start to that of the first rsync.
    pub fn first(&self) -> f64 {
        let read = |name: &str| -> f64 {
            let text = fs::read_to_string(self.directory.join(name)).unwrap();
            text.lines().next().unwrap().parse().unwrap()
        };
        (read("started") - read("begun")) / 1e9
    }

    /// How often it was started.
    pub fn count(&self) -> usize {
        fs::read_to_string(self.directory.join("started")).map_or(0, |text| text.lines().count())
    }
}
