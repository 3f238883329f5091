//! Finds the scripts that a run may need, once, before anything is touched.

use std::collections::BTreeMap;
use std::path::Path;

use backup_common::config::{Host, Scripts};
use backup_common::error_chain::ErrorChain;

use super::Side;
use crate::trust::{self, TrustError};

/// The content of scripts by name, as it was at the start of the run.
#[derive(Debug, Default)]
pub struct Library {
    scripts: BTreeMap<String, Vec<u8>>,
}

impl Library {
    /// Reads every script that these hosts and their paths name.
    ///
    /// # Errors
    /// All that can not be used, each as a line for people.
    pub fn load<'a>(
        scripts_dir: &Path,
        hosts: impl IntoIterator<Item = &'a Host>,
    ) -> Result<Self, Vec<String>> {
        let mut scripts = BTreeMap::new();
        let mut problems = BTreeMap::new();
        for host in hosts.into_iter().filter(|host| host.enabled) {
            let of_host = named(|| format!("hosts.{}", host.name), &host.scripts);
            let of_paths =
                host.paths.iter().flat_map(|job| named(|| host.key_of(job), &job.settings.scripts));
            for (key, name) in of_host.into_iter().chain(of_paths) {
                if scripts.contains_key(&name) || problems.contains_key(&name) {
                    continue;
                }
                match read(scripts_dir, &name) {
                    Ok(content) => {
                        scripts.insert(name, content);
                    }
                    Err(error) => {
                        problems.insert(name, format!("{key}: {}", ErrorChain(&error)));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(Self { scripts }) } else { Err(problems.into_values().collect()) }
    }

    /// The content of a script.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.scripts.get(name).map(Vec::as_slice)
    }
}

/// Reads one script; `NAME` is `NAME.sh` in the directory, and the configuration has checked that it is a plain name.
pub fn read(scripts_dir: &Path, name: &str) -> Result<Vec<u8>, TrustError> {
    trust::read_in(scripts_dir, &format!("{name}.sh"))
}

/// The scripts of one level with their keys.
fn named(key: impl Fn() -> String, scripts: &Scripts) -> Vec<(String, String)> {
    let all = [Side::Source, Side::Here]
        .into_iter()
        .flat_map(|side| [(side.pre_key(), side.pre(scripts)), (side.post_key(), side.post(scripts))]);
    all.filter_map(|(which, name)| name.map(|name| (format!("{}.{which}", key()), name.to_owned()))).collect()
}
