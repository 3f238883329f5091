//! A timer's unit file with its drop-ins, for machines on which no systemd answers.
//!
//! See systemd.unit(5) for the search path, systemd.timer(5) for the settings and systemd.syntax(7) for
//! the syntax.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::schedule::{Plan, time_span};

/// systemd's default for `AccuracySec=`.
const ACCURACY: Duration = Duration::from_secs(60);

/// Why there is no timer.
#[derive(Debug, thiserror::Error)]
pub enum UnitFileError {
    /// No directory of the search path has it.
    #[error("cannot find {0} in the directories of systemd")]
    NotFound(String),
    /// It is switched off by a link to `/dev/null`, or an empty file.
    #[error("cannot use {}: it is masked", .0.display())]
    Masked(PathBuf),
    /// It, or a drop-in, can not be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
}

/// What a unit file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Its calendar expressions.
    pub calendars: Vec<String>,
    /// What else it says; the calendars are not read yet.
    pub plan: Plan,
}

/// Edge: the text of the unit file and of each drop-in, in the order in which they apply.
pub fn read(unit: &str, search: &[PathBuf]) -> Result<Vec<String>, UnitFileError> {
    let names = [Some(unit.to_owned()), template(unit)];
    let file =
        names.iter().flatten().flat_map(|name| search.iter().map(move |directory| directory.join(name)));
    let file = file.into_iter().find(|file| file.exists());
    let file = file.ok_or_else(|| UnitFileError::NotFound(unit.to_owned()))?;
    let text = read_file(&file)?;
    if text.is_empty() {
        return Err(UnitFileError::Masked(file));
    }
    let mut texts = vec![text];
    for drop_in in drop_ins(unit, search).values() {
        texts.push(read_file(drop_in)?);
    }
    Ok(texts)
}

fn read_file(file: &Path) -> Result<String, UnitFileError> {
    let bytes = fs::read(file).map_err(|error| UnitFileError::Read(file.to_owned(), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `a@.timer` of `a@b.timer`.
fn template(unit: &str) -> Option<String> {
    let (name, kind) = unit.rsplit_once('.')?;
    let (prefix, _) = name.split_once('@')?;
    Some(format!("{prefix}@.{kind}"))
}

/// By file name, which orders them; a file of a more special or earlier directory hides one of the
/// same name.
fn drop_ins(unit: &str, search: &[PathBuf]) -> BTreeMap<std::ffi::OsString, PathBuf> {
    let mut found = BTreeMap::new();
    for name in drop_in_directories(unit) {
        for directory in search {
            let entries = fs::read_dir(directory.join(&name)).into_iter().flatten().flatten();
            for file in entries.map(|entry| entry.path()) {
                if file.extension().is_some_and(|extension| extension == "conf") {
                    let name = file.file_name().unwrap_or_default().to_owned();
                    found.entry(name).or_insert(file);
                }
            }
        }
    }
    found
}

/// `a-b.timer.d`, `a-.timer.d`, `timer.d`: from the special to the general.
fn drop_in_directories(unit: &str) -> Vec<String> {
    let (name, kind) = unit.rsplit_once('.').unwrap_or((unit, "timer"));
    let mut directories = vec![format!("{unit}.d")];
    directories.extend(template(unit).map(|template| format!("{template}.d")));
    let dashes = name.char_indices().rev().filter(|&(at, c)| c == '-' && at + 1 < name.len());
    directories.extend(dashes.map(|(at, _)| format!("{}-.{kind}.d", &name[..at])));
    directories.push(format!("{kind}.d"));
    directories
}

/// Pure: the settings of all texts together.
pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Settings {
    let mut settings =
        Settings { plan: Plan { accuracy: ACCURACY, ..Plan::default() }, ..Settings::default() };
    let (mut delay, mut fixed) = (Duration::ZERO, false);
    for text in texts {
        for (name, value) in timer_section(text) {
            match name.as_str() {
                "OnCalendar" | "OnUnitActiveSec" | "OnUnitInactiveSec" | "OnActiveSec" | "OnBootSec"
                | "OnStartupSec"
                    if value.is_empty() =>
                {
                    // An empty one of them takes all of them back.
                    settings.calendars.clear();
                    settings.plan.repeats.clear();
                }
                "OnCalendar" => settings.calendars.push(value),
                "OnUnitActiveSec" | "OnUnitInactiveSec" => {
                    settings.plan.repeats.extend(time_span::parse(&value));
                }
                "RandomizedDelaySec" => delay = time_span::parse(&value).unwrap_or(delay),
                "AccuracySec" => {
                    settings.plan.accuracy = time_span::parse(&value).unwrap_or(settings.plan.accuracy);
                }
                "FixedRandomDelay" => fixed = is_true(&value),
                _ => {}
            }
        }
    }
    settings.plan.randomized_delay = if fixed { Duration::ZERO } else { delay };
    settings
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
}

/// The settings of the section `[Timer]`, in their order.
fn timer_section(text: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut within = false;
    let mut begun = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
            begun.push(' ');
            continue;
        }
        let line = std::mem::take(&mut begun) + line;
        if line.starts_with('[') {
            within = line == "[Timer]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| within) {
            settings.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn settings() {
        let unit = "[Unit]\nDescription=x\nOnCalendar=not here\n[Timer]\n# OnCalendar=comment\n OnCalendar = *-*-* \\\n   02:00\nOnCalendar=Sun 05:00\nRandomizedDelaySec=10min\nOnUnitActiveSec=1d\nOnBootSec=5min\n[Install]\nWantedBy=timers.target\n";
        let found = parse([unit]);
        assert_eq!(found.calendars, ["*-*-*  02:00", "Sun 05:00"]);
        assert_eq!(found.plan.repeats, [Duration::from_secs(86_400)]);
        assert_eq!((found.plan.randomized_delay.as_secs(), found.plan.accuracy.as_secs()), (600, 60));
        let changed =
            parse([unit, "[Timer]\nOnBootSec=\nOnCalendar=daily\nFixedRandomDelay=yes\nAccuracySec=1h\n"]);
        assert_eq!(changed.calendars, ["daily"]);
        assert!(changed.plan.repeats.is_empty());
        assert_eq!((changed.plan.randomized_delay.as_secs(), changed.plan.accuracy.as_secs()), (0, 3600));
    }

    #[test]
    fn search_path_and_drop_ins() {
        let root = tempfile::tempdir().unwrap();
        let search = [root.path().join("etc"), root.path().join("lib")];
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        assert!(matches!(read("backup.timer", &search), Err(UnitFileError::NotFound(_))));
        write("lib/backup.timer", "lib");
        assert_eq!(read("backup.timer", &search).unwrap(), ["lib"]);
        write("etc/backup.timer", "etc");
        write("lib/backup.timer.d/20.conf", "lib 20");
        write("etc/backup.timer.d/10.conf", "etc 10");
        write("lib/backup.timer.d/10.conf", "hidden");
        write("etc/backup.timer.d/30.txt", "no drop-in");
        write("lib/timer.d/15.conf", "all timers");
        write("lib/timer.d/20.conf", "hidden too");
        assert_eq!(read("backup.timer", &search).unwrap(), ["etc", "etc 10", "all timers", "lib 20"]);
        fs::remove_file(root.path().join("etc/backup.timer")).unwrap();
        symlink("/dev/null", root.path().join("etc/backup.timer")).unwrap();
        assert!(matches!(read("backup.timer", &search), Err(UnitFileError::Masked(_))));
        write("lib/host@.timer", "template");
        assert_eq!(read("host@a.timer", &search).unwrap()[0], "template");
        write("lib/night-.timer.d/1.conf", "prefix");
        write("lib/night-run.timer", "night");
        assert_eq!(read("night-run.timer", &search).unwrap()[..2], ["night", "prefix"]);
    }
}
