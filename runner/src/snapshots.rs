//! Read-only snapshots of the backup volume: taken when due, kept by count.
//!
//! [`mod@plan`] decides and is pure; [`volume`] asks the kernel and obeys. The kernel makes a snapshot read-only and
//! under its final name in one transaction, so that a run that is killed at any point leaves nothing half done:
//! a snapshot is there or it is not, and what was not deleted yet is found again by the next run.
//!
//! Deleting is the most dangerous thing here. It needs a run of the whole configuration in which no path
//! failed, a clock that can be believed, and new snapshots that were really taken; and only what is, at that moment,
//! a read-only snapshot of this very volume under a name of a configured schedule is ever deleted.

mod clock;
mod due;
mod error;
mod inventory;
mod missing;
mod name;
mod plan;
mod retention;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use backup_common::config::{Config, Snapshots};
use backup_common::reason::Reason;
use backup_common::record::{Body, Snapshot, SnapshotAction};
use jiff::tz::TimeZone;

pub use self::error::SnapshotError;
pub use self::plan::{Action, Circumstances, Step, plan};

use self::clock::Clock;
use self::inventory::{Entry, Inventory};
use self::missing::Missing;
use self::volume::Volume;
use crate::destination::Base;
use crate::report::Reporter;
use crate::stats_log::{self, Earlier};
use crate::stop::Stop;

/// Most records about snapshots of a schedule that are kept for now, and most names in a warning.
const MOST_TOLD: usize = 10;

/// What a run with this configuration would do about snapshots if every path were successful; changes nothing.
///
/// # Errors
/// What would keep it from taking any.
pub fn preview(config: &Config, base: &Base) -> Result<Vec<Step>, SnapshotError> {
    let Some(settings) = &config.snapshots else { return Ok(Vec::new()) };
    let zone = TimeZone::system();
    let inventory = Volume::open(settings, base)?.inventory(&zone)?;
    let now = Clock::now();
    let last_record = stats_log::earlier(&config.stats_file).last_record;
    let hold = clock::suspicion(now, now, &inventory.entries, last_record);
    let circumstances = Circumstances { now: now.wall(), zone: &zone, complete: true, hold: hold.as_deref() };
    Ok(plan(&settings.schedules, &inventory, circumstances))
}

/// The snapshots of a run.
#[derive(Debug)]
pub struct Run<'a> {
    config: &'a Config,
    settings: &'a Snapshots,
    base: &'a Base,
    zone: TimeZone,
    begun: Clock,
    earlier: Earlier,
    made: BTreeSet<String>,
    failure: Option<Reason>,
}

impl<'a> Run<'a> {
    /// Looks at the clock and at what earlier runs have left, before this run leaves a record; `None` when no
    /// snapshots are configured.
    pub fn begin(config: &'a Config, base: &'a Base) -> Option<Self> {
        Some(Self {
            config,
            settings: config.snapshots.as_ref()?,
            base,
            zone: TimeZone::system(),
            begun: Clock::now(),
            earlier: stats_log::earlier(&config.stats_file),
            made: BTreeSet::new(),
            failure: None,
        })
    }

    /// Before the transfers: with `when: before`, takes what is due, of the state that the last run left.
    pub fn before(&mut self, reporter: &mut Reporter) {
        if self.settings.before {
            let ends = missing::ends(self.earlier.ends.values());
            self.guarded(reporter, |run, volume, reporter| run.take(volume, &ends, reporter));
        }
    }

    /// After the transfers: takes what is due, then deletes what is no longer kept. A run that was stopped
    /// does neither; the next one finds the same things to do.
    ///
    /// Returns why a snapshot failed, if one did.
    pub fn after(mut self, stop: &Stop, reporter: &mut Reporter) -> Option<Reason> {
        if stop.signal().is_some() {
            return self.failure;
        }
        let ends = missing::ends(reporter.finished());
        self.guarded(reporter, |run, volume, reporter| {
            if !run.settings.before {
                run.take(volume, &ends, reporter)?;
            }
            warn_of_nested(volume, reporter);
            run.prune(volume, &ends, stop, reporter)
        });
        self.failure
    }

    /// Opens the volume and does something with it; what fails as a whole fails for each schedule.
    fn guarded(
        &mut self,
        reporter: &mut Reporter,
        work: impl FnOnce(&mut Self, &mut Volume<'a>, &mut Reporter) -> Result<(), SnapshotError>,
    ) {
        let done =
            Volume::open(self.settings, self.base).and_then(|mut volume| work(self, &mut volume, reporter));
        if let Err(error) = done {
            for schedule in &self.settings.schedules {
                self.fail(&schedule.tag, None, &error, reporter);
            }
        }
    }

    fn missing(&self, volume: &Volume<'_>, ends: &missing::Ends) -> Missing {
        missing::missing(self.config, ends, |job| volume.holds(self.base, &job.destination))
    }

    fn take(
        &mut self,
        volume: &mut Volume<'a>,
        ends: &missing::Ends,
        reporter: &mut Reporter,
    ) -> Result<(), SnapshotError> {
        volume.make_directory()?;
        let missing = self.missing(volume, ends).paths;
        let inventory = volume.inventory(&self.zone)?;
        let circumstances = Circumstances {
            now: Clock::now().wall(),
            zone: &self.zone,
            complete: missing.is_empty(),
            hold: None,
        };
        for step in plan::creations(&self.settings.schedules, &inventory, circumstances) {
            if step.action == Action::NotDue {
                reporter.tell(record(&step, SnapshotAction::NotDue));
                continue;
            }
            match volume.create(&step.name) {
                Ok(()) => {
                    self.made.insert(step.name.clone());
                    let mut record = snapshot(&step, SnapshotAction::Created);
                    record.missing = missing::listed(&missing);
                    reporter.tell(Body::Snapshot(record));
                }
                Err(error) => self.fail(&step.schedule, Some(&step), &error, reporter),
            }
        }
        Ok(())
    }

    fn prune(
        &mut self,
        volume: &Volume<'a>,
        ends: &missing::Ends,
        stop: &Stop,
        reporter: &mut Reporter,
    ) -> Result<(), SnapshotError> {
        let inventory = volume.inventory(&self.zone)?;
        warn_of_strangers(&inventory, reporter);
        let now = Clock::now();
        let hold = self.hold(volume, ends, &inventory, now);
        let circumstances =
            Circumstances { now: now.wall(), zone: &self.zone, complete: true, hold: hold.as_deref() };
        let steps = plan::deletions(&self.settings.schedules, &inventory, circumstances);
        let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
        let mut failed: Option<&str> = None;
        for step in &steps {
            if step.action == Action::Keep {
                let told = kept.entry(&step.schedule).or_insert(0);
                *told += 1;
                if *told <= MOST_TOLD {
                    reporter.tell(record(step, SnapshotAction::Kept));
                }
                continue;
            }
            // One that can not be deleted must not push out the next one of its schedule.
            if stop.signal().is_some() || failed == Some(&step.schedule) {
                continue;
            }
            match entry(&inventory, step).map(|entry| volume.delete(entry)) {
                Some(Ok(())) => reporter.tell(record(step, SnapshotAction::Deleted)),
                Some(Err(error)) => {
                    self.fail(&step.schedule, Some(step), &error, reporter);
                    failed = Some(&step.schedule);
                }
                None => {}
            }
        }
        for (schedule, count) in kept.iter().filter(|(_, count)| **count > MOST_TOLD) {
            let more =
                backup_common::units::counted((count - MOST_TOLD).try_into().unwrap_or(u64::MAX), "snapshot");
            reporter.warn(&format!("warning: {more} more of {schedule} kept for the same reasons"));
        }
        Ok(())
    }

    /// Why nothing may be deleted in this run, if something speaks against it.
    fn hold(
        &self,
        volume: &Volume<'_>,
        ends: &missing::Ends,
        inventory: &Inventory,
        now: Clock,
    ) -> Option<String> {
        if let Some(failed) = self.missing(volume, ends).failed {
            return Some(format!("{failed} in this run"));
        }
        if self.failure.is_some() {
            return Some("a snapshot could not be taken in this run".to_owned());
        }
        // Those that this run has made itself say nothing about a step before it.
        let made = |entry: &&Entry| self.made.contains(&entry.name.to_string());
        let older: Vec<Entry> = inventory.entries.iter().filter(|entry| !made(entry)).cloned().collect();
        clock::suspicion(self.begun, now, &older, self.earlier.last_record)
    }

    fn fail(&mut self, schedule: &str, step: Option<&Step>, error: &SnapshotError, reporter: &mut Reporter) {
        self.failure.get_or_insert(error.reason());
        reporter.tell(Body::Snapshot(Snapshot {
            schedule: schedule.to_owned(),
            action: SnapshotAction::Failed,
            name: step.map(|step| step.name.clone()),
            complete: step.map(|step| step.complete),
            missing: Vec::new(),
            message: Some(error.words()),
        }));
    }
}

fn entry<'a>(inventory: &'a Inventory, step: &Step) -> Option<&'a Entry> {
    inventory.entries.iter().find(|entry| entry.name.to_string() == step.name)
}

fn record(step: &Step, action: SnapshotAction) -> Body {
    Body::Snapshot(snapshot(step, action))
}

fn snapshot(step: &Step, action: SnapshotAction) -> Snapshot {
    Snapshot {
        schedule: step.schedule.clone(),
        action,
        name: Some(step.name.clone()),
        complete: Some(step.complete),
        missing: Vec::new(),
        message: Some(step.why.clone()),
    }
}

fn warn_of_nested(volume: &Volume<'_>, reporter: &mut Reporter) {
    match volume.nested() {
        Ok(paths) if paths.is_empty() => {}
        Ok(paths) => reporter.warn(&format!(
            "warning: snapshots do not hold what is in these nested subvolumes: {}; move the files to plain directories",
            some(&paths)
        )),
        Err(error) => reporter.warn(&format!("warning: cannot look for nested subvolumes: {error}")),
    }
}

fn warn_of_strangers(inventory: &Inventory, reporter: &mut Reporter) {
    if !inventory.strangers.is_empty() {
        reporter.warn(&format!(
            "warning: named like a snapshot, but no read-only snapshot of this volume, so left alone and not counted: {}",
            some(&inventory.strangers)
        ));
    }
}

/// The first of a list that may be long.
fn some(names: &[String]) -> String {
    let shown: Vec<_> =
        names.iter().take(MOST_TOLD).map(|name| backup_common::text::clean(name, 500)).collect();
    match names.len().saturating_sub(MOST_TOLD) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
