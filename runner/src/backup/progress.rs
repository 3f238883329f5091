//! How far a transfer is, for the terminal and the log.

use std::time::{Duration, Instant};

use backup_common::config::{Host, PathJob};
use backup_common::record::{Body, PathProgress};

use super::{Happening, Session};
use crate::rsync::output::Progress;

/// Least time between two progress records of a path.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Tells the terminal of every progress, and the log now and then.
pub struct ProgressTeller<'a> {
    host: &'a Host,
    job: &'a PathJob,
    session: Session<'a>,
    recorded: Instant,
}

impl<'a> ProgressTeller<'a> {
    /// The first record comes a period from now.
    pub fn new(host: &'a Host, job: &'a PathJob, session: Session<'a>) -> Self {
        Self { host, job, session, recorded: Instant::now() }
    }

    /// Takes the newest progress.
    pub fn tell(&mut self, progress: Progress) {
        let place = || (self.host.name.to_string(), self.job.path.to_string());
        if self.recorded.elapsed() >= PROGRESS_PERIOD {
            self.recorded = Instant::now();
            let (host, path) = place();
            self.session.tell(Body::PathProgress(PathProgress {
                host,
                path,
                bytes: progress.bytes,
                percent: f64::from(progress.percent),
                files: progress.files,
            }));
        }
        if self.session.shows_progress {
            let (host, path) = place();
            let _ = self.session.happened.send(Happening::Progress { host, path, progress });
        }
    }
}
