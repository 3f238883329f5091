//! Edge: measures the directories on one mount, one after the other.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_common::error_chain::ErrorChain;
use backup_sizes::btrfs::{Found, Quota};
use backup_sizes::client::{self, ClientError};
use backup_sizes::walk::{self, Walk, WalkError};
use tracing::{info, warn};

use super::ledger::Ledger;
use super::{Options, Target};
use crate::event::sizes::{Place, QuotaBytes, SizesEvent, Trouble};
use crate::size_history::Method;

/// Threads of a walk: more than there are cores pay when the disk has to be asked.
const WALKERS: usize = 8;

/// A mount, and what was last seen of it.
#[derive(Debug, Default)]
pub struct Lane {
    /// A walk that the kernel does not let go.
    stuck: Option<Walk>,
    /// What was last said about `backup-sizes`, so that it is said once.
    trouble: String,
}

/// Directories to measure.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Those that are wanted.
    pub wanted: Vec<Target>,
    /// What `backup-sizes` is asked for, which costs no more than what changed; nothing where it can not
    /// be asked.
    pub asked: Vec<Target>,
    /// Part of a scan of everything.
    pub scan: bool,
}

/// The end of a [`Work`].
#[derive(Debug)]
pub struct Ended {
    pub mount: String,
    pub lane: Lane,
    pub scan: bool,
    /// Whether every directory was measured.
    pub all_measured: bool,
}

/// What every lane needs.
#[derive(Clone, Debug)]
pub struct Setting {
    pub options: Options,
    pub base: std::path::PathBuf,
    pub ledger: Arc<Ledger>,
}

impl Work {
    /// Puts more to it.
    pub fn merge(&mut self, other: Self) {
        let add = |all: &mut Vec<Target>, more: Vec<Target>| {
            let known: BTreeSet<Target> = all.iter().cloned().collect();
            all.extend(more.into_iter().filter(|target| !known.contains(target)));
        };
        add(&mut self.wanted, other.wanted);
        add(&mut self.asked, other.asked);
        self.scan |= other.scan;
    }
}

impl Lane {
    /// Whether it is as good as a new one.
    pub fn is_free(&self) -> bool {
        self.stuck.as_ref().is_none_or(|walk| !walk.is_alive())
    }

    /// Says whether every directory was measured.
    pub fn measure(&mut self, work: &Work, setting: &Setting) -> bool {
        let mut all_measured = true;
        let mut answered = BTreeSet::new();
        if !work.asked.is_empty() {
            match ask(&work.asked, setting, &mut answered) {
                Ok(measured) => {
                    all_measured = measured;
                    answered.extend(work.wanted.iter().map(|(place, _)| place.clone()));
                    self.trouble.clear();
                }
                Err(error) => self.explain(&error),
            }
        }
        for (place, directory) in work.wanted.iter().filter(|(place, _)| !answered.contains(place)) {
            all_measured &= self.walk(place, directory, setting);
        }
        all_measured
    }

    /// Says once why everything is walked.
    fn explain(&mut self, error: &ClientError) {
        let text = ErrorChain(error).to_string();
        if self.trouble != text {
            if matches!(error, ClientError::Connect(..)) {
                info!(reason = text, "measuring by a walk");
            } else {
                warn!(error = text, "measuring by a walk");
            }
            self.trouble = text;
        }
    }

    fn walk(&mut self, place: &Place, directory: &Path, setting: &Setting) -> bool {
        if !self.is_free() {
            setting.ledger.unmeasured(place, Trouble::TimedOut);
            return false;
        }
        self.stuck = None;
        let begun = Instant::now();
        let options = walk::Options { threads: WALKERS, idle: true };
        let walked = Walk::start(&setting.base, directory, options).and_then(|walk| {
            let result = walk.wait(setting.options.limit);
            if matches!(result, Err(WalkError::TimedOut(..))) {
                self.leave(walk);
            }
            result
        });
        let trouble = match walked {
            Ok(walked) if walked.unreadable == 0 => {
                let seconds = begun.elapsed().as_secs_f64();
                setting.ledger.measured(place, &walked.totals, Method::Walk, seconds);
                return true;
            }
            Ok(walked) => {
                let directory = directory.display();
                warn!(%directory, unreadable = walked.unreadable, "cannot measure all of a directory; CAP_DAC_READ_SEARCH may be missing");
                Trouble::Failed
            }
            Err(error @ WalkError::TimedOut(..)) => {
                warn!(error = %ErrorChain(&error), "the last size stays");
                Trouble::TimedOut
            }
            Err(WalkError::Open(_, error)) if error.kind() == ErrorKind::NotFound => {
                return setting.ledger.missing(place, directory);
            }
            Err(error) => {
                warn!(error = %ErrorChain(&error), "the last size stays");
                Trouble::Failed
            }
        };
        setting.ledger.unmeasured(place, trouble);
        false
    }

    /// Ends a walk; one that can not be ended is remembered.
    fn leave(&mut self, walk: Walk) {
        const GRACE: Duration = Duration::from_secs(2);
        walk.cancel();
        let begun = Instant::now();
        while walk.is_alive() && begun.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stuck = walk.is_alive().then_some(walk);
    }
}

/// Asks `backup-sizes`; each figure is taken in as it comes. Says whether every directory was measured.
fn ask(targets: &[Target], setting: &Setting, answered: &mut BTreeSet<Place>) -> Result<bool, ClientError> {
    let Setting { options, base, ledger } = setting;
    let directories = targets.iter().map(|(_, directory)| directory.clone()).collect();
    let begun = Instant::now();
    let scanned = client::ask_each(&options.socket, directories, false, options.limit, |found| {
        let Found { index, totals: Some(totals), quota } = found else { return };
        let Some((place, _)) = targets.get(index) else { return };
        ledger.measured(place, &totals, Method::Tree, begun.elapsed().as_secs_f64());
        ledger.quota(place, quota.map(of_group));
        answered.insert(place.clone());
    })?;
    if answered.is_empty() && is_any_there(base, targets) {
        let base = base.display();
        return Err(ClientError::Failed(format!(
            "it knows none of the directories that are in {base}; start it with --volume {base}"
        )));
    }
    if let Some(differences) = scanned.differences.filter(|differences| *differences > 0) {
        warn!(
            differences,
            "a full scan of the sizes differs from the incremental ones; its figures are used"
        );
        ledger.send(SizesEvent::Differences(differences));
    }
    let mut all_measured = true;
    for ((place, directory), totals) in targets.iter().zip(scanned.totals) {
        if totals.is_none() {
            all_measured &= ledger.missing(place, directory);
        }
    }
    Ok(all_measured)
}

fn of_group(quota: Quota) -> QuotaBytes {
    QuotaBytes { referenced_bytes: quota.referenced_bytes, exclusive_bytes: quota.exclusive_bytes }
}

/// Whether one of the directories can be seen from here. `backup-sizes` has just answered, so that the
/// mount does not hang.
fn is_any_there(base: &Path, targets: &[Target]) -> bool {
    targets.iter().any(|(_, directory)| base.join(directory).symlink_metadata().is_ok())
}
