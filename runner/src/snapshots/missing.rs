//! Which paths are not whole, so that a snapshot is incomplete without them.
//!
//! A path is whole when its backup was a success, and also when files vanished on its source while it
//! ran (rsync's exit code 24): what was there at the end is in the backup, and a busy host that loses a
//! temporary file in each run would otherwise never have a complete snapshot. The same holds for a script
//! after the transfer that failed, and for a host that may be away (`optional: true`) and is: a site with a laptop
//! would otherwise have no complete snapshot on most days and never delete one, until the volume is full; what
//! was last pulled from it stands in the snapshot all the same. Files that could not be read (23), a path whose
//! script said "not now", one left out by `--host`, and every failure make a path missing. A host that is switched off
//! (`enabled: false`) belongs to no backup and is not missed.

use std::collections::BTreeMap;

use backup_common::config::{Config, Host, PathJob};
use backup_common::reason::Reason;
use backup_common::record::PathFinished;
use backup_common::status::Status;

/// Most paths that are listed; a record is one line, and readers have a limit.
const MOST_LISTED: usize = 1000;

/// The state of all paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// `host:path` of those that are not whole, in the order of the configuration.
    pub paths: Vec<String>,
    /// The first that failed or has no end, with its reason: nothing is deleted then.
    pub failed: Option<String>,
}

/// How a path ended last.
pub type Ends = BTreeMap<(String, String), (Status, Reason)>;

/// The last end of each path.
pub fn ends<'a>(finished: impl IntoIterator<Item = &'a PathFinished>) -> Ends {
    finished.into_iter().map(|end| ((end.host.clone(), end.path.clone()), (end.status, end.reason))).collect()
}

/// Finds the paths that are not whole; `holds` tells whether a path's destination is in the volume at all.
pub fn missing(config: &Config, ends: &Ends, holds: impl Fn(&PathJob) -> bool) -> Missing {
    let mut missing = Missing::default();
    for (host, job) in enabled(config) {
        let name = format!("{}:{}", host.name, job.path);
        let end = ends.get(&(host.name.to_string(), job.path.to_string()));
        let failure = match end {
            Some((Status::Failed, reason)) => Some(format!("{name} failed ({reason})")),
            Some(_) => None,
            None => Some(format!("{name} was not backed up")),
        };
        if !end.is_some_and(|(status, reason)| is_whole(*status, *reason)) || !holds(job) {
            missing.paths.push(name);
        }
        missing.failed = missing.failed.or(failure);
    }
    missing
}

/// The list for a record, cut where it would be too long.
pub fn listed(paths: &[String]) -> Vec<String> {
    paths.iter().take(MOST_LISTED).cloned().collect()
}

fn is_whole(status: Status, reason: Reason) -> bool {
    match status {
        Status::Success => true,
        Status::Warning => {
            matches!(reason, Reason::VanishedFiles | Reason::HookFailed | Reason::HookTimeout)
        }
        // Of an optional host only: of any other these are failures.
        Status::Skipped => {
            matches!(reason, Reason::Unreachable | Reason::NameNotFound | Reason::ConnectionRefused)
        }
        Status::Failed => false,
    }
}

fn enabled(config: &Config) -> impl Iterator<Item = (&Host, &PathJob)> {
    config
        .hosts
        .iter()
        .filter(|host| host.enabled)
        .flat_map(|host| host.paths.iter().map(move |job| (host, job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(list: &[(&str, Status, Reason)]) -> Missing {
        let text =
            "hosts: {a: {paths: [{path: /x}, {path: /y}]}, off: {enabled: false, paths: [{path: /z}]}}";
        let config = Config::parse(text).expect("the config is right").config;
        let ends = list
            .iter()
            .map(|(path, status, reason)| (("a".to_owned(), (*path).to_owned()), (*status, *reason)));
        missing(&config, &ends.collect(), |_| true)
    }

    #[test]
    fn whole_is_a_success_or_only_vanished_files() {
        let ok = ("/x", Status::Success, Reason::Ok);
        for (status, reason, whole, failed) in [
            (Status::Success, Reason::Ok, true, false),
            (Status::Warning, Reason::VanishedFiles, true, false),
            (Status::Warning, Reason::PartialTransfer, false, false),
            (Status::Warning, Reason::HookFailed, true, false),
            (Status::Skipped, Reason::Unreachable, true, false),
            (Status::Skipped, Reason::HookSkip, false, false),
            (Status::Failed, Reason::MaxDelete, false, true),
        ] {
            let found = judged(&[ok, ("/y", status, reason)]);
            assert_eq!(found.paths.is_empty(), whole, "{status} {reason}");
            assert_eq!(found.failed.is_some(), failed, "{status} {reason}");
        }
    }

    #[test]
    fn a_path_without_an_end_is_missing_and_speaks_against_deleting() {
        let found = judged(&[("/y", Status::Success, Reason::Ok)]);
        assert_eq!(found.paths, ["a:/x"]);
        assert_eq!(found.failed.as_deref(), Some("a:/x was not backed up"));
    }

    #[test]
    fn a_destination_outside_of_the_volume_is_missing() {
        let config = Config::parse("hosts: {a: {paths: [{path: /x}]}}").expect("the config is right").config;
        let ends = [(("a".to_owned(), "/x".to_owned()), (Status::Success, Reason::Ok))].into();
        assert_eq!(
            missing(&config, &ends, |_| false),
            Missing { paths: vec!["a:/x".to_owned()], failed: None }
        );
    }
}
