//! No destination inside of another, in the words of the configuration.

use crate::config::{Host, PathJob};
use crate::destinations;
use crate::problems::Problems;

/// Reports each destination that is equal to another one or below it, also across hosts.
pub(super) fn check(hosts: &[Host], problems: &mut Problems) {
    let jobs: Vec<(&Host, &PathJob)> =
        hosts.iter().flat_map(|host| host.paths.iter().map(move |path| (host, path))).collect();
    for overlap in destinations::overlaps(&jobs, |(_, job)| &job.destination) {
        let ((outer_host, outer), (host, inner)) = (jobs[overlap.outer], jobs[overlap.inner]);
        if outer.path.trim_end_matches('/') == inner.path.trim_end_matches('/')
            && outer_host.name == host.name
        {
            continue; // reported as a repeated path already
        }
        problems.error(
            inner.line,
            format!("{}.dest_subdir", host.key_of(inner)),
            format!(
                "the destination {} is inside of {} ({} {}); a hostile host could write through a symlink there, and --delete would remove the inner one: give each path a directory of its own",
                inner.destination.display(),
                outer.destination.display(),
                outer_host.name,
                outer.path,
            ),
        );
    }
}
