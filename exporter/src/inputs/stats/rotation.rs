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
    /// Its first lines must tell: it was compressed or deleted, or what came after it was.
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
    let own = &family[position].0;
    // While it is compressed, the copy stands beside it.
    let mut behind = family[position + 1..].iter().filter(|(path, _)| !is_compressed_form(path, own));
    match behind.next() {
        None => Ok(Successor::NotYet),
        Some((path, _)) if is_compressed(path) => Ok(Successor::Unknown),
        Some((path, id)) => match LogFile::open(path) {
            Ok(opened) if opened.id() == *id => Ok(Successor::Next(opened)),
            Ok(_) => Ok(Successor::NotYet),
            Err(error) if path == name => Err(error),
            // A directory, or a part that may not be read, is none of the log's parts.
            Err(_) => Ok(Successor::Unknown),
        },
    }
}

/// The log and its rotated siblings, oldest first, seen alike twice in a row.
fn settled_family(name: &Path) -> Option<Vec<Named>> {
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

/// A name, and the file that it leads to.
pub type Named = (PathBuf, FileId);

/// The log and its rotated siblings, compressed ones among them, oldest first. A part that is being compressed is there
/// in both forms, the plain one first.
pub fn family(name: &Path) -> Vec<Named> {
    let age = |suffix: &str| age(suffix.strip_suffix(".gz").unwrap_or(suffix));
    siblings(name, age).into_iter().filter_map(|path| Some((path.clone(), id_of(&path)?))).collect()
}

/// Whether a part is one that gzip(1) has made.
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Whether the one is what gzip(1) makes of the other.
pub fn is_compressed_form(path: &Path, of: &Path) -> bool {
    is_compressed(path) && path.with_extension("") == of
}

/// The paths beside the log that `age` knows by what is added to its name, oldest first, then the log.
fn siblings(name: &Path, age: impl Fn(&str) -> Option<Age>) -> Vec<PathBuf> {
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
type Age = (Reverse<u64>, String);

/// Where a sibling stands by what is added to the name: numbers fall with time, dates rise.
fn age(suffix: &str) -> Option<Age> {
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
