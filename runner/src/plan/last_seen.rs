//! What the last runs have seen of each path, by host and path.

use backup_common::config::{Host, PathJob};

/// What the last runs have seen of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct LastSeen {
    /// Files, directories and links on the source when it was last backed up.
    pub files: u64,
    /// Since then its deletions were stopped by their budget, and not before some of them.
    pub stopped: bool,
    /// Since then more was gone than the budget allows.
    pub shrunk: bool,
    /// Something was deleted when it was last backed up, or there has been no space since.
    pub deletes: bool,
    /// The last attempt has reached the source.
    pub reached: bool,
}

/// What the last runs have seen of each path of a configuration, in its order.
#[derive(Debug)]
pub struct AllLastSeen(Vec<LastSeen>);

impl AllLastSeen {
    /// Nothing is seen yet of the paths of these hosts.
    pub fn nothing(hosts: &[Host]) -> Self {
        Self(vec![LastSeen::default(); path_count(hosts)])
    }

    /// What was seen of the path in a place.
    pub fn at(&mut self, place: usize) -> &mut LastSeen {
        &mut self.0[place]
    }

    /// Each of these hosts with what was seen of its paths; they must be those that it was made for.
    pub fn by_host<'a>(&'a self, hosts: &'a [Host]) -> impl Iterator<Item = (&'a Host, &'a [LastSeen])> {
        let mut rest = self.0.as_slice();
        hosts.iter().map(move |host| {
            let (seen, others) = rest.split_at(host.paths.len());
            rest = others;
            (host, seen)
        })
    }
}

/// Finds paths by their names.
///
/// A sorted list, because a map of ten thousands of names takes several times as much at the start of each run.
#[derive(Debug)]
pub struct Finder<'a>(Vec<(&'a Host, &'a PathJob, usize)>);

impl<'a> Finder<'a> {
    /// Of the paths of these hosts.
    pub fn new(hosts: &'a [Host]) -> Self {
        let mut paths = Vec::with_capacity(path_count(hosts));
        for (host, job) in hosts.iter().flat_map(|host| host.paths.iter().map(move |job| (host, job))) {
            paths.push((host, job, paths.len()));
        }
        paths.sort_unstable_by_key(|(host, job, _)| names(host, job));
        Self(paths)
    }

    /// The place of a path among all of them, and its host; `None` when it is not configured.
    pub fn find(&self, host: &str, path: &str) -> Option<(usize, &'a Host)> {
        let found = self.0.binary_search_by_key(&(host, path), |(host, job, _)| names(host, job)).ok()?;
        let (host, _, place) = self.0[found];
        Some((place, host))
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn names<'a>(host: &'a Host, job: &'a PathJob) -> (&'a str, &'a str) {
    (host.name.as_str(), &job.path)
}

fn path_count(hosts: &[Host]) -> usize {
    hosts.iter().map(|host| host.paths.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use backup_common::config::Config;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_path_has_what_was_noted_for_it_and_no_other(
            hosts in proptest::collection::btree_map("[ab.-]{1,3}", proptest::collection::btree_set("/[ab]{0,3}", 1..5), 1..5),
            notes in proptest::collection::vec(("[ab.-]{1,3}", "/[ab]{0,3}", 1u64..9), 0..20),
        ) {
            // Not in the order of the names, as configurations are.
            let text = hosts.iter().rev().fold("hosts:\n".to_owned(), |text, (host, paths)| {
                let path = |(index, path): (usize, &String)| format!("{{path: \"{path}\", dest_subdir: p{index}}}");
                let paths: Vec<_> = paths.iter().rev().enumerate().map(path).collect();
                format!("{text}  \"x{host}\": {{paths: [{}]}}\n", paths.join(", "))
            });
            let config = Config::parse(&text).expect("the config is right").config;
            let finder = Finder::new(&config.hosts);
            let (mut all, mut noted) = (AllLastSeen::nothing(&config.hosts), BTreeMap::new());
            for (host, path, files) in notes {
                let found = finder.find(&format!("x{host}"), &path);
                prop_assert_eq!(found.is_some(), hosts.get(&host).is_some_and(|paths| paths.contains(&path)));
                if let Some((place, found)) = found {
                    prop_assert_eq!(found.name.as_str(), format!("x{host}"));
                    all.at(place).files = files;
                    noted.insert((format!("x{host}"), path), files);
                }
            }
            for (host, seen) in all.by_host(&config.hosts) {
                prop_assert_eq!(seen.len(), host.paths.len());
                for (job, seen) in host.paths.iter().zip(seen) {
                    let noted = noted.get(&(host.name.to_string(), job.path.to_string()));
                    prop_assert_eq!(seen.files, noted.copied().unwrap_or(0));
                }
            }
        }
    }
}
