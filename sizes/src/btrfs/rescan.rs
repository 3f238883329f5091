//! The scans after the first: what is newer than the last one, and what is gone.
//!
//! A search with a least generation passes over whole leaves, so it costs as much as was changed. It
//! shows each inode that is new or changed, but not one that vanished. Each removal and each rename
//! changes the directory that listed the entry, though: its sequence number and its size. So
//! directories of which those moved are listed, and what they do not list any more is gone, or has
//! moved to where its own reference says.
//!
//! The tree may be written to meanwhile. A directory that was read while the transaction that
//! changed it was open is listed again by the next scan; a race costs one more look, never an error.

use std::collections::{HashMap, HashSet};
use std::io;

use super::changes::changed;
use super::full::add_names;
use super::item::{
    DIR_INDEX, Entry, EntryKind, FIRST_NUMBER, INODE_EXTREF, INODE_ITEM, INODE_REF, Inode, references,
};
use super::search::Search;
use super::tree::Tree;

/// An inode with its names.
type Named = (Inode, Vec<(u64, u32)>);

/// How a rescan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescanned {
    /// Nothing had changed.
    Same,
    /// The tree is up to date.
    Changed,
    /// So much has changed that a full scan is faster; the tree must not be used.
    TooMuch,
}

/// Brings a tree up to date. `generation` is the one that runs: all before it is committed.
pub fn rescan(
    search: &mut Search<'_>,
    tree: &mut Tree,
    generation: u64,
    threads: usize,
) -> io::Result<Rescanned> {
    let Some(changed) = changed(search, tree, threads)? else { return Ok(Rescanned::TooMuch) };
    let again = std::mem::take(&mut tree.recheck);
    tree.known_before = generation;
    if changed.is_empty() && again.is_empty() {
        return Ok(Rescanned::Same);
    }
    let mut listed = Listings::default();
    let mut queue: Vec<u64> = again.into_iter().filter(|number| tree.directories.contains(*number)).collect();
    for changed in changed.iter().filter(|changed| changed.inode.is_directory()) {
        let (inode, names) = changed.named(search, tree.id)?;
        let Some(&(parent, _)) = names.first() else { continue };
        if inode.transid >= generation {
            tree.recheck.insert(inode.number);
        }
        if tree.take_directory(&inode, parent) {
            queue.push(inode.number);
        }
    }
    for changed in changed.iter().filter(|changed| !changed.inode.is_directory()) {
        let (inode, names) = changed.named(search, tree.id)?;
        tree.take_file(&inode, &names);
    }
    drop(changed);
    list(search, tree, generation, queue, &mut listed)?;
    drop_lost_directories(search, tree, &mut listed)?;
    drop_lost_files(search, tree, &listed)?;
    for &place in &listed.gone {
        tree.directories.release(place);
    }
    Ok(Rescanned::Changed)
}

pub fn names_of(search: &mut Search<'_>, tree: u64, number: u64) -> io::Result<Vec<(u64, u32)>> {
    let mut names = Vec::new();
    search.object(tree, number, INODE_REF..=INODE_EXTREF, |item| {
        references(item, |directory, count| add_names(&mut names, directory, count));
    })?;
    Ok(names)
}

/// An inode as it is now with its names; none when it is gone.
fn look_up(search: &mut Search<'_>, tree: u64, number: u64) -> io::Result<Option<Named>> {
    let (mut inode, mut names) = (None, Vec::new());
    search.object(tree, number, INODE_ITEM..=INODE_EXTREF, |item| match item.key.1 {
        INODE_ITEM => inode = Inode::parse(item),
        _ => references(item, |directory, count| add_names(&mut names, directory, count)),
    })?;
    Ok(inode.filter(|inode| inode.links > 0 && !names.is_empty()).map(|inode| (inode, names)))
}

/// What directories list.
#[derive(Default)]
struct Listings {
    directories: HashMap<u64, Listing>,
    /// Places of directories that were removed.
    gone: Vec<u32>,
}

#[derive(Default)]
struct Listing {
    files: HashSet<u64>,
    directories: HashSet<u64>,
}

/// Lists directories, and those unknown that they list.
fn list(
    search: &mut Search<'_>,
    tree: &mut Tree,
    generation: u64,
    mut queue: Vec<u64>,
    listed: &mut Listings,
) -> io::Result<()> {
    while let Some(number) = queue.pop() {
        if listed.directories.contains_key(&number) {
            continue;
        }
        let mut listing = Listing::default();
        search.object(tree.id, number, DIR_INDEX..=DIR_INDEX, |item| match Entry::parse(item) {
            Some(Entry { number, kind: EntryKind::File, .. }) => _ = listing.files.insert(number),
            Some(Entry { number, kind: EntryKind::Directory, .. }) => _ = listing.directories.insert(number),
            _ => {}
        })?;
        for &below in &listing.directories {
            if tree.directories.contains(below) {
                continue;
            }
            if let Some((inode, names)) =
                look_up(search, tree.id, below)?.filter(|found| found.0.is_directory())
            {
                if inode.transid >= generation {
                    tree.recheck.insert(below);
                }
                tree.take_directory(&inode, names[0].0);
                queue.push(below);
            }
        }
        listed.directories.insert(number, listing);
    }
    Ok(())
}

/// Directories that a listed one does not list any more have moved, if they are still there.
fn drop_lost_directories(search: &mut Search<'_>, tree: &mut Tree, listed: &mut Listings) -> io::Result<()> {
    let is_lost = |number: u64, parent: u64| {
        number != FIRST_NUMBER
            && listed.directories.get(&parent).is_some_and(|listing| !listing.directories.contains(&number))
    };
    let directories = || tree.directories.iter().map(|(_, directory)| (directory.number, directory.parent));
    let mut lost: Vec<u64> = directories()
        .filter(|(number, parent)| is_lost(*number, *parent))
        .map(|(number, _)| number)
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut below: HashMap<u64, Vec<u64>> = HashMap::new();
    for (number, parent) in directories() {
        below.entry(parent).or_default().push(number);
    }
    while let Some(number) = lost.pop() {
        let found = look_up(search, tree.id, number)?.filter(|(inode, _)| inode.is_directory());
        // Where it was, it is not any more, whatever a reference that is just being changed says.
        let parent = found.and_then(|(_, names)| {
            let parent = names.first()?.0;
            (tree.directories.contains(parent) && !is_lost(number, parent)).then_some(parent)
        });
        if let (Some(parent), Some(directory)) = (parent, tree.directories.get_mut(number)) {
            directory.parent = parent;
        } else if let Some(place) = tree.directories.remove(number) {
            listed.gone.push(place);
            lost.extend(below.remove(&number).into_iter().flatten());
        }
    }
    Ok(())
}

/// One pass over all files: those of directories that are gone, and those that a listed directory
/// does not list any more. What is listed and unknown is read.
fn drop_lost_files(search: &mut Search<'_>, tree: &mut Tree, listed: &Listings) -> io::Result<()> {
    if listed.directories.is_empty() && listed.gone.is_empty() {
        return Ok(());
    }
    let mut wanted: Vec<Wanted<'_>> = vec![Wanted::All; tree.directories.places()];
    for (number, listing) in &listed.directories {
        if let Some(place) = tree.directories.place(*number) {
            wanted[place as usize] = Wanted::These(&listing.files);
        }
    }
    for &place in &listed.gone {
        wanted[place as usize] = Wanted::None;
    }
    let (directories, block_bytes) = (&mut tree.directories, tree.block_bytes);
    tree.files.retain(|record| {
        let keep = match wanted[record.directory as usize] {
            Wanted::All => true,
            Wanted::These(files) => files.contains(&record.number),
            Wanted::None => false,
        };
        if !keep {
            directories.at_mut(record.directory).files.subtract(record, block_bytes);
        }
        keep
    });
    let in_doubt = |names: &[(u64, u32)], number: &u64| {
        names.iter().any(|(directory, _)| match listed.directories.get(directory) {
            Some(listing) => !listing.files.contains(number),
            None => !tree.directories.contains(*directory),
        })
    };
    let doubtful = tree.aside.iter().filter(|(number, aside)| in_doubt(&aside.names, number));
    let mut unknown: HashSet<u64> = doubtful.map(|(number, _)| *number).collect();
    for listing in listed.directories.values() {
        unknown.extend(listing.files.iter().filter(|number| !tree.knows_file(**number)));
    }
    for number in unknown {
        match look_up(search, tree.id, number)?.filter(|(inode, _)| !inode.is_directory()) {
            Some((inode, names)) => tree.take_file(&inode, &names),
            None => tree.forget_file(number),
        }
    }
    Ok(())
}

/// Which files of a directory stay.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    All,
    These(&'a HashSet<u64>),
    None,
}
