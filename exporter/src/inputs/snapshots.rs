//! Edge: counts the snapshots in their directory, each minute and when the runner has done something.
//!
//! Only names and types of directory entries are read: nothing below a snapshot is looked at, nothing is
//! opened but the directory itself. A file system that hangs holds up this thread and no scrape.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use backup_common::snapshot_name::SnapshotName;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::event::{Event, Input, SnapshotCounts};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(60);

/// Types that are counted at most, so that a directory full of names can not fill the memory; more than
/// anybody configures.
const TAGS: usize = 1000;

/// Why the snapshots can not be counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the snapshot directory {0}")]
struct ReadError(PathBuf, #[source] io::Error);

/// Counts the snapshots in the directory that was configured last, until nobody receives the events any
/// more; a message on `wake` makes it look at once.
///
/// It blocks, so it wants a thread of its own.
pub fn run(
    directory: &watch::Receiver<Option<PathBuf>>,
    wake: &Receiver<()>,
    events: &mpsc::Sender<Vec<Event>>,
) {
    let mut last = None;
    let mut trouble = String::new();
    while !events.is_closed() {
        let directory = directory.borrow().clone();
        let counted = directory
            .as_deref()
            .map_or_else(|| Ok(SnapshotCounts::new()), |directory| count(directory, &TimeZone::system()));
        match &counted {
            Ok(_) => trouble.clear(),
            Err(error) if ErrorChain(error).to_string() == trouble => {}
            Err(error) => {
                trouble = ErrorChain(error).to_string();
                warn!(error = trouble, "the snapshots are not counted");
            }
        }
        let found = counted.ok();
        let first = last.is_none();
        if last.as_ref() != Some(&found) {
            if let Some(directory) = directory.filter(|_| first && found.is_some()) {
                info!(directory = %directory.display(), "counting the snapshots");
            }
            let health = if found.is_some() { Event::InputUp } else { Event::InputDown };
            let batch = vec![
                health(Input::Snapshots),
                Event::SnapshotsSeen(found.clone()),
                Event::CaughtUp(Input::Snapshots),
            ];
            // A closed channel ends the loop at its next turn.
            let _ = events.blocking_send(batch);
            last = Some(found);
        }
        if let Err(RecvTimeoutError::Disconnected) = wake.recv_timeout(PERIOD) {
            break;
        }
    }
}

/// Counts the directories that have the name of a snapshot.
fn count(directory: &Path, local: &TimeZone) -> Result<SnapshotCounts, ReadError> {
    let error = |error| ReadError(directory.to_owned(), error);
    let mut counts = SnapshotCounts::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // The runner makes it with the first snapshot.
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(counts),
        Err(other) => return Err(error(other)),
    };
    for entry in entries {
        let entry = entry.map_err(error)?;
        // The type comes with the name and costs no look at the entry; a link is none to a directory.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add(&mut counts, &entry.file_name().to_string_lossy(), local);
        }
    }
    Ok(counts)
}

/// Pure: counts a name, unless it is none of a snapshot.
pub fn add(counts: &mut SnapshotCounts, name: &str, local: &TimeZone) {
    let Some(SnapshotName { tag, time, complete, .. }) = SnapshotName::parse(name) else { return };
    let Ok(time) = local.to_ambiguous_timestamp(time).compatible() else { return };
    if counts.len() < TAGS || counts.contains_key(&tag) {
        counts.entry(tag).or_default().add(time, complete);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::event::SnapshotCount;

    #[test]
    fn directories_with_the_name_of_a_snapshot() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(".snapshots");
        assert_eq!(count(&directory, &TimeZone::UTC).unwrap(), SnapshotCounts::new(), "none was taken yet");
        fs::create_dir(&directory).unwrap();
        for name in [
            "daily_2026-01-03_030000",
            "daily_2026-01-02_030000",
            "daily_2026-01-04_030000_2_incomplete",
            "old_type_2025-01-01_000000",
            "lost+found",
        ] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        fs::write(directory.join("daily_2026-01-09_030000"), "a file").unwrap();
        symlink("daily_2026-01-02_030000", directory.join("daily_2026-01-08_030000")).unwrap();
        let counts = count(&directory, &TimeZone::UTC).unwrap();
        let daily = SnapshotCount {
            complete: 2,
            incomplete: 1,
            oldest: Some("2026-01-02T03:00:00Z".parse().unwrap()),
            newest: Some("2026-01-03T03:00:00Z".parse().unwrap()),
        };
        assert_eq!(counts["daily"], daily);
        assert_eq!(counts["old_type"].complete, 1);
        assert_eq!(counts.len(), 2);
        // Names tell local time.
        let berlin = count(&directory, &TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        assert_eq!(berlin["daily"].newest, Some("2026-01-03T02:00:00Z".parse().unwrap()));
        let file = count(&directory.join("daily_2026-01-09_030000"), &TimeZone::UTC).unwrap_err();
        assert!(file.to_string().starts_with("cannot read the snapshot directory"), "{file}");
    }
}
