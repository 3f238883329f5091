//! What the plan alone tells: the scripts, the commands, the budget for deletions, the snapshots.

use std::fmt::Write;
use std::path::Path;

use backup_common::config::{Config, Host, PathJob, Scripts};
use backup_common::units;

use crate::command_line;
use crate::plan::HostPlan;
use crate::rsync::command::ENVIRONMENT;

/// The lines above everything.
pub fn heading() -> String {
    let variable = |(name, value): &(&str, &str)| format!("{name}={}", shell_words::quote(value));
    let environment: Vec<String> = ENVIRONMENT.iter().map(variable).collect();
    format!(
        "This is a dry run; it changes nothing.\nA backup would run these commands, with no other environment than {}:",
        environment.join(" ")
    )
}

/// What would be done for a host.
pub fn host(config: &Config, planned: &HostPlan<'_>) -> String {
    let host = planned.host;
    if !host.enabled {
        return format!("\n{}: skipped, it is switched off (enabled: false)\n", host.name);
    }
    let mut out = format!("\n{}\n", host.name);
    let around = Around { config, host, scripts: &host.scripts };
    out.push_str(&around.before("  "));
    for path in &planned.paths {
        out.push_str(&self::path(config, host, path.job, path.max_delete));
    }
    out.push_str(&around.after("  "));
    out
}

/// What would be done for a path.
pub fn path(config: &Config, host: &Host, job: &PathJob, max_delete: Option<u64>) -> String {
    let around = Around { config, host, scripts: &job.scripts };
    let mut out = format!("  {}\n", job.path);
    out.push_str(&around.before("    "));
    if let Some(required) = &job.require {
        let _ = writeln!(out, "    only if it holds {required}");
    }
    let _ = writeln!(out, "    {}", command_line::of_path(config, host, job, max_delete));
    out.push_str(&around.after("    "));
    let _ = match max_delete {
        Some(limit) => writeln!(out, "    may delete {} at most", units::counted(limit, "file")),
        None if backup_common::rsync_options::deletes(&job.rsync_options) => {
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
        self.lines(indent, "before", &[(true, &self.scripts.pre_local), (false, &self.scripts.pre)])
    }

    fn after(&self, indent: &str) -> String {
        self.lines(indent, "after", &[(false, &self.scripts.post), (true, &self.scripts.post_local)])
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
    shell_words::quote(&file.to_string_lossy()).into_owned()
}

/// What would be done about snapshots.
///
/// TO FILL IN: told from the configuration alone so far; once the snapshots of a volume are planned by a
/// function of their own, its steps (made, pruned, kept, and why) are printed here instead.
pub fn snapshot_steps(config: &Config) -> Vec<String> {
    let Some(snapshots) = &config.snapshots else { return Vec::new() };
    let when = if snapshots.before { "before" } else { "after" };
    let schedules = snapshots.schedules.iter().map(|schedule| {
        let kept = if schedule.count == 0 { "all".to_owned() } else { schedule.count.to_string() };
        let interval = units::duration(schedule.interval.as_secs_f64());
        format!("  {}: one every {interval}, {kept} complete ones kept", schedule.tag)
    });
    let heading = format!(
        "\nsnapshots: of {} in {}, {when} the transfers",
        snapshots.volume.display(),
        snapshots.directory.display()
    );
    std::iter::once(heading).chain(schedules).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;

    use super::*;
    use crate::plan::PathPlan;

    #[test]
    fn the_plan_is_shown_as_recorded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dry_run");
        let text = fs::read_to_string(format!("{folder}/config.yaml")).expect("the golden config is there");
        let config = Config::parse(&text).expect("the golden config is right").config;
        let mut found = String::new();
        let budgets = HashMap::from([("/etc", Some(50)), ("/var/www", Some(1)), ("/srv/a b", None)]);
        for host in &config.hosts {
            let paths = host
                .paths
                .iter()
                .map(|job| PathPlan { job, max_delete: budgets.get(job.path.as_str()).copied().flatten() });
            found.push_str(&super::host(&config, &HostPlan { host, paths: paths.collect() }));
        }
        found.push_str(&snapshot_steps(&config).join("\n"));
        found.push('\n');
        let golden = format!("{folder}/expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("can write the golden file");
        }
        assert_eq!(found, fs::read_to_string(golden).expect("the golden file is there"));
    }
}
