//! The commands that the documents tell people to type: blocks of code for a shell, and spans of code that begin
//! with one of the programs in question.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::sources;

/// A span of code that begins with one of these, and has more than one word, is a command.
const PROGRAMS: [&str; 26] = [
    "apt",
    "backup-exporter",
    "backup-metrics",
    "backup-runner",
    "backup-sizes",
    "btrfs",
    "cargo",
    "chgrp",
    "chmod",
    "cp",
    "du",
    "find",
    "influx",
    "install",
    "journalctl",
    "logrotate",
    "make",
    "mimirtool",
    "mount",
    "promtool",
    "rsync",
    "ssh",
    "systemctl",
    "systemd-analyze",
    "systemd-tmpfiles",
    "thanos",
];

/// A command with the places where it stands, as `docs/operations.md: Restoring`.
pub type Commands = BTreeMap<String, BTreeSet<String>>;

/// README.md and the documents, each by its path from the root of the sources.
pub fn documents() -> Vec<(String, String)> {
    let root = sources();
    let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    // Pictures are there as well.
    let mut files: Vec<PathBuf> =
        documents.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect();
    files.push(root.join("README.md"));
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(&root).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// Every command of every document.
pub fn documented() -> Commands {
    let mut commands = Commands::new();
    for (file, text) in documents() {
        for (heading, command) in of_text(&text) {
            commands.entry(command).or_default().insert(format!("{file}: {heading}"));
        }
    }
    commands
}

/// The commands of a document in their order, each with the heading that it stands under.
pub fn of_text(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut paragraph = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            spans(&paragraph, &heading, &mut found);
            paragraph.clear();
            let block: Vec<&str> =
                lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
            if language.trim() == "yaml" {
                // A value that a command makes has the command as its comment.
                let comments = block.iter().filter_map(|line| line.split_once("# "));
                let comments = comments.filter(|(_, comment)| comment.starts_with("htpasswd "));
                found.extend(comments.map(|(_, comment)| (heading.clone(), comment.to_owned())));
            }
            if matches!(language.trim(), "sh" | "bash" | "console" | "shell") {
                found.extend(of_block(&block).into_iter().map(|command| (heading.clone(), command)));
            }
        } else if line.trim().is_empty() || line.starts_with('#') || line.starts_with('|') {
            spans(&paragraph, &heading, &mut found);
            paragraph.clear();
            if line.starts_with('#') {
                line.trim_start_matches('#').trim().clone_into(&mut heading);
            } else {
                // The cells of a table write a pipe as `\|`.
                spans(&line.replace("\\|", "|"), &heading, &mut found);
            }
        } else {
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    spans(&paragraph, &heading, &mut found);
    found
}

/// A line each, without its comment; a loop or a line that ends with a backslash takes several.
fn of_block(lines: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let line = line.split_once("  #").map_or(*line, |(command, _)| command).trim_end();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => {
                command.push('\n');
                command.push_str(line);
            }
            None => commands.push(line.to_owned()),
        }
        let command = commands.last().unwrap();
        goes_on = line.ends_with('\\') || (command.starts_with("for ") && line.trim() != "done");
    }
    commands
}

fn spans(paragraph: &str, heading: &str, found: &mut Vec<(String, String)>) {
    for span in paragraph.split('`').skip(1).step_by(2) {
        let words: Vec<&str> = span.split_whitespace().collect();
        if words.len() > 1 && PROGRAMS.contains(&words[0]) {
            found.push((heading.to_owned(), words.join(" ")));
        }
    }
}

/// The command as it stands in the documents: who runs it, runs what they say.
pub fn typed(command: &str) -> String {
    let documented = documented();
    let (command, _) =
        documented.get_key_value(command).unwrap_or_else(|| panic!("no document says {command:?}"));
    command.clone()
}
