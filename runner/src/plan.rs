//! What this run will do, told from the configuration and the command line alone.

use std::collections::HashMap;

use backup_common::config::{Config, Host, MaxDelete, PathJob};
use backup_common::rsync_options;

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

/// What is done for a host.
#[derive(Debug)]
pub struct HostPlan<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its paths, one after the other.
    pub paths: Vec<PathPlan<'a>>,
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

/// What the last runs have seen of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// Files, directories and links on the source when it was last backed up.
    pub files: u64,
    /// Since then its deletions were stopped by their budget.
    pub stopped: bool,
}

/// By host and path.
pub type AllLastSeen = HashMap<(String, String), LastSeen>;

/// Makes the plan of a run from the configuration, the command line and what was last seen of each path.
pub fn plan<'a>(
    config: &'a Config,
    only: &[String],
    force_delete: &[String],
    last_seen: &AllLastSeen,
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
    let chosen = |host: &&Host| only.is_empty() || only.iter().any(|name| name == host.name.as_str());
    let planned = |host| HostPlan { host, paths: path_plans(host, force_delete, last_seen) };
    Ok(Plan { hosts: config.hosts.iter().filter(chosen).map(planned).collect() })
}

fn path_plans<'a>(host: &'a Host, force_delete: &[String], last_seen: &AllLastSeen) -> Vec<PathPlan<'a>> {
    let plan = |job: &'a PathJob| {
        let accepted = force_delete.iter().any(|accepted| *accepted == format!("{}:{}", host.name, job.path));
        let seen = last_seen.get(&(host.name.to_string(), job.path.clone())).copied().unwrap_or_default();
        let guarded = !accepted && job.max_delete != MaxDelete::Off;
        let limited = guarded && rsync_options::deletes(&job.rsync_options);
        PathPlan {
            job,
            max_delete: if limited { delete_budget(job.max_delete, seen) } else { None },
            // The source's own directory is counted too.
            held_files: guarded && seen.files > 1,
        }
    };
    host.paths.iter().map(plan).collect()
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

impl Plan<'_> {
    /// Paths of all hosts.
    pub fn path_count(&self) -> usize {
        self.hosts.iter().map(|planned| planned.paths.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text).expect("the config is right").config
    }

    const TWO: &str = "hosts: {a: {paths: [{path: /x}, {path: /y, rsync_options: -a}]}, b: {paths: [{path: /x, max_delete: 10%}]}}";

    #[test]
    fn hosts_are_chosen_by_name() {
        let config = config(TWO);
        let names = |only: &[String]| {
            let plan = plan(&config, only, &[], &HashMap::new())?;
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
            let of = |host: &str| ((host.to_owned(), "/x".to_owned()), LastSeen { files, stopped });
            AllLastSeen::from([of("a"), of("b")])
        };
        let counts = seen(1000, false);
        let budgets = |force: &[String], counts: &AllLastSeen| -> Vec<Option<u64>> {
            let plan = plan(&config, &[], force, counts).expect("plans");
            plan.hosts.iter().flat_map(|host| host.paths.iter().map(|path| path.max_delete)).collect()
        };
        assert_eq!(budgets(&[], &counts), [Some(200), Some(50), Some(100)]);
        assert_eq!(budgets(&["a:/x".to_owned()], &counts), [None, Some(50), Some(100)]);
        assert_eq!(budgets(&[], &HashMap::new()), [Some(50), Some(50), Some(0)]);
        assert_eq!(budgets(&[], &seen(1000, true)), [Some(0), Some(50), Some(100)]);
        assert_eq!(budgets(&["a:/x".to_owned()], &seen(1000, true)), [None, Some(50), Some(100)]);
        assert!(plan(&config, &[], &["a:/z".to_owned()], &counts).is_err());
    }

    #[test]
    fn without_delete_there_is_no_budget() {
        let config = config("{config: {rsync_options: -a}, hosts: {a: {paths: [{path: /x}]}}}");
        let plan = plan(&config, &[], &[], &HashMap::new()).expect("plans");
        assert_eq!(plan.hosts[0].paths[0].max_delete, None);
    }

    #[test]
    fn a_source_has_held_files_unless_its_guard_is_off_or_opened() {
        let config = config("hosts: {a: {paths: [{path: /x}, {path: /y, max_delete: 0}, {path: /z}]}}");
        let seen =
            |path: &str, files| (("a".to_owned(), path.to_owned()), LastSeen { files, stopped: false });
        let counts = AllLastSeen::from([seen("/x", 2), seen("/y", 2), seen("/z", 1)]);
        let held = |force: &[String]| -> Vec<bool> {
            let plan = plan(&config, &[], force, &counts).expect("plans");
            plan.hosts[0].paths.iter().map(|path| path.held_files).collect()
        };
        assert_eq!(held(&[]), [true, false, false]);
        assert_eq!(held(&["a:/x".to_owned()]), [false, false, false]);
    }
}
