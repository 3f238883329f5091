//! What a run needs before its first record: locked, looked at, and refused where something is missing.

use std::os::fd::AsFd;

use backup_common::config::Config;
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::RunRefused;

use crate::console::Console;
use crate::destination::Base;
use crate::free_space::Floor;
use crate::hooks::{self, Hooks, Pending};
use crate::lock::{Lock, LockError};
use crate::plan::Plan;
use crate::programs::{self, Program, Programs};
use crate::report::Reporter;
use crate::rsync::version::Version;
use crate::stop::Stop;
use crate::{configuration, volume};

/// What a run holds from its beginning to its end.
pub struct Prepared {
    /// Keeps a second run away.
    pub lock: Lock,
    /// The backup directory.
    pub base: Base,
    /// Which programs are there.
    pub programs: Programs,
    /// Tells of signals.
    pub stop: Stop,
    /// The scripts.
    pub hooks: Hooks,
    /// Watches the free space.
    pub floor: Floor,
}

/// All that a run needs, or why there will be none.
///
/// The scripts are read before anything is touched; those that a killed run still owes come before all else.
pub fn prepare(
    config: &Config,
    plan: &Plan<'_>,
    run_id: String,
    reporter: &mut Reporter,
) -> Result<Prepared, RunRefused> {
    let hosts = || plan.hosts.iter().map(|planned| planned.host);
    let library = configuration::named_files(config, hosts)
        .map_err(|problems| RunRefused { reason: Reason::ConfigInvalid, message: problems.join("; ") })?;
    let pending = Pending::at(config.stats_file.with_extension("pending"));
    let hooks = Hooks { library, pending, run_id };
    let lock = Lock::take(&config.lock_file).map_err(|error| RunRefused {
        reason: if matches!(error, LockError::Held(_)) { Reason::Locked } else { Reason::ConfigInvalid },
        message: ErrorChain(&error).to_string(),
    })?;
    let stop = Stop::listen().map_err(|error| RunRefused {
        reason: Reason::Other,
        message: format!("cannot listen for signals: {error}"),
    })?;
    let programs = find_programs(plan, &stop, reporter)?;
    hooks::run_overdue(config, &hooks, &mut |text| reporter.warn(text));
    let base = Base::open(&config.backup_base).map_err(|error| RunRefused {
        reason: Reason::BaseMissing,
        message: ErrorChain(&error).to_string(),
    })?;
    volume::check(&base, config.require_mount, config.min_free)
        .map_err(|error| RunRefused { reason: error.reason(), message: ErrorChain(&error).to_string() })?;
    let floor = Floor::watch(&base, config.min_free, stop.as_fd()).map_err(|error| RunRefused {
        reason: Reason::Other,
        message: format!("cannot watch the free space: {error}"),
    })?;
    Ok(Prepared { lock, base, programs, stop, hooks, floor })
}

/// Looks for what has to be installed; without rsync there is no run.
fn find_programs(plan: &Plan<'_>, stop: &Stop, reporter: &mut Reporter) -> Result<Programs, RunRefused> {
    let hosts = plan.hosts.iter().map(|planned| planned.host);
    let console = Console::find(stop.as_fd());
    let programs = programs::look_and_offer(hosts, console, &[Program::Rsync, Program::Ssh], stop.as_fd());
    if !programs.has(Program::Rsync) {
        let message = format!("cannot find rsync: {}", Programs::remedy(Program::Rsync));
        return Err(RunRefused { reason: Reason::RsyncMissing, message });
    }
    for warning in programs.complaints().into_iter().chain(programs.rsync.and_then(Version::warning)) {
        reporter.warn(&format!("warning: {warning}"));
    }
    Ok(programs)
}
