//! Edge: whether the runner whose run has no end is still there.
//!
//! A runner that was killed writes no end. Where the journal can not be read either, its process tells:
//! one that was seen running and is gone will write nothing more. One that was never seen tells
//! nothing, because the exporter may live in a container that has other processes. What ran before
//! the machine was started is gone in any case.

use std::fs;

use backup_common::record::{Body, Record};
use jiff::Timestamp;

use crate::inputs::process;

/// The process of the run that has no end.
#[derive(Debug, Default)]
pub struct Runner {
    open: Option<OpenRun>,
}

#[derive(Debug)]
struct OpenRun {
    run_id: String,
    pid: u32,
    /// Start of the process in ticks since the boot, once it was seen.
    seen: Option<u64>,
    /// It was gone at the last look; the log is read once more before that counts.
    gone: bool,
}

impl Runner {
    /// Takes note of a record.
    pub fn note(&mut self, record: &Record) {
        match &record.body {
            Body::RunStarted(started) => {
                let run_id = record.run_id.clone();
                self.open = Some(OpenRun { run_id, pid: started.pid, seen: None, gone: false });
            }
            Body::RunFinished(_) => self.open = None,
            _ => {}
        }
    }

    /// Looks for the process, after the log was read to its end; gives the run that will have none.
    pub fn look(&mut self) -> Option<String> {
        let open = self.open.as_mut()?;
        let started =
            fs::read_to_string(format!("/proc/{}/stat", open.pid)).ok().and_then(|stat| start(&stat));
        match (open.seen, started) {
            (None, _) => {
                open.seen = started;
                None
            }
            (Some(seen), Some(now)) if seen == now => None,
            (Some(_), _) if !open.gone => {
                open.gone = true;
                None
            }
            _ => self.open.take().map(|open| open.run_id),
        }
    }

    /// Whether the process of the open run is there.
    pub fn is_seen(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.seen.is_some())
    }
}

/// When the machine was started.
pub fn boot_time() -> Option<Timestamp> {
    let seconds = process::boot_time_seconds(&fs::read_to_string("/proc/stat").ok()?)?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds of this century")]
    Timestamp::from_second(seconds as i64).ok()
}

/// Start time, state and all: nothing for a process that has ended and waits for its parent.
fn start(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(22 - 3)?.parse().ok()
}
