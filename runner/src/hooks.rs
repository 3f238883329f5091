//! Scripts around a host and around a path: before it, and in any case after it.
//!
//! [`lookup`] reads them once, [`script`] runs one, [`Bracket`] keeps their order, and [`pending`] remembers
//! across a killed run which ones still have to run.

mod lookup;
mod overdue;
mod pending;
mod preface;
mod script;
mod tail;

use std::time::Duration;

use backup_common::config::{Host, PathJob, Scripts};
use backup_common::error_chain::ErrorChain;
use backup_common::reason::Reason;
use backup_common::status::Status;
use rustix::fd::BorrowedFd;

pub use lookup::Library;
pub use overdue::run_overdue;
pub use pending::Pending;

use pending::Owed;
use script::{Ended, Job};

/// Where a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// On the host whose files are backed up.
    Source,
    /// On the backup server.
    Here,
}

impl Side {
    /// The order of the scripts before; those after run the other way round.
    const ORDER: [Self; 2] = [Self::Source, Self::Here];

    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Here => "here",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ORDER.into_iter().find(|side| side.name() == name)
    }

    fn pre_key(self) -> &'static str {
        match self {
            Self::Source => "pre_script",
            Self::Here => "pre_script_local",
        }
    }

    fn post_key(self) -> &'static str {
        match self {
            Self::Source => "post_script",
            Self::Here => "post_script_local",
        }
    }

    fn pre(self, scripts: &Scripts) -> Option<&str> {
        match self {
            Self::Source => scripts.pre.as_deref(),
            Self::Here => scripts.pre_local.as_deref(),
        }
    }

    fn post(self, scripts: &Scripts) -> Option<&str> {
        match self {
            Self::Source => scripts.post.as_deref(),
            Self::Here => scripts.post_local.as_deref(),
        }
    }
}

/// What all scripts of a run share.
#[derive(Debug)]
pub struct Hooks {
    /// The scripts as they were at the start.
    pub library: Library,
    /// What still has to run.
    pub pending: Pending,
    /// Id of the run.
    pub run_id: String,
}

/// What a pair of scripts is around.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    host: &'a Host,
    path: &'a str,
    destination: &'a str,
    scripts: &'a Scripts,
    timeout: Duration,
}

impl<'a> Scene<'a> {
    /// Around all paths of a host.
    pub fn of_host(host: &'a Host, destination: &'a str) -> Self {
        Self { host, path: "", destination, scripts: &host.scripts, timeout: host.hook_timeout }
    }

    /// Around one path.
    pub fn of_path(host: &'a Host, job: &'a PathJob, destination: &'a str) -> Self {
        Self {
            host,
            path: &job.path,
            destination,
            scripts: &job.settings.scripts,
            timeout: job.settings.hook_timeout,
        }
    }
}

/// A script that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub reason: Reason,
    /// What happened and the last lines of its output.
    pub messages: Vec<String>,
}

/// The scripts around something that is under way.
#[derive(Debug)]
pub struct Bracket<'a> {
    hooks: &'a Hooks,
    scene: Scene<'a>,
    /// Sides whose post-script has to run, in the order in which they were begun.
    begun: Vec<Side>,
}

impl<'a> Bracket<'a> {
    /// Runs the scripts before; after a trouble the rest of them is left out, and [`Self::close`] is due all the same.
    ///
    /// A post-script is due once its own pre-script has begun, or, where it has none, once its turn has come.
    pub fn open(
        hooks: &'a Hooks,
        scene: Scene<'a>,
        stop: BorrowedFd<'_>,
        warn: &mut dyn FnMut(&str),
    ) -> (Self, Result<(), Trouble>) {
        let mut bracket = Self { hooks, scene, begun: Vec::new() };
        for side in Side::ORDER {
            let owed = bracket.owed(side);
            if let Some(owed) = &owed {
                // Without the note the backup still goes on; only a killed run could not be made good.
                if let Err(error) = hooks.pending.add(owed.clone()) {
                    warn(&format!("{}; {} would not be made up for", ErrorChain(&error), owed.script));
                }
                bracket.begun.push(side);
            }
            let Some(name) = side.pre(scene.scripts) else { continue };
            let ended = bracket.run(side, side.pre_key(), name, None, Some(stop));
            if !ended.begun && owed.is_some() {
                bracket.begun.pop();
                bracket.strike_out(side, warn);
            }
            if ended.reason != Reason::Ok {
                return (bracket, Err(Trouble { reason: ended.reason, messages: ended.messages }));
            }
        }
        (bracket, Ok(()))
    }

    /// Runs the scripts after, in reverse order, whatever has happened, also when the run is to stop.
    pub fn close(self, status: Status, reason: Reason, warn: &mut dyn FnMut(&str)) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for &side in self.begun.iter().rev() {
            let Some(name) = side.post(self.scene.scripts) else { continue };
            let mut ended = self.run(side, side.post_key(), name, Some((status, reason)), None);
            if ended.begun {
                self.strike_out(side, warn);
            } else {
                ended.messages.push(format!("{} {name} is tried again in the next run", side.post_key()));
            }
            if ended.reason != Reason::Ok {
                // Whatever kept it from running: the backup's own reason stands elsewhere.
                let reason = match ended.reason {
                    Reason::HookTimeout => Reason::HookTimeout,
                    _ => Reason::HookFailed,
                };
                troubles.push(Trouble { reason, messages: ended.messages });
            }
        }
        troubles
    }

    fn run(
        &self,
        side: Side,
        key: &str,
        name: &str,
        end: Option<(Status, Reason)>,
        stop: Option<BorrowedFd<'_>>,
    ) -> Ended {
        let Scene { host, path, destination, timeout, .. } = self.scene;
        let Some(content) = self.hooks.library.get(name) else {
            // Everything that the plan names has been read at the start.
            let messages = vec![format!("cannot run {key} {name}: it was not read at the start")];
            return Ended { reason: Reason::HookFailed, begun: false, messages };
        };
        let title = format!("{key} {name}");
        let job = Job { host, side, title: &title, content, timeout, may_decline: end.is_none() };
        let variables = preface::variables(&self.hooks.run_id, host.name.as_str(), path, destination, end);
        script::run(job, &variables, stop)
    }

    fn owed(&self, side: Side) -> Option<Owed> {
        let Scene { host, path, scripts, .. } = self.scene;
        let script = side.post(scripts)?.to_owned();
        Some(Owed { side, host: host.name.to_string(), path: path.to_owned(), script })
    }

    fn strike_out(&self, side: Side, warn: &mut dyn FnMut(&str)) {
        if let Some(owed) = self.owed(side)
            && let Err(error) = self.hooks.pending.remove(&owed)
        {
            warn(&format!("{}; {} will run once more", ErrorChain(&error), owed.script));
        }
    }
}
