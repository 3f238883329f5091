//! Runs the post-scripts that a killed run still owes, before anything else.

use std::path::Path;

use backup_common::config::{Config, Host, Scripts};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::status::Status;

use super::pending::Owed;
use super::script::{self, Job};
use super::{Hooks, lookup, preface};

/// Runs what is owed, one after the other, and says so; to be called while the lock is held.
///
/// What could not be begun, because the host is away, stays owed. What the configuration no longer names is
/// given up, because nobody knows any more how to reach it.
pub fn run_overdue(config: &Config, hooks: &Hooks, warn: &mut dyn FnMut(&str)) {
    let left_over = match hooks.pending.left_over() {
        Ok(left_over) => left_over,
        Err(error) => {
            warn(&format!("warning: {}", ErrorChain(&error)));
            return;
        }
    };
    for owed in left_over {
        let what = format!("{} {} of {}", owed.side.post_key(), owed.script, place(&owed));
        let begun = if let Some((host, destination)) = find(config, &owed) {
            warn(&format!("warning: an earlier run was killed before {what} ran; running it now"));
            run(config, hooks, &owed, host, &destination, &what, warn)
        } else {
            warn(&format!(
                "warning: {what} did not run, because an earlier run was killed, and the configuration no longer names it; run it by hand"
            ));
            true
        };
        if begun && let Err(error) = hooks.pending.remove(&owed) {
            warn(&format!("warning: {}; {what} will run once more", ErrorChain(&error)));
        }
    }
}

/// Says whether it has begun.
fn run(
    config: &Config,
    hooks: &Hooks,
    owed: &Owed,
    host: &Host,
    destination: &Path,
    what: &str,
    warn: &mut dyn FnMut(&str),
) -> bool {
    let content = match lookup::read(&config.scripts_dir, &owed.script) {
        Ok(content) => content,
        Err(error) => {
            warn(&format!("warning: {what} can not run: {}", ErrorChain(&error)));
            return false;
        }
    };
    let timeout = host
        .paths
        .iter()
        .find(|job| *job.path == *owed.path)
        .map_or(host.hook_timeout, |job| job.settings.hook_timeout);
    let end = Some((Status::Failed, Reason::Died));
    let destination = destination.display().to_string();
    let variables = preface::variables(&hooks.run_id, &owed.host, &owed.path, &destination, end);
    let job = Job { host, side: owed.side, title: what, content: &content, timeout, may_decline: false };
    let ended = script::run(job, &variables, None);
    for message in ended.messages {
        warn(&format!("warning: {message}"));
    }
    ended.begun
}

/// The host and the destination, if the configuration still names this script in this place.
fn find<'a>(config: &'a Config, owed: &Owed) -> Option<(&'a Host, std::path::PathBuf)> {
    let host = config.hosts.iter().find(|host| host.name.as_str() == owed.host)?;
    let names = |scripts: &Scripts| owed.side.post(scripts) == Some(owed.script.as_str());
    let destination = if owed.path.is_empty() {
        names(&host.scripts).then(|| Path::new(host.name.as_str()).to_owned())
    } else {
        let job = host.paths.iter().find(|job| *job.path == *owed.path)?;
        names(&job.settings.scripts).then(|| job.destination.to_path_buf())
    }?;
    Some((host, config.backup_base.join(destination)))
}

fn place(owed: &Owed) -> String {
    if owed.path.is_empty() { owed.host.clone() } else { format!("{} {}", owed.host, owed.path) }
}
