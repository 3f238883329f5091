//! Edge: looks at the timer that starts the runs, each minute and after each run.
//!
//! systemd is asked first. Where none answers, as in a container, the timer's unit file tells the same but
//! for the next run. Where neither is there, nothing is sent, and the runs themselves tell how often they
//! come. Nothing here can take longer than the tools' deadline, and no scrape waits for it.

pub mod analyze;
pub mod bus;
pub mod command;
pub mod unit_file;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::event::{Event, Input};
use crate::schedule::calendar::Calendar;
use crate::schedule::{Plan, Schedule, Source, Times};
use bus::{AnswerError, Clock, Seen};
use command::CommandError;
use unit_file::{Settings, UnitFileError};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(60);
/// The same for a while after a run told of its end and its service is not over yet: only then systemd knows
/// the next time.
const SHORT_PERIOD: Duration = Duration::from_secs(5);
/// Looks with the short period.
const SHORT_PERIODS: u32 = 12;
/// Times that are asked for of an expression that only systemd can read.
const ITERATIONS: &str = "--iterations=400";

/// The timer to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name, such as `backup.timer`.
    pub unit: String,
    /// Its unit file is in this directory, and systemd is not asked.
    pub directory: Option<PathBuf>,
}

impl Timer {
    /// Reads the name of a timer, with or without `.timer`, or the path of a unit file.
    ///
    /// The name can be no option of a tool and nothing but a file name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (directory, name) = match text.rsplit_once('/') {
            Some((directory, name)) => (Some(PathBuf::from(format!("{directory}/"))), name),
            None => (None, text),
        };
        let unit = format!("{}.timer", name.strip_suffix(".timer").unwrap_or(name));
        let plain = unit
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@'));
        if !plain || unit.starts_with(['-', '.']) || unit.len() > 255 {
            return Err(
                "expected the name of a timer, such as backup.timer, or the path of its file".to_owned()
            );
        }
        Ok(Self { unit, directory })
    }
}

/// Looks at the timer until nobody receives its events any more; a message on `wake` makes it look at
/// once.
///
/// It blocks, so it wants a thread of its own.
pub fn run(timer: &Timer, search: &[PathBuf], wake: &Receiver<()>, events: &mpsc::Sender<Vec<Event>>) {
    let mut reader = Reader::default();
    let mut last = None;
    let mut trouble = String::new();
    let mut short = 0;
    while !events.is_closed() {
        let look = look(timer, search, &mut reader);
        let is_running = matches!(look, Ok((_, true)));
        let period = if is_running && short > 0 { SHORT_PERIOD } else { PERIOD };
        let seen = look.map(|(schedule, _)| schedule);
        tell(timer, &seen, &mut trouble);
        let health = if seen.is_ok() { Event::InputUp } else { Event::InputDown };
        let found = (seen.is_ok(), seen.ok().flatten());
        if last.as_ref() != Some(&found) {
            let batch =
                vec![health(Input::Timer), Event::Scheduled(found.1.clone()), Event::CaughtUp(Input::Timer)];
            // A closed channel ends the loop at its next turn.
            let _ = events.blocking_send(batch);
            last = Some(found);
        }
        short = match wake.recv_timeout(period) {
            Ok(()) => SHORT_PERIODS,
            Err(RecvTimeoutError::Timeout) => short.saturating_sub(1),
            Err(RecvTimeoutError::Disconnected) => break,
        };
    }
}

/// Why nothing is known about the timer.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    UnitFile(#[from] UnitFileError),
}

/// The timer, if there is one, and whether its service runs.
fn look(
    timer: &Timer,
    search: &[PathBuf],
    reader: &mut Reader,
) -> Result<(Option<Schedule>, bool), LookError> {
    let local = TimeZone::system();
    if timer.directory.is_none() {
        match ask(&timer.unit) {
            Ok(seen) if seen.loaded => {
                let clock = Clock { now: Timestamp::now(), monotonic: monotonic() };
                let (plan, interval) = reader.read(&seen.calendars, &seen.plan, clock.now, &local);
                return Ok((Some(seen.schedule(plan, interval, clock, &local)), seen.running));
            }
            Ok(_) => return Ok((None, false)),
            Err(error) => debug!(error = %ErrorChain(&error), "systemd does not answer"),
        }
    }
    let own: Vec<_> = timer.directory.iter().cloned().collect();
    let search = if own.is_empty() { search } else { &own };
    let texts = unit_file::read(&timer.unit, search)?;
    let Settings { calendars, plan } = unit_file::parse(texts.iter().map(String::as_str));
    let now = Timestamp::now();
    let (plan, interval) = reader.read(&calendars, &plan, now, &local);
    let next_run = plan.next_after(now, &local);
    Ok((Some(Schedule { source: Source::Configured, interval, next_run, last_trigger: None }), false))
}

fn ask(unit: &str) -> Result<Seen, LookError> {
    const BUSCTL: [&str; 3] = ["--system", "--json=short", "--timeout=4"];
    let object = bus::object_path(unit);
    let unit_interface = format!("{}.Unit", bus::SERVICE);
    let timer_interface = format!("{}.Timer", bus::SERVICE);
    let mut properties = BUSCTL.to_vec();
    properties.extend(["get-property", bus::SERVICE, &object, &unit_interface]);
    properties.extend(bus::UNIT_PROPERTIES);
    let mut all = BUSCTL.to_vec();
    all.extend([
        "call",
        bus::SERVICE,
        &object,
        "org.freedesktop.DBus.Properties",
        "GetAll",
        "s",
        &timer_interface,
    ]);
    let printed = command::output("busctl", &properties)? + &command::output("busctl", &all)?;
    Ok(bus::parse(&printed)?)
}

fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

/// Says once what changed.
fn tell(timer: &Timer, seen: &Result<Option<Schedule>, LookError>, trouble: &mut String) {
    let now = match seen {
        Ok(Some(_)) => "found".to_owned(),
        Ok(None) => "systemd has no such timer".to_owned(),
        Err(error) => ErrorChain(error).to_string(),
    };
    if now == *trouble {
        return;
    }
    if let Ok(Some(Schedule { source, interval, .. })) = seen {
        let interval = interval.map_or_else(|| "none".to_owned(), |interval| format!("{interval:?}"));
        info!(timer = timer.unit, source = source.name(), interval, "watching the timer");
    } else {
        warn!(timer = timer.unit, reason = now, "no timer; the interval is taken from the runs");
    }
    *trouble = now;
}

/// Reads calendars, and again only when they change or a day is over: gaps are looked for more than a
/// year ahead.
#[derive(Default)]
struct Reader {
    of: Option<(Vec<String>, Plan, TimeZone, Date)>,
    plan: Plan,
    interval: Option<Duration>,
}

impl Reader {
    fn read(
        &mut self,
        calendars: &[String],
        plan: &Plan,
        now: Timestamp,
        local: &TimeZone,
    ) -> (&Plan, Option<Duration>) {
        let of = Some((calendars.to_vec(), plan.clone(), local.clone(), local.to_datetime(now).date()));
        if of != self.of {
            let times: Option<Vec<_>> = calendars.iter().map(|text| read_calendar(text)).collect();
            // With one that can not be read the others would tell of a gap that may not be there.
            self.plan = times.map_or_else(Plan::default, |calendars| Plan { calendars, ..plan.clone() });
            self.interval = self.plan.interval(now, local);
            self.of = of;
        }
        (&self.plan, self.interval)
    }
}

fn read_calendar(text: &str) -> Option<Times> {
    let error = match Calendar::parse(text) {
        Ok(calendar) => return Some(Times::Calendar(calendar)),
        Err(error) => error,
    };
    // A form of a later systemd, or a time zone that is known to it alone.
    let printed = command::output("systemd-analyze", &["calendar", ITERATIONS, "--", text]);
    let times = printed.map(|printed| analyze::times(&printed)).unwrap_or_default();
    if times.is_empty() {
        warn!(%error, "the interval is taken from the runs");
        return None;
    }
    Some(Times::Listed(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_timers() {
        let named = |unit: &str| Timer { unit: unit.to_owned(), directory: None };
        assert_eq!(Timer::parse("backup.timer"), Ok(named("backup.timer")));
        assert_eq!(Timer::parse("backup"), Ok(named("backup.timer")));
        assert_eq!(Timer::parse("a@b-1.timer"), Ok(named("a@b-1.timer")));
        let file = Timer { unit: "x.timer".to_owned(), directory: Some("/etc/y/".into()) };
        assert_eq!(Timer::parse("/etc/y/x.timer"), Ok(file));
        for bad in ["-x.timer", "", "a b.timer", "..", "a\n.timer", "/etc/-x.timer", "ä.timer"] {
            assert!(Timer::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_unit_file_without_systemd() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.timer");
        std::fs::write(
            &file,
            "[Timer]\nOnCalendar=hourly UTC\nOnCalendar=*:30 UTC\nRandomizedDelaySec=5min\n",
        )
        .unwrap();
        let timer = Timer::parse(file.to_str().unwrap()).unwrap();
        let (schedule, running) = look(&timer, &[], &mut Reader::default()).unwrap();
        let schedule = schedule.unwrap();
        assert_eq!(
            (schedule.source, schedule.interval, running),
            (Source::Configured, Some(Duration::from_secs(2100)), false)
        );
        assert!(schedule.next_run.unwrap() > Timestamp::now());
        std::fs::remove_file(&file).unwrap();
        let missing = look(&timer, &[], &mut Reader::default()).unwrap_err();
        assert!(missing.to_string().contains("cannot find x.timer"), "{missing}");
    }
}
