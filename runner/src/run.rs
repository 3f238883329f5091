//! A run from its lock to its last record.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use backup_common::config::{Checked, Config, Host};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::record::{Body, RunRefused, RunStarted};
use backup_common::status::Status;

use crate::backup::{self, Session};
use crate::cli::Cli;
use crate::console::Console;
use crate::destination::Base;
use crate::free_space::Floor;
use crate::hooks::{self, Hooks, Library, Pending};
use crate::identity::Identity;
use crate::lock::{Lock, LockError};
use crate::plan::{self, Plan};
use crate::programs::{self, Program, Programs};
use crate::report::Reporter;
use crate::rsync::version::Version;
use crate::stop::Stop;
use crate::{dry_run, exit_code, print, snapshots, stats_log, trust, volume};

/// Reads the text of the configuration.
pub fn read_text(path: &Path) -> Result<String, String> {
    // What stands in it runs as root.
    let bytes = trust::read(path).map_err(|error| format!("configuration: {}", ErrorChain(&error)))?;
    String::from_utf8(bytes).map_err(|error| {
        format!(
            "cannot read {}: it is not UTF-8 at byte {}",
            path.display(),
            error.utf8_error().valid_up_to()
        )
    })
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
    let last_seen = stats_log::last_seen(&config.stats_file);
    let plan = match plan::plan(config, &cli.host, &cli.force_delete, &last_seen) {
        Ok(plan) => plan,
        Err(error) => {
            print::error_line(&error.to_string());
            return exit_code::CONFIG.into();
        }
    };
    drop(last_seen);
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

/// What a run holds from its beginning to its end.
struct Prepared {
    lock: Lock,
    base: Base,
    programs: Programs,
    stop: Stop,
    hooks: Hooks,
}

/// All that a run needs, or why there will be none.
///
/// The scripts are read before anything is touched; those that a killed run still owes come before all else.
fn prepare(
    config: &Config,
    plan: &Plan<'_>,
    run_id: String,
    reporter: &mut Reporter,
) -> Result<Prepared, RunRefused> {
    let hosts = || plan.hosts.iter().map(|planned| planned.host);
    let (library, problems) = outside_files(config, hosts);
    let Some(library) = library.filter(|_| problems.is_empty()) else {
        let message = problems.join("; ");
        return Err(RunRefused { reason: Reason::ConfigInvalid, message });
    };
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
    Ok(Prepared { lock, base, programs, stop, hooks })
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

/// Reads the scripts and checks the exclude files of these hosts; the problems are lines for people.
pub fn outside_files<'a, I: Iterator<Item = &'a Host>>(
    config: &Config,
    hosts: impl Fn() -> I,
) -> (Option<Library>, Vec<String>) {
    let (library, mut problems) = match Library::load(&config.scripts_dir, hosts()) {
        Ok(library) => (Some(library), Vec::new()),
        Err(problems) => (None, problems),
    };
    let mut seen = BTreeSet::new();
    for job in hosts().filter(|host| host.enabled).flat_map(|host| &host.paths) {
        if let Some(file) = job.exclude_file.as_ref().filter(|file| seen.insert(*file))
            && let Err(error) = trust::check(file)
        {
            problems.push(format!("{}.exclude_file: {}", job.key, ErrorChain(&error)));
        }
    }
    (library, problems)
}

fn run(plan: &Plan<'_>, config: &Config, prepared: &Prepared, reporter: &mut Reporter) -> ExitCode {
    let Prepared { lock, base, programs, stop, hooks } = prepared;
    let floor = match Floor::watch(base, config.min_free, stop.as_fd()) {
        Ok(floor) => floor,
        Err(error) => {
            reporter.warn(&format!("cannot watch the free space: {error}"));
            return exit_code::REFUSED.into();
        }
    };
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
        snapshots.before(reporter);
    }
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let parallel = config.parallel.unwrap_or(cores);
    let (happened, happenings) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let happened = happened;
            let session = Session { base, lock, programs, stop, floor: &floor, hooks, happened: &happened };
            backup::all(plan, session, parallel, config.retry_wait)
        });
        reporter.tell_all(&happenings);
        work.join()
    });
    let Ok(Ok(mut finished)) = outcome else {
        reporter.warn("cannot start the threads of this run; too many processes or too little memory");
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
