//! Edge: whether there is a journal that may be read.
//!
//! sd-journal(3) opens a directory whose files it may not read without an error and shows it empty.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::JournalError;

/// Checks that at least one file of the journal can be opened.
///
/// Journald keeps its files in a directory for each machine. A user may always read the journal of
/// its own processes, so that the one of the system decides where there is one.
pub fn check(directories: &[PathBuf]) -> Result<(), JournalError> {
    let mut files: Vec<PathBuf> = directories.iter().flat_map(|directory| journal_files(directory)).collect();
    let is_system =
        |file: &Path| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("system"));
    if files.iter().any(|file| is_system(file)) {
        files.retain(|file| is_system(file));
    }
    let mut refused = None;
    for file in files {
        match File::open(&file) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = Some(JournalError::Denied(file, error)),
        }
    }
    let names = || directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>();
    Err(refused.unwrap_or_else(|| JournalError::Missing(names().join(" and "))))
}

fn journal_files(directory: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let top = list(directory);
    let below: Vec<_> = top.iter().filter(|path| path.is_dir()).flat_map(|path| list(path)).collect();
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "journal");
    top.into_iter().chain(below).filter(is_journal).collect()
}
