//! The manual page of `backup.yaml`, from the keys of the configuration themselves.

use backup_common::config_file::{
    GlobalBlock, HostBlock, PathBlock, ScheduleBlock, ScriptKeys, SharedKeys, SnapshotsBlock,
};
use backup_common::config_keys::{KeySpec, Kind, Level};
use roff::{Roff, bold, italic, roman};

/// A block of the file: its name, a sentence about it, its level, and its keys.
type Block = (&'static str, &'static str, Level, &'static [&'static [KeySpec]]);

const BLOCKS: [Block; 5] = [
    (
        "config",
        "What holds for all hosts. A host may override what it knows as well, and a path what it knows.",
        Level::Global,
        &[GlobalBlock::KEYS, SharedKeys::KEYS],
    ),
    (
        "hosts.NAME",
        "A host under the name of your choice: its directory below backup_base and its label in the metrics.",
        Level::Host,
        &[HostBlock::KEYS, SharedKeys::KEYS, ScriptKeys::KEYS],
    ),
    (
        "hosts.NAME.paths[]",
        "A directory of the host.",
        Level::Path,
        &[PathBlock::KEYS, SharedKeys::KEYS, ScriptKeys::KEYS],
    ),
    ("snapshots", "Read-only btrfs snapshots of the volume.", Level::Own, &[SnapshotsBlock::KEYS]),
    ("snapshots.schedules[]", "One kind of snapshot.", Level::Own, &[ScheduleBlock::KEYS]),
];

/// The page as roff.
pub fn page() -> String {
    let mut page = Roff::new();
    page.control(
        "TH",
        ["backup.yaml", "5", "", concat!("backup-system ", env!("CARGO_PKG_VERSION")), "Backup system"],
    );
    page.control("SH", ["NAME"]);
    page.text([roman("backup.yaml - configuration of backup-runner and backup-exporter")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        bold("/etc/backup/backup.yaml"),
        roman(" says which directories of which hosts are backed up, and when snapshots are taken. "),
        roman("A key that is not listed here is an error. All problems of a file are reported together by "),
        bold("backup-runner --check-config"),
        roman(" and nothing is touched while there are any. The file must belong to root or to the caller, and nobody else may write it."),
    ]);
    for (name, about, level, tables) in BLOCKS {
        page.control("SH", [name]);
        page.text([roman(about)]);
        for spec in tables.iter().copied().flatten().filter(|spec| spec.is_known_at(level)) {
            key(&mut page, spec);
        }
    }
    page.control("SH", ["FILES"]);
    page.text([
        italic("/usr/share/doc/backup-system/examples/backup.yaml.example"),
        roman(" shows every key in use; "),
        bold("backup-runner --print-schema"),
        roman(" prints a JSON Schema for editors."),
    ]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("backup-runner"), roman("(8), "), bold("backup-exporter"), roman("(8)")]);
    page.to_roff()
}

fn key(page: &mut Roff, spec: &KeySpec) {
    page.control("TP", []);
    let mut line = vec![bold(spec.name), roman(format!(": {}", kind(spec.kind)))];
    if let Some(default) = spec.default.filter(|default| !default.is_empty()) {
        line.push(roman(format!(" (default {default})")));
    }
    if spec.required {
        line.push(roman(" (required)"));
    }
    page.text(line);
    let mut about: Vec<&str> = spec.about.iter().map(|line| line.trim()).collect();
    let choices = format!("One of: {}.", spec.choices.join(", "));
    if !spec.choices.is_empty() {
        about.push(&choices);
    }
    page.text([roman(about.join(" "))]);
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "whole number",
        Kind::Boolean => "true or false",
        Kind::Duration => "duration, such as 90, 10 min or 2 h",
        Kind::Amount => "amount, such as 500, 5 GiB or 10%",
        Kind::Texts => "text or list of texts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_told_with_a_sentence() {
        let page = page();
        for (_, _, level, tables) in BLOCKS {
            for spec in tables.iter().copied().flatten().filter(|spec| spec.is_known_at(level)) {
                assert!(page.contains(spec.name), "{}", spec.name);
                assert!(!spec.about.concat().trim().is_empty(), "{}", spec.name);
            }
        }
    }
}
