//! What the plan alone tells: the scripts, the commands, the budget for deletions, the snapshots.

use std::fmt::Write;
use std::path::Path;

use backup_common::config::{Config, Host, PathJob, Scripts};
use backup_common::units;

use crate::command_line::{self, quote};
use crate::destination::Base;
use crate::plan::PathPlan;
use crate::rsync::command::{ENVIRONMENT, ONLY_DELETES, Request};
use crate::snapshots;

/// The lines above everything.
pub fn heading() -> String {
    let variable = |(name, value): &(&str, &str)| format!("{name}={}", quote(value));
    let environment: Vec<String> = ENVIRONMENT.iter().map(variable).collect();
    format!(
        "This is a dry run; it changes nothing.\nA backup would run these commands, with no other environment than {}:",
        environment.join(" ")
    )
}

/// What would be done for a host.
pub fn host<'a>(
    config: &Config,
    host: &Host,
    paths: impl IntoIterator<Item = PathPlan<'a>>,
    escapes_names: bool,
) -> String {
    if !host.enabled {
        return format!("\n{}: skipped, it is switched off (enabled: false)\n", host.name);
    }
    let mut out = format!("\n{}\n", host.name);
    let around = Around { config, host, scripts: &host.scripts };
    out.push_str(&around.before("  "));
    for path in paths {
        out.push_str(&self::path(config, host, path.job, path.request(escapes_names)));
    }
    out.push_str(&around.after("  "));
    out
}

/// What would be done for a path.
pub fn path(config: &Config, host: &Host, job: &PathJob, request: Request) -> String {
    let around = Around { config, host, scripts: &job.settings.scripts };
    let mut out = format!("  {}\n", job.path);
    out.push_str(&around.before("    "));
    if let Some(required) = &job.settings.require {
        let _ = writeln!(out, "    only if it holds {required}");
    }
    let _ = writeln!(out, "    {}", command_line::of_path(&config.backup_base, host, job, request));
    out.push_str(&around.after("    "));
    let _ = match request.max_delete {
        Some(limit) => {
            let _ = write!(out, "    may delete {} at most", units::counted(limit, "file"));
            match request.deletion() {
                Some(_) => {
                    writeln!(out, ", by a second call with {} --max-delete={limit}", ONLY_DELETES.join(" "))
                }
                None => writeln!(out),
            }
        }
        None if backup_common::rsync_options::deletes(&job.settings.rsync_options) => {
            writeln!(out, "    may delete any number of files")
        }
        None => writeln!(out, "    deletes nothing (no --delete)"),
    };
    out
}

/// The scripts around a host or a path.
struct Around<'a> {
    config: &'a Config,
    host: &'a Host,
    scripts: &'a Scripts,
}

impl Around<'_> {
    fn before(&self, indent: &str) -> String {
        self.lines(indent, "before", &[(false, &self.scripts.pre), (true, &self.scripts.pre_local)])
    }

    fn after(&self, indent: &str) -> String {
        self.lines(indent, "after", &[(true, &self.scripts.post_local), (false, &self.scripts.post)])
    }

    fn lines(&self, indent: &str, when: &str, scripts: &[(bool, &Option<String>)]) -> String {
        let mut out = String::new();
        for (here, script) in scripts {
            let Some(script) = script else { continue };
            let file = self.config.scripts_dir.join(format!("{script}.sh"));
            let place = if *here || self.host.access.ssh().is_none() {
                "here".to_owned()
            } else {
                format!("on {} by ssh", self.host.name)
            };
            let _ = writeln!(out, "{indent}runs {when}, {place}: {}", quoted(&file));
        }
        out
    }
}

fn quoted(file: &Path) -> String {
    quote(&file.to_string_lossy()).into_owned()
}

/// What would be done about snapshots, if every path were successful.
pub fn snapshot_steps(config: &Config, base: &Base) -> Vec<String> {
    let Some(settings) = &config.snapshots else { return Vec::new() };
    let mut lines =
        vec![format!("\nsnapshots of {}, if every path is successful", settings.volume.display())];
    match snapshots::preview(config, base) {
        Ok(steps) if steps.is_empty() => lines.push("  nothing to do".to_owned()),
        Ok(steps) => lines.extend(steps.iter().map(|step| format!("  would {step}"))),
        Err(error) => lines.push(format!("  would fail: {}", error.words())),
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;

    use super::*;
    use crate::rsync::command::Step;

    #[test]
    fn the_plan_is_shown_as_recorded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dry_run");
        let text = fs::read_to_string(format!("{folder}/config.yaml")).expect("the golden config is there");
        let config = Config::parse(&text).expect("the golden config is right").config;
        let mut found = String::new();
        let budgets = HashMap::from([("/etc", Some(50)), ("/var/www", Some(1)), ("/srv/a b", None)]);
        for host in &config.hosts {
            let paths = host.paths.iter().map(|job| PathPlan {
                job,
                max_delete: budgets.get(&*job.path).copied().flatten(),
                held_files: true,
                step: if *job.path == *"/etc" { Step::Transfer } else { Step::Whole },
            });
            found.push_str(&super::host(&config, host, paths, true));
        }
        let golden = format!("{folder}/expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("can write the golden file");
        }
        assert_eq!(found, fs::read_to_string(golden).expect("the golden file is there"));
    }
}
