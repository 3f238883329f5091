//! The family `backup_path`.

use backup_common::error_kind::ErrorKind;
use backup_common::record::TransferStats;

use super::Values::{Path, PathBy};
use super::{Labelled, Metric, Number};
use crate::state::{self, Notice, Outcome, Phase};

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_path_state",
        "Where the path stands: 1 for its state, 0 for the others",
        PathBy(states),
    )
    .labels(&["host", "path", "state"]),
    Metric::gauge("backup_path_reason", "Why the path last ended as it did, always 1", PathBy(reason))
        .labels(&["host", "path", "reason"]),
    Metric::gauge(
        "backup_path_last_attempt_timestamp_seconds",
        "When the path was last begun",
        Path(|path| Some(path.last_attempt?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_path_last_success_timestamp_seconds",
        "When the path last ended in success, without warnings",
        Path(|path| Some(path.last_success?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_path_duration_seconds",
        "How long the path took when it last ended",
        Path(|path| Some(path.last.as_ref()?.duration_seconds?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_path_exit_code",
        "Exit code of rsync when it last ran for the path and exited",
        Path(|path| Some(u64::try_from(path.last.as_ref()?.exit_code?).ok()?.into())),
    ),
    Metric::gauge("backup_path_errors", "Errors and warnings of the last attempt by kind", PathBy(errors))
        .labels(&["host", "path", "kind"]),
    Metric::gauge(
        "backup_path_files",
        "Files, directories and links on the source",
        Path(|path| counts(path, |stats| stats.files)),
    ),
    Metric::gauge(
        "backup_path_files_transferred",
        "Regular files whose content was transferred by the last attempt",
        Path(|path| counts(path, |stats| stats.files_transferred)),
    ),
    Metric::gauge(
        "backup_path_files_created",
        "Files that the last attempt created in the backup",
        Path(|path| counts(path, |stats| stats.files_created)),
    ),
    Metric::gauge(
        "backup_path_files_deleted",
        "Files that the last attempt deleted in the backup",
        Path(|path| counts(path, |stats| stats.files_deleted)),
    ),
    Metric::gauge(
        "backup_path_source_size_bytes",
        "Size of all files on the source",
        Path(|path| stats(path, |stats| stats.source_size_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_transferred_size_bytes",
        "Size of the files that the last attempt transferred",
        Path(|path| counts(path, |stats| stats.transferred_size_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_literal_bytes",
        "Data of the last attempt that crossed as such",
        Path(|path| counts(path, |stats| stats.literal_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_matched_bytes",
        "Data of the last attempt that was found in the older version in the backup",
        Path(|path| counts(path, |stats| stats.matched_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_sent_bytes",
        "Bytes that rsync sent in the last attempt",
        Path(|path| stats(path, |stats| stats.sent_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_received_bytes",
        "Bytes that rsync received in the last attempt",
        Path(|path| stats(path, |stats| stats.received_bytes)),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_path_transfer_rate_bytes_per_second",
        "Bytes sent and received per second of rsync's own time in the last attempt",
        Path(|path| stats(path, |stats| stats.transfer_rate_bytes_per_second)),
    )
    .unit("bytes_per_second"),
    Metric::gauge(
        "backup_path_speedup_ratio",
        "Size on the source divided by what crossed the wire in the last attempt",
        Path(|path| stats(path, |stats| stats.speedup_ratio)),
    )
    .unit("ratio"),
    Metric::gauge(
        "backup_path_progress_ratio",
        "Share of the known file list that is done, while the path is under way",
        Path(|path| Some(path.progress_ratio()?.into())),
    )
    .unit("ratio"),
    Metric::counter(
        "backup_path_attempts_total",
        "Tries, retries and those that died among them",
        Path(|path| Some(path.attempts.into())),
    ),
    Metric::counter(
        "backup_path_failures_total",
        "Times that the path failed or died",
        Path(|path| Some(path.failures.into())),
    ),
    Metric::gauge(
        "backup_path_notice",
        "What is unusual about the last ended attempt: 1 for each notice that stands",
        PathBy(notices),
    )
    .labels(&["host", "path", "notice"]),
];

fn notices(path: &state::Path) -> Labelled {
    Notice::ALL.map(|notice| (notice.name(), path.history.has(notice).into())).into()
}

fn states(path: &state::Path) -> Labelled {
    Phase::ALL.map(|phase| (phase.name(), (path.phase() == phase).into())).into()
}

fn reason(path: &state::Path) -> Labelled {
    path.last.iter().map(|outcome| (outcome.reason.name(), true.into())).collect()
}

fn errors(path: &state::Path) -> Labelled {
    let Some(Outcome { errors: Some(errors), .. }) = &path.last else { return Vec::new() };
    let count = |kind: ErrorKind| errors.get(&kind).copied().unwrap_or(0);
    ErrorKind::ALL.map(|kind| (kind.name(), count(kind).into())).into()
}

fn stats<T: Into<Number>>(path: &state::Path, value: impl Fn(&TransferStats) -> T) -> Option<Number> {
    Some(value(path.last.as_ref()?.stats.as_ref()?).into())
}

/// The same for what the older system did not count.
fn counts<T: Into<Number>>(path: &state::Path, value: impl Fn(&TransferStats) -> T) -> Option<Number> {
    if path.last.as_ref()?.without_counts { None } else { stats(path, value) }
}
