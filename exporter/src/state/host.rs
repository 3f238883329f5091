//! One host: what its paths have in common.

use std::collections::{BTreeMap, BTreeSet};

use backup_common::reason::Reason;
use backup_common::record::HostFinished;
use backup_common::status::Status;
use jiff::Timestamp;

use super::{Path, Phase};
use crate::event::SessionId;

/// A host and its paths.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The configuration lists it.
    pub(super) listed: bool,
    /// A path of it started, and its own end is not recorded.
    pub(super) running: bool,
    pub(super) paths: BTreeMap<String, Path>,
    ended: Option<Status>,
    /// Whether it answered when it was last asked; absent before.
    pub reachable: Option<bool>,
    /// From its first path to its last, in the run that last ended for it.
    pub duration_seconds: Option<f64>,
    /// When all of its paths were last successful in one run.
    pub last_success: Option<Timestamp>,
}

impl Host {
    /// Its configured paths.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().filter(|(_, path)| path.listed).map(|(name, path)| (name.as_str(), path))
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.ended {
            _ if self.is_running() => Phase::Running,
            Some(status) => Phase::Ended(status),
            // Its own end is missing from the log: the worst of its paths says the same.
            None => self.worst_of_paths().map_or(Phase::Never, Phase::Ended),
        }
    }

    /// Whether it, or a path of it, started and did not end.
    pub fn is_running(&self) -> bool {
        self.running || self.paths.values().any(Path::is_running)
    }

    pub(super) fn list(&mut self, paths: Option<&BTreeSet<String>>) {
        self.listed = paths.is_some();
        for path in paths.into_iter().flatten() {
            self.paths.entry(path.clone()).or_default();
        }
        for (name, path) in &mut self.paths {
            path.listed = paths.is_some_and(|paths| paths.contains(name));
        }
    }

    pub(super) fn finish(&mut self, time: Timestamp, finished: &HostFinished) {
        self.running = false;
        self.ended = Some(finished.status);
        self.duration_seconds = Some(finished.duration_seconds);
        if finished.status == Status::Success {
            self.last_success = Some(time);
        }
    }

    /// It will never come to its end.
    pub(super) fn abandon(&mut self, reason: Reason, run_id: Option<&SessionId>) {
        let mut died = false;
        for path in self.paths.values_mut() {
            died |= path.abandon(reason, run_id);
        }
        self.running = false;
        self.duration_seconds = None;
        self.ended = if died { Some(Status::Failed) } else { self.worst_of_paths() };
    }

    /// Whether a path of it died in this run.
    pub(super) fn died_in(&self, run_id: &str) -> bool {
        self.paths.values().any(|path| path.died_in(run_id))
    }

    /// The journal tells why what died in this run did.
    pub(super) fn refine(&mut self, run_id: &str, reason: Reason) {
        for path in self.paths.values_mut().filter(|path| path.died_in(run_id)) {
            path.refine(reason);
        }
    }

    /// What the end of a path tells about the way to the host.
    pub(super) fn learn_reachable(&mut self, reason: Reason) {
        self.reachable = proves_reachable(reason).or(self.reachable);
    }

    fn worst_of_paths(&self) -> Option<Status> {
        self.paths().filter_map(|(_, path)| path.last.as_ref()).map(|outcome| outcome.status).max()
    }
}

/// Whether a reason shows that the host answered (`true`), that it did not (`false`), or neither.
fn proves_reachable(reason: Reason) -> Option<bool> {
    match reason {
        Reason::Unreachable | Reason::NameNotFound | Reason::ConnectionRefused => Some(false),
        Reason::Ok
        | Reason::PartialTransfer
        | Reason::VanishedFiles
        | Reason::AuthFailed
        | Reason::HostKeyChanged
        | Reason::HostKeyUnknown
        | Reason::ConnectionLost
        | Reason::RsyncMissing
        | Reason::Protocol
        | Reason::SourceMissing
        | Reason::PermissionDenied
        | Reason::MaxDelete
        | Reason::EmptySource => Some(true),
        Reason::Timeout
        | Reason::RsyncUsage
        | Reason::ReadOnly
        | Reason::NoSpace
        | Reason::HookFailed
        | Reason::HookSkip
        | Reason::HookTimeout
        | Reason::Killed
        | Reason::Interrupted
        | Reason::Died
        | Reason::OutOfMemory
        | Reason::NotStarted
        | Reason::Locked
        | Reason::ConfigInvalid
        | Reason::BaseMissing
        | Reason::Disabled
        | Reason::Other => None,
    }
}
