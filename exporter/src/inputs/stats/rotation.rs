//! Finds the file that came after another one, by the names that logrotate(8) gives.
//!
//! `log` becomes `log.1`, which becomes `log.2`; or, with `dateext`, `log-20260101`. Several
//! rotations may have taken place since the last look, so the next file is not always `log`.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{FileId, LogError, LogFile};

/// Looks that are taken until two of them agree; each rotation in between costs one.
const LOOKS: usize = 10;

/// What the names tell of a file that is held open.
#[derive(Debug)]
pub enum Successor {
    /// The name still leads to it, or files are being renamed at this moment and the next look will tell.
    NotYet,
    /// The file that came after it.
    Next(LogFile),
    /// It was compressed or deleted, so that no name of a plain file leads to it.
    Unknown,
}

/// Looks for the file that follows the one with the identity `current`.
pub fn successor(name: &Path, current: FileId) -> Result<Successor, LogError> {
    if id_of(name) == Some(current) {
        return Ok(Successor::NotYet);
    }
    let Some(family) = settled_family(name) else { return Ok(Successor::NotYet) };
    // The last of its names, if it has several: what comes after it is another file in any case.
    let Some(position) = family.iter().rposition(|(_, id)| *id == current) else {
        return Ok(Successor::Unknown);
    };
    let Some((path, id)) = family.get(position + 1) else { return Ok(Successor::NotYet) };
    let opened = LogFile::open(path)?;
    Ok(if opened.id() == *id { Successor::Next(opened) } else { Successor::NotYet })
}

/// The log and its rotated siblings, oldest first, seen alike twice in a row.
fn settled_family(name: &Path) -> Option<Vec<(PathBuf, FileId)>> {
    let mut seen = family(name);
    for _ in 0..LOOKS {
        let again = family(name);
        if again == seen {
            return Some(seen);
        }
        seen = again;
    }
    None
}

fn family(name: &Path) -> Vec<(PathBuf, FileId)> {
    siblings(name, age).into_iter().filter_map(|path| Some((path.clone(), id_of(&path)?))).collect()
}

/// The paths beside the log that `age` knows by what is added to its name, oldest first, then the log.
pub fn siblings(name: &Path, age: impl Fn(&str) -> Option<Age>) -> Vec<PathBuf> {
    let base = name.file_name().unwrap_or_default().to_string_lossy();
    let directory = name.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut ages: Vec<_> =
        names.filter_map(|sibling| Some((age(sibling.strip_prefix(&*base)?)?, sibling))).collect();
    ages.sort();
    let mut paths: Vec<PathBuf> = ages.into_iter().map(|(_, sibling)| directory.join(sibling)).collect();
    paths.push(name.to_owned());
    paths
}

/// Sorts as time goes.
pub type Age = (Reverse<u64>, String);

/// Where a sibling stands by what is added to the name: numbers fall with time, dates rise.
/// Compressed ones are another file with the same lines, and are none of those that are followed.
pub fn age(suffix: &str) -> Option<Age> {
    let (mark, rest) = suffix.split_at_checked(1)?;
    let is_number = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    match mark {
        "." if is_number => Some((Reverse(rest.parse().ok()?), String::new())),
        "-" if rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.contains('.') => {
            Some((Reverse(u64::MAX), rest.to_owned()))
        }
        _ => None,
    }
}

/// The file that a name leads to now.
pub fn id_of(path: &Path) -> Option<FileId> {
    rustix::fs::lstat(path).ok().map(|stat| FileId::from(&stat))
}
