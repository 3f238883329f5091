//! Another rsync in the place of the installed one, for one command.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Site;

/// What a transfer without any file prints.
pub const FIGURES: &str =
    "echo 'Number of files: 3 (reg: 2, dir: 1)'; echo 'total size is 0  speedup is 0.00'";

/// Writes an executable script for /bin/sh (or what its first line says).
pub fn program(site: &Site, name: &str, text: &str) -> PathBuf {
    let file = site.path(name);
    let text = if text.starts_with("#!") { text.to_owned() } else { format!("#!/bin/sh\n{text}\n") };
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// The same command in a mount namespace where `rsync` is this program; needs root.
pub fn with(rsync: &Path, command: &Command) -> Command {
    let mut inside = Command::new("unshare");
    let script = "mount --bind \"$0\" \"$(command -v rsync)\" && exec \"$@\"";
    inside.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(rsync);
    inside.arg(command.get_program()).args(command.get_args());
    inside
}
