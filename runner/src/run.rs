//! A run from its lock to its last record.

mod prepare;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use backup_common::config::{Checked, Config};
use backup_common::record::{Body, RunStarted};
use backup_common::status::Status;

use self::prepare::{Prepared, prepare};
use crate::backup::{self, Session};
use crate::cli::Cli;
use crate::identity::Identity;
use crate::plan::{self, Plan};
use crate::report::Reporter;
use crate::{dry_run, exit_code, print, snapshots, stats_log, volume};

/// Backs up: plan, lock, check the volume, run, report.
pub fn back_up(cli: &Cli, checked: &Checked) -> ExitCode {
    let config = &checked.config;
    let last_seen = stats_log::last_seen(&config.stats_file, &config.hosts);
    let plan = match plan::plan(config, &cli.host, &cli.force_delete, &last_seen) {
        Ok(plan) => plan,
        Err(error) => {
            print::error_line(&error.to_string());
            return exit_code::CONFIG.into();
        }
    };
    if cli.dry_run {
        for warning in &checked.warnings {
            print::error_line(&format!("warning: {warning}"));
        }
        return dry_run::dry_run(&plan, config, cli.json);
    }
    let identity = Identity::of_this_process();
    let run_id = identity.run_id.clone();
    let mut reporter = Reporter::open(identity, &config.stats_file, cli.json);
    for warning in &checked.warnings {
        reporter.warn(&format!("warning: {warning}"));
    }
    match prepare(config, &plan, run_id, &mut reporter) {
        Ok(prepared) => {
            if cli.verbose {
                reporter.be_verbose(&plan, config, prepared.programs.escapes_names());
            }
            run(&plan, config, &prepared, &mut reporter)
        }
        Err(refused) => {
            let code = exit_code::of_refusal(refused.reason);
            reporter.tell(Body::RunRefused(refused));
            code
        }
    }
}

fn run(plan: &Plan<'_>, config: &Config, prepared: &Prepared, reporter: &mut Reporter) -> ExitCode {
    let Prepared { lock, base, programs, stop, hooks, floor } = prepared;
    if let Some(warning) = volume::mount_warning(base) {
        reporter.warn(&warning);
    }
    let mut snapshots = snapshots::Run::begin(config, base);
    let begun = Instant::now();
    reporter.tell(Body::RunStarted(RunStarted {
        trigger: reporter.trigger(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hosts: plan.hosts.len().try_into().unwrap_or(u64::MAX),
        paths: plan.path_count().try_into().unwrap_or(u64::MAX),
        rsync_version: programs.rsync.map(|version| version.to_string()),
    }));
    if let Some(snapshots) = &mut snapshots {
        reporter.keep_ends();
        snapshots.before(reporter);
    }
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let parallel = config.parallel.unwrap_or(cores);
    let (happened, happenings) = mpsc::channel();
    let (shows_progress, verbose) = (reporter.shows_progress(), reporter.is_verbose());
    let outcome = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let happened = happened;
            let happened = &happened;
            let session =
                Session { base, lock, programs, stop, hooks, floor, happened, shows_progress, verbose };
            backup::all(plan, session, parallel, config.retry_wait)
        });
        reporter.tell_all(&happenings);
        work.join()
    });
    let Ok(mut finished) = outcome else {
        reporter.warn("the run broke off; this is a fault of the program");
        return exit_code::FAILED.into();
    };
    // The files are saved, and their history is not: that is a warning.
    if let Some(reason) = snapshots.and_then(|snapshots| snapshots.after(stop, reporter))
        && finished.status < Status::Warning
    {
        (finished.status, finished.reason) = (Status::Warning, reason);
    }
    finished.duration_seconds = backup::seconds(begun.elapsed());
    let code = exit_code::of_run(finished.status, stop.signal());
    reporter.tell(Body::RunFinished(finished));
    reporter.close();
    code
}
