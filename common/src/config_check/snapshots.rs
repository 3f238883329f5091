//! The snapshots block: the volume, where its snapshots are kept, and the schedules.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{absolute, value_or};
use crate::config::{Host, Schedule, Snapshots};
use crate::config_file::{ScheduleBlock, SnapshotsBlock};
use crate::names;
use crate::problems::Problems;

/// Checks the block; `None` when there is no volume.
pub(super) fn check(block: &SnapshotsBlock, problems: &mut Problems) -> Option<Snapshots> {
    let Some(volume) = &block.volume else {
        problems.error(
            block.line,
            "snapshots.volume",
            "is missing: say which btrfs subvolume to take snapshots of",
        );
        return None;
    };
    let directory = block.directory.as_ref().map_or(".snapshots", |directory| directory.value.as_str());
    let parts = names::relative_parts(directory).unwrap_or_default();
    if parts.is_empty() {
        let line = block.directory.as_ref().map_or(block.line, |directory| directory.line);
        problems.error(
            line,
            "snapshots.directory",
            "expected a directory below the volume, such as .snapshots",
        );
    }
    let before = match block.when.as_ref().map(|when| (when.value.as_str(), when.line)) {
        None | Some(("after", _)) => false,
        Some(("before", _)) => true,
        Some((_, line)) => {
            problems.error(line, "snapshots.when", "expected before or after");
            false
        }
    };
    let mut lines: HashMap<&str, usize> = HashMap::new();
    let mut schedules = Vec::new();
    for schedule in &block.schedules {
        let Some(found) = check_schedule(schedule, problems) else {
            continue;
        };
        let tag = schedule.tag.as_ref().map_or("", |tag| tag.value.as_str());
        if let Some(first) = lines.insert(tag, schedule.line) {
            problems.error(
                schedule.line,
                schedule.key.clone(),
                format!("type {tag} stands already on line {first}"),
            );
        }
        schedules.push(found);
    }
    let volume = absolute(Some(volume), "snapshots.volume", "", problems);
    Some(Snapshots { directory: volume.join(parts.iter().collect::<PathBuf>()), volume, before, schedules })
}

/// Reports a snapshot directory that is in a path's destination, or the other way round: `--delete` would meet the
/// snapshots, and a host could reach where they are kept.
pub(super) fn check_apart(
    block: &SnapshotsBlock,
    snapshots: &Snapshots,
    base: &Path,
    hosts: &[Host],
    problems: &mut Problems,
) {
    let jobs = hosts.iter().flat_map(|host| host.paths.iter().map(move |job| (host, job)));
    for (host, job) in jobs {
        let destination = base.join(&job.destination);
        if snapshots.directory.starts_with(&destination) || destination.starts_with(&snapshots.directory) {
            problems.error(
                block.directory.as_ref().map_or(block.line, |directory| directory.line),
                "snapshots.directory",
                format!(
                    "{} and the destination {} of {} {} are inside of each other; choose another directory",
                    snapshots.directory.display(),
                    destination.display(),
                    host.name,
                    job.path
                ),
            );
        }
    }
}

fn check_schedule(block: &ScheduleBlock, problems: &mut Problems) -> Option<Schedule> {
    let (Some(tag), Some(interval)) = (&block.tag, &block.interval) else {
        problems.error(block.line, block.key.clone(), "a schedule needs type, count and interval");
        return None;
    };
    // The name is TAG_DATE_TIME, so a tag with an underscore is fine: the time is read from the end.
    let plain = tag.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !plain || tag.value.is_empty() || tag.value.starts_with('-') || tag.value.len() > 100 {
        problems.error(tag.line, format!("{}.type", block.key), "expected a tag of letters, digits, _ and -");
        return None;
    }
    Some(Schedule {
        tag: tag.value.clone(),
        count: value_or(block.count.as_ref(), 0),
        interval: interval.value,
    })
}
