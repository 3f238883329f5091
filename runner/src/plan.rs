//! What this run will do, told from the configuration and the command line alone.

use std::collections::HashMap;

use backup_common::config::{Config, Host, MaxDelete, PathJob, Scripts};
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
    /// A key whose work this version does not do, and without which a backup would be wrong.
    #[error(
        "cannot back up {0}: {1} is set, and this version does not run it yet; nothing was started, because a backup without it could be wrong"
    )]
    NotYet(String, &'static str),
}

/// Makes the plan of a run; `file_counts` holds the file count last seen of each host and path.
pub fn plan<'a>(
    config: &'a Config,
    only: &[String],
    force_delete: &[String],
    file_counts: &HashMap<(String, String), u64>,
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
    let hosts: Vec<HostPlan<'a>> = config
        .hosts
        .iter()
        .filter(chosen)
        .map(|host| HostPlan { host, paths: path_plans(host, force_delete, file_counts) })
        .collect();
    for planned in hosts.iter().filter(|planned| planned.host.enabled) {
        refuse_what_is_not_built(planned.host)?;
    }
    Ok(Plan { hosts })
}

fn path_plans<'a>(
    host: &'a Host,
    force_delete: &[String],
    file_counts: &HashMap<(String, String), u64>,
) -> Vec<PathPlan<'a>> {
    let plan = |job: &'a PathJob| {
        let accepted = force_delete.iter().any(|accepted| *accepted == format!("{}:{}", host.name, job.path));
        let last_seen = file_counts.get(&(host.name.to_string(), job.path.clone())).copied();
        let limited = rsync_options::deletes(&job.rsync_options) && !accepted;
        PathPlan { job, max_delete: if limited { delete_budget(job.max_delete, last_seen) } else { None } }
    };
    host.paths.iter().map(plan).collect()
}

/// The budget for deletions in one run.
fn delete_budget(limit: MaxDelete, last_seen: Option<u64>) -> Option<u64> {
    let share = |percent: u8| last_seen.unwrap_or(0).saturating_mul(u64::from(percent)) / 100;
    match limit {
        MaxDelete::Off => None,
        MaxDelete::Files(files) => Some(files),
        MaxDelete::Percent(percent) => Some(share(percent)),
        MaxDelete::Default => Some(share(DELETABLE_PERCENT).max(ALWAYS_DELETABLE)),
    }
}

fn refuse_what_is_not_built(host: &Host) -> Result<(), PlanError> {
    let scripts = |scripts: &Scripts| *scripts != Scripts::default();
    if scripts(&host.scripts) {
        return Err(PlanError::NotYet(host.name.to_string(), "a pre- or post-script"));
    }
    for job in &host.paths {
        let name = || format!("{}:{}", host.name, job.path);
        if scripts(&job.scripts) {
            return Err(PlanError::NotYet(name(), "a pre- or post-script"));
        }
        if job.require.is_some() {
            return Err(PlanError::NotYet(name(), "require"));
        }
    }
    Ok(())
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
        let counts = HashMap::from([
            (("a".to_owned(), "/x".to_owned()), 1000),
            (("b".to_owned(), "/x".to_owned()), 1000),
        ]);
        let budgets = |force: &[String], counts: &HashMap<_, _>| -> Vec<Option<u64>> {
            let plan = plan(&config, &[], force, counts).expect("plans");
            plan.hosts.iter().flat_map(|host| host.paths.iter().map(|path| path.max_delete)).collect()
        };
        assert_eq!(budgets(&[], &counts), [Some(200), Some(50), Some(100)]);
        assert_eq!(budgets(&["a:/x".to_owned()], &counts), [None, Some(50), Some(100)]);
        assert_eq!(budgets(&[], &HashMap::new()), [Some(50), Some(50), Some(0)]);
        assert!(plan(&config, &[], &["a:/z".to_owned()], &counts).is_err());
    }

    #[test]
    fn without_delete_there_is_no_budget() {
        let config = config("{config: {rsync_options: -a}, hosts: {a: {paths: [{path: /x}]}}}");
        let plan = plan(&config, &[], &[], &HashMap::new()).expect("plans");
        assert_eq!(plan.hosts[0].paths[0].max_delete, None);
    }

    #[test]
    fn a_script_is_never_left_out_in_silence() {
        let config = config("hosts: {a: {paths: [{path: /x, pre_script: stop_db}]}}");
        assert!(matches!(plan(&config, &[], &[], &HashMap::new()), Err(PlanError::NotYet(..))));
    }
}
