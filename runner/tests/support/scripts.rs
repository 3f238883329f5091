//! Scripts of a site, and what they noted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::Site;

/// Every script of these tests begins with it: one line with what it was told.
const NOTE: &str =
    "note() { echo \"$1 path=$BACKUP_PATH status=$BACKUP_STATUS reason=$BACKUP_REASON\" >>LOG; }\n";

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes `scripts/NAME.sh`; `note x` in it adds a line to the site's log.
pub fn script(site: &Site, name: &str, text: &str) -> PathBuf {
    let folder = site.path("scripts");
    fs::create_dir_all(&folder).unwrap();
    chmod(&folder, 0o755);
    let file = folder.join(format!("{name}.sh"));
    let note = NOTE.replace("LOG", &site.path("log").display().to_string());
    fs::write(&file, format!("{note}{text}\n")).unwrap();
    chmod(&file, 0o644);
    file
}

/// Scripts that only note that they ran.
pub fn noting(site: &Site, names: &[&str]) {
    for name in names {
        script(site, name, &format!("note {name}"));
    }
}

pub fn configure(site: &Site, hosts: &str) {
    site.configure(&format!("  scripts_dir: {}", site.path("scripts").display()), hosts);
}

/// The noted lines.
pub fn log(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The first word of each.
pub fn ran(site: &Site) -> Vec<String> {
    log(site).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// A host block with keys for its one path.
pub fn with_path_keys(name: &str, host_keys: &str, source: &Path, path_keys: &str) -> String {
    let separator = if host_keys.is_empty() { "" } else { "    " };
    format!(
        "  {name}:\n{separator}{host_keys}\n    paths: [{{path: '{}', dest_subdir: data, {path_keys}}}]\n",
        source.display()
    )
}
