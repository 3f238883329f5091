//! The units as systemd's own tools judge them.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_testkit::process::run;
use clap::CommandFactory;

fn units() -> Vec<PathBuf> {
    let directory = fs::read_dir(support::sources().join("systemd")).unwrap();
    let mut units: Vec<PathBuf> =
        directory.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    units.sort();
    assert_eq!(units.len(), 8, "{units:?}");
    units
}

/// `systemd-analyze verify` wants the programs to be there; everything else is as delivered.
#[test]
fn systemd_finds_nothing_to_say_against_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap().replace("@.", "@second.");
        let text = fs::read_to_string(&unit).unwrap();
        let lines = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
            Some(command) => {
                let (program, arguments) = command.split_once(' ').unwrap();
                assert!(program.starts_with("/usr/bin/backup-"), "{line}");
                format!("ExecStart=/bin/true {arguments}\n")
            }
            None => format!("{line}\n"),
        });
        let copy = folder.path().join(name);
        fs::write(&copy, lines.collect::<String>()).unwrap();
        copies.push(copy);
    }
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&copies));
    let about_ours = |line: &&str| line.contains("backup");
    let said: Vec<&str> = verified.stderr.lines().filter(about_ours).collect();
    assert!(verified.code == 0 && said.is_empty(), "{} {said:#?}", verified.code);
}

#[test]
fn their_exposure_stays_low() {
    // In tenths; systemd takes the threshold as a whole number of them.
    for (unit, threshold) in [
        ("backup.service", 36),
        ("backup@.service", 36),
        ("backup-exporter.service", 16),
        ("backup-sizes.service", 16),
    ] {
        // An instance of the template.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(unit.replace("@.", "@second."));
        fs::copy(support::sources().join("systemd").join(unit), &copy).unwrap();
        let judged = run(Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", &format!("--threshold={threshold}")])
            .arg(&copy));
        let last = judged.stdout.lines().last().unwrap_or_default().to_owned();
        println!("{last}");
        assert_eq!(judged.code, 0, "{unit}: {last} {}", judged.stderr);
    }
}

/// The second configuration's unit is the first one's, but for its names.
#[test]
fn the_template_says_the_same() {
    let read = |name: &str| fs::read_to_string(support::sources().join("systemd").join(name)).unwrap();
    let single = read("backup.service").replace("/etc/backup/backup.yaml", "/etc/backup/%i.yaml");
    let single = single.replace(
        "Description=Backup of all hosts\n",
        "Description=Backup of all hosts of /etc/backup/%i.yaml\n",
    );
    assert_eq!(
        single.replace("/etc/default/backup-runner\n", "/etc/default/backup-runner-%i\n"),
        read("backup@.service")
    );
    let times =
        |name: &str| read(name).split_once("[Timer]").unwrap().1.replace("backup@NAME.timer", "backup.timer");
    assert_eq!(times("backup.timer"), times("backup@.timer"));
}

/// What the units say in one place and the programs in another.
#[test]
fn they_agree_with_the_flags() {
    let read = |name: &str| fs::read_to_string(support::sources().join("systemd").join(name)).unwrap();
    let default = |command: &clap::Command, flag: &str| {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap();
        argument.get_default_values()[0].to_str().unwrap().to_owned()
    };
    let exporter = backup_exporter::cli::Cli::command();
    let sizes = backup_sizes::cli::Cli::command();
    let socket = default(&exporter, "sizes.socket");
    assert_eq!(socket, default(&sizes, "socket"));
    assert!(read("backup-sizes.socket").contains(&format!("\nListenStream={socket}\n")));
    let address = default(&exporter, "web.listen-address");
    assert!(read("backup-exporter.socket").contains(&format!("\nListenStream={address}\n")));
    let state = default(&exporter, "state.directory");
    let name = Path::new(&state).strip_prefix("/var/lib").unwrap().display().to_string();
    assert!(read("backup-exporter.service").contains(&format!("\nStateDirectory={name}\n")));
    assert_eq!(
        (&*default(&exporter, "unit"), &*default(&exporter, "timer")),
        ("backup.service", "backup.timer")
    );
}
