//! A run from its lock to its last record.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use backup_common::config::{Checked, Config};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::{Body, RunRefused, RunStarted};

use crate::backup::{self, Session};
use crate::cli::Cli;
use crate::destination::Base;
use crate::identity::Identity;
use crate::lock::{Lock, LockError};
use crate::plan::{self, Plan};
use crate::report::Reporter;
use crate::stop::Stop;
use crate::{dry_run, exit_code, print, stats_log, volume};

/// Reads the text of the configuration.
pub fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))
}

/// Reads and checks the configuration; the error is the whole text for the user.
pub fn read_config(path: &Path) -> Result<Checked, String> {
    let name = path.display();
    Config::parse(&read_text(path)?).map_err(|problems| {
        let lines: Vec<String> = problems.errors.iter().map(|problem| format!("{name}: {problem}")).collect();
        format!("{}\n{} in {name}; nothing was touched", lines.join("\n"), errors(problems.errors.len()))
    })
}

fn errors(count: usize) -> String {
    backup_common::units::counted(count.try_into().unwrap_or(u64::MAX), "error")
}

/// Backs up: plan, lock, check the volume, run, report.
pub fn back_up(cli: &Cli, checked: &Checked) -> ExitCode {
    let config = &checked.config;
    let counts = stats_log::file_counts(&config.stats_file);
    let plan = match plan::plan(config, &cli.host, &cli.force_delete, &counts) {
        Ok(plan) => plan,
        Err(error) => {
            print::error_line(&error.to_string());
            return exit_code::CONFIG.into();
        }
    };
    drop(counts);
    if cli.dry_run {
        for warning in &checked.warnings {
            print::error_line(&format!("warning: {warning}"));
        }
        return dry_run::dry_run(&plan, config, cli.json);
    }
    let mut reporter = Reporter::open(Identity::of_this_process(), &config.stats_file, cli.json);
    if cli.verbose {
        reporter.be_verbose(&plan, config);
    }
    for warning in &checked.warnings {
        reporter.warn(&format!("warning: {warning}"));
    }
    warn_of_what_is_not_built(config, &mut reporter);
    match prepare(config) {
        Ok((lock, base)) => run(&plan, config, &lock, &base, &mut reporter),
        Err(refused) => {
            let code = exit_code::of_refusal(refused.reason);
            reporter.tell(Body::RunRefused(refused));
            code
        }
    }
}

/// The lock and the backup directory, or why there will be no run.
fn prepare(config: &Config) -> Result<(Lock, Base), RunRefused> {
    let lock = Lock::take(&config.lock_file).map_err(|error| RunRefused {
        reason: if matches!(error, LockError::Held(_)) { Reason::Locked } else { Reason::ConfigInvalid },
        message: ErrorChain(&error).to_string(),
    })?;
    let base = Base::open(&config.backup_base).map_err(|error| RunRefused {
        reason: Reason::BaseMissing,
        message: ErrorChain(&error).to_string(),
    })?;
    volume::check(&base, config.require_mount, config.min_free)
        .map_err(|error| RunRefused { reason: error.reason(), message: ErrorChain(&error).to_string() })?;
    Ok((lock, base))
}

fn run(plan: &Plan<'_>, config: &Config, lock: &Lock, base: &Base, reporter: &mut Reporter) -> ExitCode {
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => {
            reporter.warn(&format!("cannot listen for signals: {error}"));
            return exit_code::REFUSED.into();
        }
    };
    reporter.tell(Body::RunStarted(RunStarted {
        trigger: reporter.trigger(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hosts: plan.hosts.len().try_into().unwrap_or(u64::MAX),
        paths: plan.path_count().try_into().unwrap_or(u64::MAX),
    }));
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let parallel = config.parallel.unwrap_or(cores);
    let (happened, happenings) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let happened = happened;
            backup::all(plan, Session { base, lock, stop: &stop, happened: &happened }, parallel)
        });
        reporter.tell_all(&happenings);
        work.join()
    });
    let Ok(Ok(finished)) = outcome else {
        reporter.warn("cannot start the threads of this run; too many processes or too little memory");
        return exit_code::FAILED.into();
    };
    let code = exit_code::of_run(finished.status, stop.signal());
    reporter.tell(Body::RunFinished(finished));
    reporter.close();
    code
}

/// Keys that are understood and whose work this version does not do; a backup without it is still right.
fn warn_of_what_is_not_built(config: &Config, reporter: &mut Reporter) {
    if config.snapshots.is_some() {
        reporter.warn("warning: snapshots are configured, and this version does not take them yet");
    }
    if config.hosts.iter().any(|host| host.retries > 0) {
        reporter.warn("warning: retries is set, and this version tries each path once");
    }
}
