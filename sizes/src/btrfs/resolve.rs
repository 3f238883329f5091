//! Finds directories by their path, in the trees.
//!
//! Nothing is opened: no permission is needed, no symlink can be followed, and nothing outside of the
//! directory that it begins with can be reached, whatever the path says.

use std::io;
use std::ops::ControlFlow;
use std::path::{Component, Path};

use super::item::{DIR_INDEX, Entry, EntryKind, FIRST_NUMBER};
use super::search::{Search, Skip};

/// A directory: tree and inode number.
pub type Place = (u64, u64);

/// The directory at a path below another; none where there is no such directory.
pub fn resolve(search: &mut Search<'_>, begin: Place, path: &Path) -> io::Result<Option<Place>> {
    let mut here = begin;
    for component in path.components() {
        let Component::Normal(name) = component else { return Ok(None) };
        let mut found = None;
        let range = (here.1, DIR_INDEX, 0)..=(here.1, DIR_INDEX, u64::MAX);
        search.each(here.0, range, 0, Skip::Nothing, |item| {
            match Entry::parse(item).filter(|entry| entry.name == name.as_encoded_bytes()) {
                Some(entry) => {
                    found = Some((entry.kind, entry.number));
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        })?;
        here = match found {
            Some((EntryKind::Directory, number)) => (here.0, number),
            Some((EntryKind::Subvolume, tree)) => (tree, FIRST_NUMBER),
            Some((EntryKind::File, _)) | None => return Ok(None),
        };
    }
    Ok(Some(here))
}
