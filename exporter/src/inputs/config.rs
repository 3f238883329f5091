//! Edge: reads the configuration at the start and at each reload.

use std::io;
use std::path::{Path, PathBuf};

use backup_common::config::{Checked, Config};
use backup_common::problems::Problems;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be read.
    #[error("cannot read the configuration {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The file has errors; all of them are in the message, one a line.
    #[error("cannot use the configuration {}{}", .0.display(), listed(.1))]
    Invalid(PathBuf, Problems),
}

/// Reads and checks the file.
pub fn read(file: &Path) -> Result<Checked, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Read(file.to_owned(), error))?;
    Config::parse(&text).map_err(|problems| ConfigError::Invalid(file.to_owned(), problems))
}

fn listed(problems: &Problems) -> String {
    let lines: Vec<_> = problems.errors.iter().map(ToString::to_string).collect();
    format!("\n  {}", lines.join("\n  "))
}
