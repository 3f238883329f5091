//! A look at the source before anything is transferred: is it what it was?

use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::Duration;

use backup_common::config::Host;
use backup_common::reason::Reason;
use backup_common::status::Status;

use super::transfer::Transfer;
use crate::plan::PathPlan;
use crate::process::{self, Inherit, Limits, Stream};
use crate::rsync::command;
use crate::rsync::listing::{self, Entries, Listing};
use crate::rsync::messages::Messages;
use crate::rsync::verdict::verdict;

/// Time for an answer about one required file; longer only where `connect_timeout` is.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at the source where something depends on it; the error is how the path ends.
pub fn look(
    host: &Host,
    planned: &PathPlan<'_>,
    escapes_names: bool,
    stop: BorrowedFd<'_>,
) -> Result<(), Box<Transfer>> {
    let job = planned.job;
    let listing = match &job.settings.require {
        Some(name) => Listing::File(job, name),
        // An empty source takes nothing away where nothing is deleted; its end is told from the figures.
        None if planned.needs_look() && listing::can_list_source(job) => Listing::Source(job),
        None => return Ok(()),
    };
    let mut rsync = Command::new("rsync");
    rsync
        .args(listing::arguments(host, listing, job.settings.io_timeout, escapes_names))
        .env_clear()
        .envs(command::ENVIRONMENT);
    let total = match listing {
        Listing::File(..) => Some(LOOK_TIMEOUT.max(host.connect_timeout)),
        Listing::Source(_) | Listing::Directories(_) => job.settings.path_timeout,
    };
    let limits = Limits { total, idle: Some(job.settings.io_timeout) };
    let mut entries = Entries::default();
    let mut messages = Messages::default();
    let ending = process::run(&rsync, Inherit::default(), limits, stop, |stream, bytes| match stream {
        Stream::Output => entries.push(bytes),
        Stream::Error => messages.push(bytes, &job.path),
    });
    entries.finish();
    messages.finish(&job.path);
    let ending = ending.map_err(|error| Box::new(Transfer::not_started(&error)))?;
    let mut own = |reason, text: &str| {
        let mut messages = std::mem::take(&mut messages);
        messages.lead(&[text.to_owned()]);
        Err(Box::new(Transfer { ending: Some(ending), stats: None, messages, reason }))
    };
    match (listing, ending.cut, ending.code) {
        (Listing::File(..), None, Some(0)) if entries.count > 0 => Ok(()),
        (Listing::File(_, name), None, Some(0 | 23 | 24)) => own(
            Reason::SourceMissing,
            &format!(
                "{name} is required and is not there below {}: nothing was transferred and nothing deleted",
                job.path
            ),
        ),
        (Listing::Source(_), None, Some(0)) if entries.count == 0 => own(
            Reason::EmptySource,
            &format!("{} is empty and has held files: nothing was transferred and nothing deleted", job.path),
        ),
        // A source that is not there or not readable says so best in the transfer, which deletes nothing then.
        (Listing::Source(_), None, Some(0 | 23 | 24)) => Ok(()),
        _ => {
            let found = verdict(&ending, None, &messages);
            // Nothing is in the backup, so that nothing but a failure is true.
            let reason = if found.status() == Status::Failed { found } else { Reason::Other };
            Err(Box::new(Transfer { ending: Some(ending), stats: None, messages, reason }))
        }
    }
}
