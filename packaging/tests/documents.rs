//! What the documents tell people to type exists.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use backup_testkit::process::run;

const PROGRAMS: [&str; 4] = ["backup-runner", "backup-exporter", "backup-metrics", "backup-sizes"];

fn documents() -> Vec<(String, String)> {
    let root = support::sources();
    let mut files: Vec<PathBuf> = vec![root.join("README.md")];
    let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    // Pictures are there as well.
    files.extend(documents.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    files.extend(fs::read_dir(root.join("systemd/default")).unwrap().map(|entry| entry.unwrap().path()));
    files.sort();
    files.iter().map(|file| (file.display().to_string(), fs::read_to_string(file).unwrap())).collect()
}

fn help(program: &str) -> String {
    let output = run(Command::new(support::program(program)).arg("--help"));
    assert_eq!(output.code, 0, "{}", output.stderr);
    output.stdout
}

/// Long flags in a text: `--` and a name.
fn flags(text: &str) -> BTreeSet<String> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let begins = text.match_indices("--").map(|(at, _)| at);
    let begins = begins.filter(|at| !text[..*at].ends_with(name));
    let words = begins.map(|at| text[at..].split(|c: char| !name(c)).next().unwrap_or_default());
    words.map(|word| word.trim_end_matches('.').to_owned()).filter(|word| word.len() > 2).collect()
}

/// Each line of a block or span of code that starts one of the programs names only flags that its help has.
#[test]
fn every_flag_of_a_command_line_exists() {
    let known: BTreeMap<&str, BTreeSet<String>> =
        PROGRAMS.map(|program| (program, flags(&help(program)))).into();
    let mut seen = 0;
    for (file, text) in documents() {
        let spans = text.split('`').flat_map(str::lines);
        for line in spans {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let line = line
                .strip_prefix("BACKUP_EXPORTER_OPTIONS=")
                .map_or(line.to_owned(), |options| format!("backup-exporter {}", options.trim_matches('"')));
            let Some((program, rest)) = line.split_once(' ') else { continue };
            let Some(known) = known.get(program) else { continue };
            for flag in flags(rest) {
                seen += 1;
                assert!(known.contains(&flag), "{file}: {program} has no {flag}: {line}");
            }
        }
    }
    assert!(seen > 40, "{seen} flags were looked at");
}

/// A flag alone in a span of code belongs to one of the programs, or to a program of others.
#[test]
fn every_flag_alone_exists() {
    // Those of rsync.
    const FOREIGN: [&str; 7] =
        ["--chmod", "--delete", "--delete-after", "--files-from", "--inplace", "--max-size", "--stats"];
    let known: BTreeSet<String> = PROGRAMS.iter().flat_map(|program| flags(&help(program))).collect();
    for (file, text) in documents() {
        for span in text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("--")) {
            for flag in flags(span) {
                let elsewhere = FOREIGN.contains(&&*flag);
                assert!(known.contains(&flag) || elsewhere, "{file}: no program has {flag}");
            }
        }
    }
}

/// Links between the documents lead to a file, and to a heading of it where they name one.
#[test]
fn links_lead_somewhere() {
    let anchor = |heading: &str| -> String {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    for (file, text) in documents() {
        let directory = PathBuf::from(&file).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { PathBuf::from(&file) } else { directory.join(path) };
            assert!(path.exists(), "{file}: {target}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&path).unwrap();
                let found = text.lines().any(|line| {
                    line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading
                });
                assert!(found, "{file}: {target}");
            }
        }
    }
}

/// Every file that a document names below the package's own directory is installed there.
#[test]
fn files_of_the_package_are_there() {
    let examples =
        ["systemd/examples", "dashboards", "."].map(|directory| support::sources().join(directory));
    for (file, text) in documents() {
        for rest in text.split("/usr/share/doc/backup-system/examples/").skip(1) {
            let name =
                rest.split(|c: char| !(c.is_ascii_alphanumeric() || "._-/".contains(c))).next().unwrap();
            let name = name.trim_end_matches(['.', '/']);
            let is_there = name == "dashboards"
                || name.is_empty()
                || examples.iter().any(|directory| directory.join(name).exists());
            assert!(is_there, "{file}: {name}");
        }
    }
}

/// The examples are good configurations.
#[test]
fn the_examples_hold() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("backup.yaml");
    fs::copy(support::sources().join("backup.yaml.example"), &config).unwrap();
    let checked = run(Command::new(support::program("backup-runner"))
        .args(["--check-config", "--verbose", "--config"])
        .arg(&config));
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let influx = support::sources().join("influxdb-config.yaml.example");
    let checked = run(Command::new(support::program("backup-exporter"))
        .arg("--config.check")
        .arg("--config.file")
        .arg(&config)
        .arg("--influxdb.config")
        .arg(influx));
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}
