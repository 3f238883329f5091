//! A backup server in a temporary directory.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup_common::reason::Reason;
use backup_common::record::{Body, PathFinished, Record};
use backup_common::status::Status;
use backup_testkit::process::{self, Output};
use rustix::fs::Mode;

/// Everything that a run needs, below one directory that goes with the test.
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        // What the group can write is refused.
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let site = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(site.base()).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn base(&self) -> PathBuf {
        self.path("base")
    }

    /// Makes a source directory with these files.
    pub fn source(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let source = self.path(name);
        fs::create_dir_all(&source).unwrap();
        for (file, content) in files {
            let file = source.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        source
    }

    /// Writes the configuration: these hosts, and whatever else belongs into `config`.
    pub fn configure(&self, config: &str, hosts: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "config:\n  backup_base: {}\n  lock_file: {}\n  stats_file: {}\n{config}\nhosts:\n{hosts}\n",
            at("base"),
            at("lock"),
            at("stats.log")
        );
        fs::write(self.path("backup.yaml"), text).unwrap();
    }

    /// The command of a backup, for tests that start it themselves.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup-runner"));
        command.arg("--config").arg(self.path("backup.yaml")).args(arguments);
        command
    }

    pub fn backup(&self, arguments: &[&str]) -> Output {
        process::run(self.command(&["--backup"]).args(arguments))
    }

    /// Every record so far; each line must be one.
    pub fn records(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.path("stats.log")).unwrap_or_default();
        text.lines()
            .map(|line| Record::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    pub fn types(&self) -> Vec<&'static str> {
        self.records().iter().map(|record| record.body.type_name()).collect()
    }

    /// The last end of each path, in the order of the log.
    pub fn finished(&self) -> Vec<PathFinished> {
        let ends = self.records().into_iter().filter_map(|record| match record.body {
            Body::PathFinished(finished) => Some(*finished),
            _ => None,
        });
        ends.collect()
    }

    /// The last end of one path.
    pub fn last(&self, host: &str, path: &Path) -> PathFinished {
        let path = path.display().to_string();
        let found =
            self.finished().into_iter().rev().find(|finished| finished.host == host && finished.path == path);
        found.unwrap_or_else(|| panic!("{host} {path} has not ended: {:#?}", self.records()))
    }

    /// Status and reason of the last end of one path.
    pub fn verdict(&self, host: &str, path: &Path) -> (Status, Reason) {
        let finished = self.last(host, path);
        (finished.status, finished.reason)
    }
}

/// A host block with one path.
pub fn host(name: &str, keys: &str, path: &Path) -> String {
    let separator = if keys.is_empty() { "" } else { "    " };
    format!("  {name}:\n{separator}{keys}\n    paths: [{{path: '{}', dest_subdir: data}}]\n", path.display())
}
