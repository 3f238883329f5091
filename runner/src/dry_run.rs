//! What a backup would do, without doing any of it: no lock, no directory, no record, no script, no snapshot.
//!
//! First everything that the plan alone tells, with each command as it would run; then what rsync itself
//! says with `--dry-run`, hosts in parallel as in a run. It works beside a run, because it takes no lock.

mod forecast;
mod planned;
mod table;

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;

use backup_common::config::Config;
use backup_common::error_chain::ErrorChain;

use crate::destination::Base;
use crate::plan::Plan;
use crate::programs::Programs;
use crate::stop::Stop;
use crate::{configuration, exit_code, print, volume};

/// Shows what a run of this plan would do; `json` as one JSON line for each path.
pub fn dry_run(plan: &Plan<'_>, config: &Config, json: bool) -> ExitCode {
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => {
            print::error_line(&format!("cannot listen for signals: {error}"));
            return exit_code::REFUSED.into();
        }
    };
    let programs = Programs::look(plan.hosts.iter().map(|planned| planned.host), stop.as_fd());
    let escapes_names = programs.escapes_names();
    if !json {
        print::line(&planned::heading());
        for planned in &plan.hosts {
            let text = planned::host(config, planned.host, planned.paths(), escapes_names);
            print::line(text.trim_end());
        }
    }
    let hosts = || plan.hosts.iter().map(|planned| planned.host);
    if let Err(problems) = configuration::named_files(config, hosts) {
        for problem in problems {
            print::error_line(&format!("the backup would be refused: {problem}"));
        }
        return exit_code::CONFIG.into();
    }
    let base = match Base::open(&config.backup_base) {
        Ok(base) => base,
        Err(error) => {
            print::error_line(&format!("the backup would be refused: {}", ErrorChain(&error)));
            return exit_code::REFUSED.into();
        }
    };
    if let Err(error) = volume::check(&base, config.require_mount, config.min_free) {
        print::error_line(&format!("the backup would be refused: {}", ErrorChain(&error)));
        return exit_code::of_refusal(error.reason());
    }
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let forecasts = forecast::all(plan, &base, &programs, &stop, config.parallel.unwrap_or(cores));
    if json {
        for forecast in &forecasts {
            print::line(&table::json_line(config, forecast));
        }
    } else {
        print::line(&format!("\n{}", table::table(&forecasts).trim_end()));
        for line in planned::snapshot_steps(config, &base) {
            print::line(&line);
        }
    }
    let worst = forecasts.iter().map(|forecast| forecast.status).max();
    let stopped = stop.signal();
    worst.map_or_else(|| exit_code::NOTHING.into(), |status| exit_code::of_run(status, stopped))
}
