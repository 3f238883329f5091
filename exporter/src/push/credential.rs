//! Edge: secrets in files, the configuration file among them.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_common::problems::Problems;
use tracing::warn;
use zeroize::Zeroizing;

use super::config::InfluxConfig;
use super::secret::Secret;

/// Most bytes of a file with a secret, or of the configuration.
const FILE_BYTES: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Clone)]
pub enum Credential {
    /// In the configuration.
    Inline(Secret),
    /// In a file, which is read each time, so that it can be changed while the exporter runs.
    File(PathBuf),
}

/// Why there is no secret or no configuration.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file can not be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// There is nothing in it.
    #[error("cannot use {0}: it is empty")]
    Empty(PathBuf),
    /// The configuration has errors; all of them are in the message, one a line.
    #[error("cannot use the configuration {}{}", .0.display(), listed(.1))]
    Invalid(PathBuf, Problems),
}

impl Credential {
    /// The secret as it is now.
    pub fn read(&self) -> Result<Secret, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let mut text = read(path).map_err(|error| CredentialError::Read(path.clone(), error))?;
                let secret = Secret::new(std::mem::take(&mut *text));
                if secret.is_empty() { Err(CredentialError::Empty(path.clone())) } else { Ok(secret) }
            }
        }
    }

    /// Whether it stands in the configuration.
    pub fn is_inline(&self) -> bool {
        matches!(self, Self::Inline(secret) if !secret.is_empty())
    }
}

/// Reads `influxdb-config.yaml`; nothing if there is no such file.
pub fn read_config(file: &Path, credentials: Option<&Path>) -> Result<Option<InfluxConfig>, CredentialError> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CredentialError::Read(file.to_owned(), error)),
    };
    let config = InfluxConfig::parse(&text, credentials)
        .map_err(|problems| CredentialError::Invalid(file.to_owned(), problems))?;
    let mode = file.metadata().map_or(0, |found| found.permissions().mode());
    if config.holds_secret() && mode & 0o007 != 0 {
        warn!(
            file = %file.display(),
            "every user of this machine can read the secret in this file; chmod 600 it, or use token_file or password_file"
        );
    }
    Ok(Some(config))
}

fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(file)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn listed(problems: &Problems) -> String {
    let lines: Vec<_> = problems.errors.iter().map(ToString::to_string).collect();
    format!("\n  {}", lines.join("\n  "))
}
