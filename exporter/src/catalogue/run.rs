//! The family `backup_run`.

use backup_common::error_kind::ErrorKind;

use super::Values::{Run, RunBy};
use super::{Labelled, Metric};
use crate::state::{self, Notice, Phase};

pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "backup_run_state",
        "Where the last run stands: 1 for its state, 0 for the others",
        RunBy(states),
    )
    .labels(&["state"]),
    Metric::gauge(
        "backup_run_reason",
        "Why the last run that ended did so as it did, always 1",
        RunBy(reason),
    )
    .labels(&["reason"]),
    Metric::gauge(
        "backup_run_last_start_timestamp_seconds",
        "When the last run started",
        Run(|run| Some(run.last_start?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_run_last_end_timestamp_seconds",
        "When a run last came to its end, good or bad",
        Run(|run| Some(run.last_end?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_run_last_success_timestamp_seconds",
        "When a run last ended in success, without failures and warnings",
        Run(|run| Some(run.last_success?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_run_duration_seconds",
        "How long the last ended run took",
        Run(|run| Some(run.duration_seconds?.into())),
    )
    .unit("seconds"),
    Metric::counter("backup_runs_total", "Runs that started", Run(|run| Some(run.started.into()))),
    Metric::counter(
        "backup_runs_failed_total",
        "Runs that failed, or died without an end",
        Run(|run| Some(run.failed.into())),
    ),
    Metric::counter(
        "backup_runs_refused_total",
        "Runs that ended before they began: locked, config invalid, base missing, no space",
        Run(|run| Some(run.refused.into())),
    ),
    Metric::gauge(
        "backup_run_notice",
        "What is unusual about the last ended run: 1 for each notice that stands",
        RunBy(notices),
    )
    .labels(&["notice"]),
    Metric::gauge(
        "backup_run_refused_reason",
        "Why the last run that ended before it began did so, always 1",
        RunBy(refused_reason),
    )
    .labels(&["reason"]),
    Metric::gauge(
        "backup_run_last_refused_timestamp_seconds",
        "When a run last ended before it began",
        Run(|run| Some(run.last_refused?.into())),
    )
    .unit("seconds"),
    Metric::gauge(
        "backup_run_errors",
        "Errors and warnings by kind in the journal, of a run without records of its own",
        RunBy(errors),
    )
    .labels(&["kind"]),
    Metric::gauge(
        "backup_run_files",
        "Files, directories and links on the sources, of a run without records of its own",
        Run(|run| Some(run.stats?.files.into())),
    ),
    Metric::gauge(
        "backup_run_files_transferred",
        "Regular files whose content was transferred, of a run without records of its own",
        Run(|run| Some(run.stats?.files_transferred.into())),
    ),
    Metric::gauge(
        "backup_run_source_size_bytes",
        "Size of all files on the sources, of a run without records of its own",
        Run(|run| Some(run.stats?.source_size_bytes.into())),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_run_sent_bytes",
        "Bytes that rsync sent, of a run without records of its own",
        Run(|run| Some(run.stats?.sent_bytes.into())),
    )
    .unit("bytes"),
    Metric::gauge(
        "backup_run_received_bytes",
        "Bytes that rsync received, of a run without records of its own",
        Run(|run| Some(run.stats?.received_bytes.into())),
    )
    .unit("bytes"),
];

/// The other notices are about the figures of a transfer, which a run has none of.
fn notices(run: &state::Run) -> Labelled {
    let long = Notice::LongRun;
    vec![(long.name(), run.history.has(long).into())]
}

fn reason(run: &state::Run) -> Labelled {
    run.reason.iter().map(|reason| (reason.name(), true.into())).collect()
}

fn refused_reason(run: &state::Run) -> Labelled {
    run.refused_reason.iter().map(|reason| (reason.name(), true.into())).collect()
}

fn errors(run: &state::Run) -> Labelled {
    let Some(errors) = &run.errors else { return Vec::new() };
    ErrorKind::ALL.map(|kind| (kind.name(), errors.get(&kind).copied().unwrap_or(0).into())).into()
}

fn states(run: &state::Run) -> Labelled {
    Phase::OF_RUN.map(|phase| (phase.name(), (run.phase == phase).into())).into()
}
