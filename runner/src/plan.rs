//! What this run will do, told from the configuration and the command line alone.

mod last_seen;

use backup_common::config::{Config, Host, MaxDelete, PathJob, Scripts};
use backup_common::rsync_options;

use crate::rsync::command::{Request, Step};

pub use self::last_seen::{AllLastSeen, Finder, LastSeen};

/// Files that may always be deleted, so that a small directory can change.
const ALWAYS_DELETABLE: u64 = 50;
/// Share of the last file count that may be deleted, in per cent.
const DELETABLE_PERCENT: u8 = 20;

/// What a run will do.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Hosts in the order of the configuration, also those that are switched off.
    pub hosts: Vec<HostPlan<'a>>,
}

/// What is done for a host. Its paths are planned when it is its turn.
#[derive(Debug)]
pub struct HostPlan<'a> {
    /// The host.
    pub host: &'a Host,
    /// What was last seen of its paths, in their order.
    seen: &'a [LastSeen],
    /// Paths of any host whose deletions are accepted, as `HOST:PATH`.
    force_delete: &'a [String],
}

/// What is done for a path.
#[derive(Debug)]
pub struct PathPlan<'a> {
    /// The path.
    pub job: &'a PathJob,
    /// Most files that may be deleted; `None` is no limit.
    pub max_delete: Option<u64>,
    /// The source held files when it was last backed up, so that an empty one is no success.
    pub held_files: bool,
    /// Whether deletions wait until rsync has counted them; see [`crate::rsync::deletion`].
    pub step: Step,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `--host` names a host that is not there.
    #[error("cannot back up {0}: no such host in the configuration; it has {1}")]
    UnknownHost(String, String),
    /// `--force-delete` names a path that is not there.
    #[error("cannot use --force-delete {0}: no such HOST:PATH in the configuration")]
    UnknownPath(String),
}

/// Makes the plan of a run from the configuration, the command line and what was last seen of each path.
pub fn plan<'a>(
    config: &'a Config,
    only: &[String],
    force_delete: &'a [String],
    last_seen: &'a AllLastSeen,
) -> Result<Plan<'a>, PlanError> {
    for name in only {
        if !config.hosts.iter().any(|host| host.name.as_str() == name) {
            let known: Vec<_> = config.hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(PlanError::UnknownHost(name.clone(), known.join(", ")));
        }
    }
    for accepted in force_delete {
        let known =
            |host: &Host| host.paths.iter().any(|job| *accepted == format!("{}:{}", host.name, job.path));
        if !config.hosts.iter().any(known) {
            return Err(PlanError::UnknownPath(accepted.clone()));
        }
    }
    let chosen = |host: &Host| only.is_empty() || only.iter().any(|name| name == host.name.as_str());
    let hosts = last_seen.by_host(&config.hosts).filter(|(host, _)| chosen(host));
    Ok(Plan { hosts: hosts.map(|(host, seen)| HostPlan { host, seen, force_delete }).collect() })
}

/// The budget for deletions in one run.
///
/// Once the default has stopped a run, nothing more is deleted until somebody accepts it, sets a budget or the
/// files are back: else a shrunk source would take the whole backup along, one budget a night.
fn delete_budget(limit: MaxDelete, seen: LastSeen) -> Option<u64> {
    let share = |percent: u8| seen.files.saturating_mul(u64::from(percent)) / 100;
    match limit {
        MaxDelete::Off => None,
        MaxDelete::Files(files) => Some(files),
        MaxDelete::Percent(percent) => Some(share(percent)),
        MaxDelete::Default if seen.stopped => Some(0),
        MaxDelete::Default => Some(share(DELETABLE_PERCENT).max(ALWAYS_DELETABLE)),
    }
}

/// Whether a path is backed up in one call of rsync, or the deletions have a second one.
///
/// Where nothing was deleted last time there will be none, most days, and the first call is all there is. Where files
/// come and go each time, and where space is short or wanted before, the source is looked at beforehand instead: one
/// connection more costs less than another walk over all files.
fn step(job: &PathJob, max_delete: Option<u64>, seen: LastSeen) -> Step {
    let wants_before = job.settings.rsync_options.iter().any(|option| option == "--delete-before");
    let often = seen.deletes && !seen.shrunk;
    // Without a limit there is nothing to find out, and with one of 0 nothing can be deleted.
    if max_delete.is_none_or(|limit| limit == 0) || wants_before || often {
        Step::Whole
    } else {
        Step::Transfer
    }
}

impl PathPlan<'_> {
    /// What is asked of rsync first.
    pub fn request(&self, escapes_names: bool) -> Request {
        Request { max_delete: self.max_delete, step: self.step, escapes_names }
    }

    /// Whether the source has to be looked at beforehand, lest an empty one takes the backup along.
    pub fn needs_look(&self) -> bool {
        let can_delete = self.max_delete.is_some_and(|limit| limit > 0);
        self.held_files && can_delete && self.step == Step::Whole
    }
}

impl<'a> HostPlan<'a> {
    /// Its paths, one after the other.
    pub fn paths(&self) -> impl Iterator<Item = PathPlan<'a>> + use<'a> {
        let Self { host, seen, force_delete } = *self;
        host.paths.iter().zip(seen).map(move |(job, seen)| {
            let accepted =
                force_delete.iter().any(|accepted| *accepted == format!("{}:{}", host.name, job.path));
            path_plan(job, *seen, accepted)
        })
    }

    /// Whether it is asked beforehand if the host can be reached.
    ///
    /// One that was there last time is there again, most days, and ssh itself says why it is not. But no script is
    /// run for a host that is away.
    pub fn needs_check(&self) -> bool {
        let has_scripts = |scripts: &Scripts| *scripts != Scripts::default();
        let paths_have = self.host.paths.iter().any(|job| has_scripts(&job.settings.scripts));
        let was_reached = self.seen.iter().all(|seen| seen.reached);
        !was_reached || has_scripts(&self.host.scripts) || paths_have
    }
}

fn path_plan(job: &PathJob, seen: LastSeen, accepted: bool) -> PathPlan<'_> {
    let settings = &job.settings;
    let guarded = !accepted && settings.max_delete != MaxDelete::Off;
    let limited = guarded && rsync_options::deletes(&settings.rsync_options);
    let max_delete = if limited { delete_budget(settings.max_delete, seen) } else { None };
    PathPlan {
        job,
        max_delete,
        // The source's own directory is counted too.
        held_files: guarded && seen.files > 1,
        step: step(job, max_delete, seen),
    }
}

impl Plan<'_> {
    /// Paths of all hosts.
    pub fn path_count(&self) -> usize {
        self.hosts.iter().map(|planned| planned.host.paths.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text).expect("the config is right").config
    }

    /// What was seen of some paths, and nothing of the others.
    fn all_seen(config: &Config, paths: &[(&str, &str, LastSeen)]) -> AllLastSeen {
        let mut all = AllLastSeen::nothing(&config.hosts);
        let finder = Finder::new(&config.hosts);
        for (host, path, seen) in paths {
            *all.at(finder.find(host, path).expect("is configured").0) = *seen;
        }
        all
    }

    const TWO: &str = "hosts: {a: {paths: [{path: /x}, {path: /y, rsync_options: -a}]}, b: {paths: [{path: /x, max_delete: 10%}]}}";

    #[test]
    fn hosts_are_chosen_by_name() {
        let config = config(TWO);
        let names = |only: &[String]| {
            let seen = all_seen(&config, &[]);
            let plan = plan(&config, only, &[], &seen)?;
            Ok(plan.hosts.iter().map(|planned| planned.host.name.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(&["b".to_owned()]), Ok(vec!["b".to_owned()]));
        assert_eq!(names(&["c".to_owned()]), Err(PlanError::UnknownHost("c".to_owned(), "a, b".to_owned())));
    }

    #[test]
    fn the_budget_follows_the_last_file_count() {
        let config = config(TWO);
        let seen = |files, stopped| {
            let seen = LastSeen { files, stopped, ..LastSeen::default() };
            all_seen(&config, &[("a", "/x", seen), ("b", "/x", seen)])
        };
        let counts = seen(1000, false);
        let budgets = |force: &[String], counts: &AllLastSeen| -> Vec<Option<u64>> {
            let plan = plan(&config, &[], force, counts).expect("plans");
            plan.hosts.iter().flat_map(|host| host.paths().map(|path| path.max_delete)).collect()
        };
        assert_eq!(budgets(&[], &counts), [Some(200), Some(50), Some(100)]);
        assert_eq!(budgets(&["a:/x".to_owned()], &counts), [None, Some(50), Some(100)]);
        assert_eq!(budgets(&[], &all_seen(&config, &[])), [Some(50), Some(50), Some(0)]);
        assert_eq!(budgets(&[], &seen(1000, true)), [Some(0), Some(50), Some(100)]);
        assert_eq!(budgets(&["a:/x".to_owned()], &seen(1000, true)), [None, Some(50), Some(100)]);
        assert!(plan(&config, &[], &["a:/z".to_owned()], &counts).is_err());
    }

    #[test]
    fn without_delete_there_is_no_budget() {
        let config = config("{config: {rsync_options: -a}, hosts: {a: {paths: [{path: /x}]}}}");
        let seen = all_seen(&config, &[]);
        let plan = plan(&config, &[], &[], &seen).expect("plans");
        assert_eq!(plan.hosts[0].paths().map(|path| path.max_delete).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_source_has_held_files_unless_its_guard_is_off_or_opened() {
        let config = config("hosts: {a: {paths: [{path: /x}, {path: /y, max_delete: 0}, {path: /z}]}}");
        let seen = |path, files| ("a", path, LastSeen { files, ..LastSeen::default() });
        let counts = all_seen(&config, &[seen("/x", 2), seen("/y", 2), seen("/z", 1)]);
        let held = |force: &[String]| -> Vec<bool> {
            let plan = plan(&config, &[], force, &counts).expect("plans");
            plan.hosts[0].paths().map(|path| path.held_files).collect()
        };
        assert_eq!(held(&[]), [true, false, false]);
        assert_eq!(held(&["a:/x".to_owned()]), [false, false, false]);
    }

    #[test]
    fn deletions_wait_unless_they_come_each_time_or_are_wanted_before() {
        let of = |options: &str, max_delete, seen| {
            let text = format!("hosts: {{a: {{paths: [{{path: /x, rsync_options: {options}}}]}}}}");
            step(&config(&text).hosts[0].paths[0], max_delete, seen)
        };
        let seen = |deletes, shrunk| LastSeen { files: 100, deletes, shrunk, ..LastSeen::default() };
        assert_eq!(of("-H", Some(50), seen(false, false)), Step::Transfer);
        assert_eq!(of("-H", Some(50), LastSeen::default()), Step::Transfer, "nothing is known yet");
        assert_eq!(of("-H", Some(50), seen(true, false)), Step::Whole);
        assert_eq!(of("-H", Some(50), seen(true, true)), Step::Transfer, "after a shrunk source");
        assert_eq!(of("--delete-before", Some(50), seen(false, false)), Step::Whole);
        assert_eq!(of("-H", Some(0), seen(false, false)), Step::Whole);
        assert_eq!(of("-H", None, seen(false, false)), Step::Whole);
    }

    #[test]
    fn a_look_beforehand_is_only_where_something_can_be_deleted_at_once() {
        let config = config("hosts: {a: {paths: [{path: /x}]}}");
        let job = &config.hosts[0].paths[0];
        let look = |max_delete, held_files, step| PathPlan { job, max_delete, held_files, step }.needs_look();
        assert!(look(Some(5), true, Step::Whole));
        assert!(!look(Some(5), true, Step::Transfer) && !look(Some(5), false, Step::Whole));
        assert!(!look(Some(0), true, Step::Whole) && !look(None, true, Step::Whole));
    }

    #[test]
    fn a_host_is_checked_unless_each_path_has_reached_it_and_no_script_runs() {
        let config = config(
            "hosts: {a: {paths: [{path: /x}, {path: /y}]}, b: {pre_script_local: s, paths: [{path: /x}]}}",
        );
        let reached = LastSeen { reached: true, ..LastSeen::default() };
        let checks = |seen: &[(&str, &str, LastSeen)]| -> Vec<bool> {
            let seen = all_seen(&config, seen);
            let plan = plan(&config, &[], &[], &seen).expect("plans");
            plan.hosts.iter().map(HostPlan::needs_check).collect()
        };
        assert_eq!(checks(&[]), [true, true]);
        let first = [("a", "/x", reached), ("b", "/x", reached)];
        assert_eq!(checks(&first), [true, true]);
        assert_eq!(checks(&[first[0], ("a", "/y", reached), first[1]]), [false, true]);
    }
}
