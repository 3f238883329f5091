//! What the directories in the backup take, and how that was measured.

use super::Values::{Path, PathBy, State};
use super::{Labelled, Metric, Number};
use crate::event::sizes::{Scan, Trouble, VolumeBytes};
use crate::size_history::{Method, Point};
use crate::state;
use backup_common::status::Status;

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_path_stored_bytes",
        "What the backup of the path takes on disk, as du says",
        Path(|path| newest(path, |point| point.bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_apparent_bytes",
        "Sum of the sizes in the backup of the path, as du --apparent-size says",
        Path(|path| newest(path, |point| point.apparent_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_stored_files",
        "Files, directories and links in the backup of the path",
        Path(|path| newest(path, |point| point.files)),
    ),
    Metric::gauge(
        "backup_path_stored_timestamp_seconds",
        "When the sizes of the path were measured",
        Path(|path| Some(path.stored.measured()?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_path_stored_duration_seconds",
        "How long it took to measure the sizes of the path",
        Path(|path| Some(path.stored.newest()?.duration_seconds.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_path_stored_method",
        "How the sizes of the path were measured, always 1: from the trees of btrfs, or by a walk",
        PathBy(method),
    )
    .labels(&["host", "path", "method"]),
    Metric::gauge(
        "backup_path_stored_timed_out",
        "Whether the path took too long to measure when that was last tried; its last sizes stay",
        Path(|path| {
            (path.stored.newest().is_some() || path.stored.trouble.is_some()).then(|| timed_out(path).into())
        }),
    ),
    Metric::gauge(
        "backup_path_exclusive_bytes",
        "What would be free again without the backup of the path, as its quota group or btrfs filesystem du says",
        Path(|path| path.stored.exclusive_bytes().map(Number::from)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_referenced_bytes",
        "What the backup of the path refers to, each extent once, as its quota group says",
        Path(|path| Some(path.stored.quota?.referenced_bytes.into())),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_set_shared_bytes",
        "What files in the backup of the path share, each extent once, as btrfs filesystem du says",
        Path(|path| Some(path.stored.exclusive?.set_shared_bytes?.into())),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_size_scan_timestamp_seconds",
        "When all paths had last been measured, or tried",
        State(|state| scan(state, |scan| scan.time.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_size_scan_duration_seconds",
        "How long it last took to measure all paths",
        State(|state| scan(state, |scan| scan.duration_seconds.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_size_scan_success",
        "Whether every path could be measured when that was last tried",
        State(|state| scan(state, |scan| (scan.status == Status::Success).into())),
    ),
    Metric::counter(
        "backup_size_scan_differences_total",
        "Directories of which incremental scans had known something else than the full scan after them",
        State(|state| Some(state.sizes().differences.into())),
    ),
    Metric::gauge(
        "backup_volume_size_bytes",
        "Size of the file system of the backup directory",
        State(|state| volume(state, |volume| volume.size)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_volume_used_bytes",
        "What is taken of the file system of the backup directory",
        State(|state| volume(state, |volume| volume.used)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_volume_free_bytes",
        "What can still be taken of the file system of the backup directory",
        State(|state| volume(state, |volume| volume.free)),
    )
    .unit("bytes"),
];

fn newest(path: &state::Path, value: fn(&Point) -> u64) -> Option<Number> {
    path.stored.newest().map(|point| value(point).into())
}

fn method(path: &state::Path) -> Labelled {
    let method = path.stored.newest().map(|point| point.method);
    Method::ALL
        .into_iter()
        .filter(|other| method == Some(*other))
        .map(|method| (method.name(), true.into()))
        .collect()
}

fn timed_out(path: &state::Path) -> bool {
    path.stored.trouble == Some(Trouble::TimedOut)
}

fn scan(state: &state::State, value: fn(&Scan) -> Number) -> Option<Number> {
    state.sizes().scan.as_ref().map(value)
}

fn volume(state: &state::State, value: fn(&VolumeBytes) -> u64) -> Option<Number> {
    state.sizes().volume.as_ref().map(|volume| value(volume).into())
}
