//! Edge: the web configuration as the file says it at this moment.
//!
//! It is looked at again for each connection and each request, as exporter-toolkit does, at the price of a
//! stat per file; it is read only when one of them has changed. While it has errors nothing is served but
//! status 500, over the TLS that was good last.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use backup_common::error_chain::ErrorChain;
use tokio_rustls::rustls::ServerConfig;
use tracing::{error, info};

use super::rate_limit::TokenBucket;
use super::tls::{self, TlsError};
use super::web_config::{TlsSettings, WebConfig};

/// Why the web configuration can not be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// It can not be read.
    #[error("cannot read the web configuration {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It has errors, one a line.
    #[error("cannot use the web configuration {0}:\n{1}")]
    Invalid(PathBuf, String),
    /// Its certificates or keys can not be used.
    #[error("cannot use the TLS of the web configuration {0}")]
    Tls(PathBuf, #[source] TlsError),
}

/// What stands between the socket and the pages.
#[derive(Debug, Default)]
pub struct Front {
    /// The checked file.
    pub config: WebConfig,
    /// TLS, if there is any.
    pub tls: Option<Tls>,
    rate: Option<Mutex<TokenBucket>>,
}

/// TLS, and the rules that let a client in.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For new connections.
    pub server: Arc<ServerConfig>,
    /// Who was let in; a connection from before they changed is not served any more.
    pub admission: Admission,
}

/// The part of the TLS settings that says who may connect, with the authority's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    settings: TlsSettings,
    authority: Option<Vec<u8>>,
}

/// The file and what was last read from it.
#[derive(Debug)]
pub struct Source {
    file: Option<PathBuf>,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// `None` while the file has errors.
    front: Option<Arc<Front>>,
    last_tls: Option<Tls>,
}

/// Tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64, u64);

/// The web configuration at one moment.
#[derive(Clone, Debug)]
pub struct Current {
    /// `None` while the file has errors: answer 500.
    pub front: Option<Arc<Front>>,
    /// TLS for a new connection.
    pub tls: Option<Tls>,
}

impl Front {
    /// Whether one more request is within the rate limit.
    pub fn within_rate(&self, now: Instant) -> bool {
        let Some(rate) = &self.rate else { return true };
        rate.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    fn read(file: &Path, stamps: &mut Vec<(PathBuf, Option<Stamp>)>) -> Result<Self, WebConfigError> {
        // Taken before the file is read: a change in between is seen the next time.
        stamps.push((file.to_owned(), stamp(file)));
        let text = fs::read_to_string(file).map_err(|error| WebConfigError::Read(file.to_owned(), error))?;
        let config = WebConfig::parse(&text).map_err(|problems| {
            let lines: Vec<String> = problems.errors.iter().map(ToString::to_string).collect();
            WebConfigError::Invalid(file.to_owned(), lines.join("\n"))
        })?;
        let directory = file.parent().unwrap_or(Path::new(""));
        let tls = match &config.tls {
            Some(settings) => {
                stamps.extend(tls::files(settings, directory).into_iter().map(|file| {
                    let stamp = stamp(&file);
                    (file, stamp)
                }));
                let server = tls::server_config(settings, directory)
                    .map_err(|error| WebConfigError::Tls(file.to_owned(), error))?;
                let authority = settings.client_ca.as_ref().and_then(|pem| tls::text(pem, directory));
                let admission = Admission { settings: settings.clone(), authority };
                Some(Tls { server: Arc::new(server), admission })
            }
            None => None,
        };
        let rate = config.rate_limit.map(|limit| Mutex::new(TokenBucket::new(limit, Instant::now())));
        Ok(Self { config, tls, rate })
    }
}

impl Source {
    /// Plain HTTP for everybody.
    pub fn none() -> Self {
        let read = Read { stamps: Vec::new(), front: Some(Arc::default()), last_tls: None };
        Self { file: None, read: Mutex::new(read) }
    }

    /// Reads the file for the first time; here an error is one.
    pub fn open(file: &Path) -> Result<Self, WebConfigError> {
        let mut stamps = Vec::new();
        let front = Front::read(file, &mut stamps)?;
        let tls = if front.tls.is_some() { "on" } else { "off" };
        info!(file = %file.display(), tls, users = front.config.users.len(), "web configuration read");
        let last_tls = front.tls.clone();
        let read = Read { stamps, front: Some(Arc::new(front)), last_tls };
        Ok(Self { file: Some(file.to_owned()), read: Mutex::new(read) })
    }

    /// What holds now; reads the file again if it has changed.
    pub fn current(&self) -> Current {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file
            && read.stamps.iter().any(|(file, seen)| stamp(file) != *seen)
        {
            read.again(file);
        }
        Current { front: read.front.clone(), tls: read.last_tls.clone() }
    }
}

impl Read {
    fn again(&mut self, file: &Path) {
        self.stamps.clear();
        match Front::read(file, &mut self.stamps) {
            Ok(front) => {
                info!(file = %file.display(), "web configuration read again");
                self.last_tls.clone_from(&front.tls);
                self.front = Some(Arc::new(front));
            }
            Err(problem) => {
                error!(error = %ErrorChain(&problem), "nothing is served until the web configuration is mended");
                self.front = None;
            }
        }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let status = fs::metadata(file).ok()?;
    Some(Stamp(status.dev(), status.ino(), status.mtime(), status.mtime_nsec(), status.size()))
}
