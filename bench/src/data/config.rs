//! Configurations of many hosts and paths.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Writes `backup.yaml` in a folder, with everything else in it too; `hosts` are the lines below `hosts:`.
pub fn write(folder: &Path, settings: &str, hosts: &str) {
    write_with_log(folder, &folder.join("stats.log"), settings, hosts);
}

/// As [`write()`], with the stats log elsewhere.
pub fn write_with_log(folder: &Path, log: &Path, settings: &str, hosts: &str) {
    let (place, log) = (folder.display(), log.display());
    fs::create_dir_all(folder.join("base")).unwrap();
    let text = format!(
        "config:\n  backup_base: {place}/base\n  lock_file: {place}/lock\n  stats_file: {log}\n{settings}hosts:\n{hosts}"
    );
    fs::write(folder.join("backup.yaml"), text).unwrap();
}

/// Hosts of this machine, each with so many paths.
pub fn fleet(hosts: usize, paths: usize) -> String {
    let mut out = String::new();
    for host in 0..hosts {
        let _ = writeln!(out, "  {}:\n    paths:", super::host(host));
        for path in 0..paths {
            let _ = writeln!(out, "      - {{path: {}, dest_subdir: p{path}}}", super::path(path));
        }
    }
    out
}
