//! The configuration as it lies on the disk: its own file, and those that it names.

use std::collections::BTreeSet;
use std::path::Path;

use backup_common::config::{Checked, Config, Host};
use backup_common::error_chain::ErrorChain;
use backup_common::units;

use crate::hooks::Library;
use crate::trust;

/// Reads the text of the configuration; what stands in it runs as root.
pub fn read_text(path: &Path) -> Result<String, String> {
    let bytes = trust::read(path).map_err(|error| ErrorChain(&error).to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        format!(
            "cannot read {}: it is not UTF-8 at byte {}",
            path.display(),
            error.utf8_error().valid_up_to()
        )
    })
}

/// Reads and checks the configuration; the error is the whole text for the user.
pub fn read(path: &Path) -> Result<Checked, String> {
    let name = path.display();
    Config::parse(&read_text(path)?).map_err(|problems| {
        let lines: Vec<String> = problems.errors.iter().map(|problem| format!("{name}: {problem}")).collect();
        let count = units::counted(lines.len().try_into().unwrap_or(u64::MAX), "error");
        format!("{}\n{count} in {name}; nothing was touched", lines.join("\n"))
    })
}

/// The files that the configuration names for these hosts: their scripts, which are read, and their exclude
/// files, which rsync will read and which are checked. The problems are lines for people.
pub fn named_files<'a, I: Iterator<Item = &'a Host>>(
    config: &Config,
    hosts: impl Fn() -> I,
) -> Result<Library, Vec<String>> {
    let library = Library::load(&config.scripts_dir, hosts());
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let of_host = |host: &'a Host| host.paths.iter().map(move |job| (host, job));
    for (host, job) in hosts().filter(|host| host.enabled).flat_map(of_host) {
        if let Some(file) = job.settings.exclude_file.as_ref().filter(|file| seen.insert(*file))
            && let Err(error) = trust::check(file)
        {
            problems.push(format!("{}.exclude_file: {}", host.key_of(job), ErrorChain(&error)));
        }
    }
    match library {
        Ok(library) if problems.is_empty() => Ok(library),
        Ok(_) => Err(problems),
        Err(mut first) => {
            first.append(&mut problems);
            Err(first)
        }
    }
}
