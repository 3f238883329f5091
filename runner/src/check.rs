//! `--check-config` and `--print-schema`: what can be said of a configuration without touching anything else.

use std::path::Path;
use std::process::ExitCode;

use backup_common::config::{Checked, Config};
use backup_common::config_schema;
use backup_common::effective_config::{Part, effective};
use backup_common::problems::{Problem, Problems};
use serde::Serialize;

use crate::cli::Cli;
use crate::{exit_code, print, run};

/// Prints the JSON Schema of the configuration.
pub fn print_schema() -> ExitCode {
    print::line(&pretty(&config_schema::schema()));
    exit_code::SUCCESS.into()
}

/// Reports all problems of a configuration, and with `--verbose` or `--json` what counts in the end.
pub fn check_config(file: &Path, cli: &Cli) -> ExitCode {
    if cli.json {
        return check_for_machines(file);
    }
    let checked = match run::read_config(file) {
        Ok(checked) => checked,
        Err(problems) => {
            print::error_line(&problems);
            return exit_code::CONFIG.into();
        }
    };
    for warning in &checked.warnings {
        print::error_line(&format!("warning: {warning}"));
    }
    let (_, problems) = run::outside_files(&checked.config, || checked.config.hosts.iter());
    if !problems.is_empty() {
        for problem in &problems {
            print::error_line(problem);
        }
        return exit_code::CONFIG.into();
    }
    if cli.verbose {
        print::line(effective(&checked.config).to_yaml().trim_end());
        // Standard output is the configuration alone, to be kept or compared.
        print::error_line(&summary(&checked));
    } else {
        print::line(&summary(&checked));
    }
    exit_code::SUCCESS.into()
}

fn summary(checked: &Checked) -> String {
    let paths: usize = checked.config.hosts.iter().map(|host| host.paths.len()).sum();
    format!("the configuration is right: {} hosts, {paths} paths", checked.config.hosts.len())
}

/// One JSON document: `errors`, `warnings`, and the configuration, or null where it can not be used.
fn check_for_machines(file: &Path) -> ExitCode {
    let unusable = Part::Unset("not usable");
    let (code, problems, config) = match run::read_text(file).map(|text| Config::parse(&text)) {
        Ok(Ok(Checked { config, warnings })) => {
            (exit_code::SUCCESS, Problems { errors: Vec::new(), warnings }, effective(&config))
        }
        Ok(Err(problems)) => (exit_code::CONFIG, problems, unusable),
        Err(message) => {
            let mut problems = Problems::default();
            problems.error(0, "", message);
            (exit_code::CONFIG, problems, unusable)
        }
    };
    print::line(&pretty(&block([
        ("file", Part::Text(file.display().to_string())),
        ("errors", Part::List(problems.errors.iter().map(problem).collect())),
        ("warnings", Part::List(problems.warnings.iter().map(problem).collect())),
        ("effective", config),
    ])));
    code.into()
}

fn problem(problem: &Problem) -> Part {
    block([
        // Line 0 stands for the file itself, which could not be read.
        ("line", if problem.line == 0 { Part::Unset("none") } else { Part::Number(problem.line.into()) }),
        ("key", Part::Text(problem.key.clone())),
        ("message", Part::Text(problem.message.clone())),
    ])
}

fn block<const N: usize>(keys: [(&str, Part); N]) -> Part {
    Part::Block(keys.into_iter().map(|(key, part)| (key.to_owned(), part)).collect())
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
