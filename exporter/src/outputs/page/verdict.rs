//! Whether everything is backed up, in one sentence, and what else a person should look at.

use backup_common::status::Status;
use backup_common::units;
use jiff::Timestamp;

use super::standing::{Counts, Standing, allowed_seconds, backed_up};
use super::words;
use crate::event::Input;
use crate::outputs::verdict::overdue_seconds;
use crate::state::{Messages, Notice, Phase, State};

/// Paths that are named in the sentence.
const NAMED: usize = 3;
/// Age of a waiting point from which the push is in trouble; the alert on it allows the same order.
const PUSH_SECONDS: f64 = 900.0;

/// How things are, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// All is well.
    Good,
    /// Nothing can be said yet.
    Unknown,
    /// In the backup, and somebody should look some time.
    Warning,
    /// Something is not in the backup, or nobody would know.
    Bad,
}

impl Tone {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of all that follows.
    pub tone: Tone,
    /// About the paths, in a sentence.
    pub headline: String,
    /// What else there is, the worst first.
    pub concerns: Vec<Concern>,
}

/// Something that is not about a single path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// How bad it is.
    pub tone: Tone,
    /// What it is.
    pub text: String,
    /// What was said about it.
    pub messages: Messages,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl Concern {
    fn new(tone: Tone, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { tone, text: text.into(), messages: Messages::default(), remedy: remedy.into() }
    }

    fn saying(self, messages: Messages) -> Self {
        Self { messages, ..self }
    }
}

impl Verdict {
    /// What can be said of a state at a time.
    pub fn of(state: &State, now: Timestamp) -> Self {
        let paths = Paths::of(state, now);
        let mut concerns = Vec::new();
        concerns.extend(overdue(state, now));
        concerns.extend(run(state, &paths.counts));
        concerns.extend(refused(state, now));
        concerns.extend(inputs(state));
        if !state.config_is_current() {
            concerns.push(Concern::new(
                Tone::Warning,
                "The configuration has errors; the exporter goes on with the one before.",
                "backup-runner --check-config lists them all with their lines.",
            ));
        }
        concerns.extend(push(state, now));
        concerns.extend(snapshots(state));
        concerns.extend(sizes(state, now));
        concerns.extend(notices(state));
        concerns.sort_by_key(|concern| std::cmp::Reverse(concern.tone));
        let (tone, headline) = paths.headline(state, now);
        let tone = concerns.iter().map(|concern| concern.tone).fold(tone, Tone::max);
        Self { tone, headline, concerns }
    }
}

/// All configured paths.
struct Paths {
    counts: Counts,
    /// The first ones that are bad, with how they stand.
    bad: Vec<(String, Standing)>,
    /// The oldest of the newest good copies, of what is not bad and not skipped.
    oldest: Option<Timestamp>,
}

impl Paths {
    fn of(state: &State, now: Timestamp) -> Self {
        let allowed = allowed_seconds(state);
        let mut paths = Self { counts: Counts::default(), bad: Vec::new(), oldest: None };
        for (host, path, value) in
            state.hosts().flat_map(|(name, host)| host.paths().map(move |(path, value)| (name, path, value)))
        {
            let standing = Standing::of(value, now, allowed);
            paths.counts.add(standing, value.phase());
            if standing.is_bad() {
                paths.bad.push((format!("{} {}", words::name(host), words::name(path)), standing));
                // Enough of them, or 10,000 names would be made to throw them away again.
                if paths.bad.len() > 4 * NAMED {
                    paths.bad.sort_by_key(|(_, standing)| *standing);
                    paths.bad.truncate(NAMED);
                }
            } else if standing != Standing::Skipped {
                let time = backed_up(value);
                paths.oldest = paths.oldest.into_iter().chain(time).min();
            }
        }
        paths.bad.sort_by_key(|(_, standing)| *standing);
        paths.bad.truncate(NAMED);
        paths
    }

    fn headline(&self, state: &State, now: Timestamp) -> (Tone, String) {
        let (all, bad) = (self.counts.all(), self.counts.bad());
        if !state.has_caught_up() {
            return (
                Tone::Unknown,
                "The exporter is still reading the log; what is shown is not complete yet.".to_owned(),
            );
        }
        if all == 0 {
            return (Tone::Unknown, "No path is configured, so nothing is backed up.".to_owned());
        }
        if self.counts.of(Standing::Never) == all {
            let (tone, text) = match state.run().phase {
                Phase::Running => (Tone::Unknown, "The first backup is running; nothing is backed up yet."),
                Phase::Never => (Tone::Unknown, "Nothing is backed up yet: no run is recorded."),
                Phase::Ended(Status::Success) => (Tone::Unknown, "No record tells of single paths."),
                Phase::Ended(_) => (Tone::Bad, "Nothing is backed up yet."),
            };
            return (tone, text.to_owned());
        }
        if bad > 0 {
            let names: Vec<&str> = self.bad.iter().map(|(name, _)| name.as_str()).collect();
            let more = bad - names.len();
            let more =
                if more > 0 { format!(" and {} more", units::grouped(more as u64)) } else { String::new() };
            let text = format!(
                "{} of {} {} not up to date: {}{more}.",
                units::grouped(bad as u64),
                paths(all),
                words::are(bad),
                names.join(", ")
            );
            return (Tone::Bad, text);
        }
        let (skipped, warning) = (self.counts.of(Standing::Skipped), self.counts.of(Standing::Warning));
        let done = all - skipped;
        let mut text = match (skipped, all) {
            (0, 1) => "The one path was backed up".to_owned(),
            (0, _) => format!("All {} were backed up", paths(all)),
            _ if done == 0 => return (Tone::Warning, format!("All {} were skipped.", paths(all))),
            _ => {
                let were = if done == 1 { "was" } else { "were" };
                format!("{} of {} {were} backed up", units::grouped(done as u64), paths(all))
            }
        };
        if let Some(oldest) = self.oldest {
            text += " in the last ";
            text += &words::within(words::age_seconds(oldest, now));
        }
        if warning > 0 {
            text = format!("{text}, {} with warnings", units::grouped(warning as u64));
        }
        if skipped > 0 {
            let were = if skipped == 1 { "was" } else { "were" };
            text = format!("{text}; {} {were} skipped", units::grouped(skipped as u64));
        }
        let tone = if warning + skipped > 0 { Tone::Warning } else { Tone::Good };
        (tone, text + ".")
    }
}

fn paths(count: usize) -> String {
    units::counted(count as u64, "path")
}

fn overdue(state: &State, now: Timestamp) -> Option<Concern> {
    let late = overdue_seconds(state, now)?;
    Some(Concern::new(
        Tone::Bad,
        format!("A run is overdue by {}.", units::duration(late)),
        "Look at systemctl list-timers backup.timer and systemctl status backup.service.",
    ))
}

/// A run that failed as a whole: what its paths tell is said there.
fn run(state: &State, counts: &Counts) -> Option<Concern> {
    let run = state.run();
    let Phase::Ended(status @ (Status::Failed | Status::Warning)) = run.phase else { return None };
    let told = match status {
        Status::Failed => counts.of(Standing::Failed) > 0,
        _ => counts.of(Standing::Warning) + counts.of(Standing::Skipped) + counts.of(Standing::Failed) > 0,
    };
    let reason = run.reason.filter(|_| !told)?;
    let (tone, how) = match status {
        Status::Failed => (Tone::Bad, "failed"),
        _ => (Tone::Warning, "ended with a warning"),
    };
    Some(Concern::new(tone, format!("The last run {how}. {}", reason.cause()), reason.remedy()))
}

fn refused(state: &State, now: Timestamp) -> Option<Concern> {
    let run = state.run();
    let time = run.last_refused.filter(|&refused| run.last_start.is_none_or(|start| start < refused))?;
    let reason = run.refused_reason?;
    let text = format!("A run was refused {}. {}", words::relative(time, now), reason.cause());
    Some(Concern::new(Tone::Warning, text, reason.remedy()).saying(run.refused_message.clone()))
}

fn inputs(state: &State) -> Vec<Concern> {
    let down = state.inputs().filter(|(_, health)| health.caught_up && !health.up);
    down.map(|(input, _)| {
        let (tone, text, remedy) = match input {
            Input::Stats => (
                Tone::Bad,
                "The stats log can not be read; what is shown may be old.",
                "Check --stats.file and its permissions, and whether a run has ever written it.",
            ),
            Input::Journal => (
                Tone::Warning,
                "The journal can not be read: a run that is killed shows only when the next one starts.",
                "Put the user of the exporter into the group systemd-journal.",
            ),
            Input::Timer => (
                Tone::Warning,
                "No timer is found, so nobody can say whether a run is overdue.",
                "Enable it with systemctl enable --now backup.timer, or name yours with --timer.",
            ),
            Input::Snapshots => (
                Tone::Warning,
                "The directory of the snapshots can not be read.",
                "Check that the volume is mounted, and that the exporter may read the directory.",
            ),
        };
        Concern::new(tone, text, remedy)
    })
    .collect()
}

fn push(state: &State, now: Timestamp) -> Option<Concern> {
    let push = state.push()?;
    let waiting = words::age_seconds(push.oldest?, now);
    (waiting > PUSH_SECONDS).then(|| {
        let text = format!(
            "InfluxDB has not taken what happened {} ago; {} wait on disk.",
            units::duration(waiting),
            units::bytes(push.outbox_bytes)
        );
        Concern::new(Tone::Warning, text, "Run backup-metrics --test-influxdb.")
    })
}

fn snapshots(state: &State) -> Vec<Concern> {
    let troubled = state.snapshots().schedules();
    troubled
        .filter_map(|(tag, schedule)| {
            let text =
                format!("A snapshot of the schedule {} could not be taken or deleted.", words::name(tag));
            let remedy = "Look at journalctl -t backup-runner for the whole message.";
            Some(Concern::new(Tone::Warning, text, remedy).saying(schedule.trouble?))
        })
        .collect()
}

fn sizes(state: &State, now: Timestamp) -> Option<Concern> {
    let scan = state.sizes().scan.filter(|scan| scan.status != Status::Success)?;
    Some(Concern::new(
        Tone::Warning,
        format!("Not every directory could be measured {}.", words::relative(scan.time, now)),
        "The hosts below say which; docs/sizes.md says what is needed.",
    ))
}

fn notices(state: &State) -> Vec<Concern> {
    let standing = |notice: &Notice| state.run().history.has(*notice);
    let mut found: Vec<Concern> = Notice::ALL
        .into_iter()
        .filter(standing)
        .map(|notice| {
            Concern::new(Tone::Warning, format!("About the last run: {}", words::notice(notice)), "")
        })
        .collect();
    let unusual = |path: &crate::state::Path| Notice::ALL.iter().any(|&notice| path.history.has(notice));
    let paths = state.hosts().flat_map(|(_, host)| host.paths()).filter(|(_, path)| unusual(path)).count();
    if paths > 0 {
        let text = format!(
            "{} {} unusual in the last run; the list below says how.",
            self::paths(paths),
            words::are(paths)
        );
        found.push(Concern::new(Tone::Warning, text, "docs/notices.md has the rules."));
    }
    found
}
