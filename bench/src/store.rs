//! The file of the results; the newest replaces the one before.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use crate::results::{Results, Section};
use crate::{machine, rows};

/// The last results of this machine, so that single rows can be measured again.
pub fn load(directory: &Path) -> Results {
    let newest = files(directory).pop();
    let text = newest.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Puts a row in the place of its last one.
pub fn put(results: &mut Results, section: Section) {
    results.sections.retain(|other| other.name != section.name);
    results.sections.push(section);
    results.sections.sort_by_key(|section| rows::ALL.iter().position(|row| row.name == section.name));
}

/// Writes the file of today and takes away those before.
pub fn save(directory: &Path, results: &Results) {
    fs::create_dir_all(directory).unwrap();
    let old = files(directory);
    let today = directory.join(format!("{}-{}.json", Zoned::now().date(), machine::host()));
    fs::write(&today, serde_json::to_string_pretty(results).unwrap() + "\n").unwrap();
    for file in old.into_iter().filter(|file| *file != today) {
        fs::remove_file(file).unwrap();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let suffix = format!("-{}.json", machine::host());
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(&suffix)).collect();
    files.sort();
    files
}
