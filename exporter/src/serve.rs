//! Wires inputs, state and outputs, and runs the one loop that owns the state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use backup_common::config::Checked;
use backup_common::error_chain::ErrorChain;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::event::{Event, Listing};
use crate::http::routes::Site;
use crate::http::{self, ListenError, Server};
use crate::inputs;
use crate::inputs::config::ConfigError;
use crate::outputs::scrape::Scrape;
use crate::push::{
    self,
    credential::{self, CredentialError},
};
use crate::state::State;

/// Batches of events that wait at most before their sender waits too.
const QUEUE: usize = 16;

/// What to serve, and where it comes from.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration of the backups.
    pub config_file: PathBuf,
    /// The stats log, if not the one that the configuration names at the start.
    pub stats_file: Option<PathBuf>,
    /// The configuration of the push to InfluxDB; if there is no such file, there is no push.
    pub influxdb_config: PathBuf,
    /// Directory for what must outlive a restart.
    pub state_directory: PathBuf,
    /// Addresses to listen on.
    pub listen_addresses: Vec<String>,
    /// What is served where.
    pub site: Site,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no configuration to begin with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration of the push is there and can not be used.
    #[error(transparent)]
    Push(#[from] CredentialError),
    /// An address is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system refuses a thread or a signal handler.
    #[error("cannot start the exporter")]
    System(#[from] io::Error),
    /// An input ended by itself, which only an error in the program can cause.
    #[error("cannot go on without the stats input")]
    Input,
}

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.
pub async fn run(options: Options) -> Result<(), ServeError> {
    let mut signals = Signals::new()?;
    let Checked { config, warnings } = inputs::config::read(&options.config_file)?;
    for warning in warnings {
        warn!(%warning, "the configuration has a weak point");
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let influxdb = credential::read_config(&options.influxdb_config, credentials.as_deref())?;
    let mut state = State::default();
    state.apply(Event::Configured(Listing::from(&config)));
    let (published, scrapes) = watch::channel(Arc::new(Scrape::new(state.clone())));

    let (stop, stopped) = watch::channel(false);
    let server = Server { scrapes, site: Arc::new(options.site), stop: stopped };
    let listeners = listen(&options.listen_addresses).await?;
    let mut servers: JoinSet<()> =
        listeners.into_iter().map(|listener| http::serve(listener, server.clone())).collect();

    let (sender, mut events) = mpsc::channel(QUEUE);
    let log = options.stats_file.unwrap_or(config.stats_file);
    if let Some(config) = influxdb {
        info!(server = config.server.url(), "sending points to InfluxDB");
        let options = push::Options {
            config,
            stats_file: log.clone(),
            directory: options.state_directory.join("outbox"),
            cap: push::CAP,
            server: push::server_name(),
            pace: push::engine::Pace::default(),
        };
        push::start(options, sender.clone())?;
    }
    thread::Builder::new().name("stats".to_owned()).spawn(move || inputs::stats::run(&log, &sender))?;

    loop {
        let batch = tokio::select! {
            received = events.recv() => received.ok_or(ServeError::Input)?,
            _ = signals.hangup.recv() => vec![reload(&options.config_file)],
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
        };
        for event in batch {
            state.apply(event);
        }
        // A log that is read for the first time is shown when it is read, and a burst when it is over.
        if state.has_caught_up() && events.is_empty() {
            published.send_replace(Arc::new(Scrape::new(state.clone())));
        }
    }

    info!("ending");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    Ok(())
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(http::listen(address).await?);
    }
    Ok(listeners)
}

/// A configuration with errors changes nothing but what the exporter says of itself.
fn reload(file: &Path) -> Event {
    match inputs::config::read(file) {
        Ok(Checked { config, .. }) => {
            info!(file = %file.display(), hosts = config.hosts.len(), "configuration read again");
            Event::Configured(Listing::from(&config))
        }
        Err(error) => {
            warn!(error = %ErrorChain(&error), "configuration not taken over; the one before stays in use");
            Event::ConfigRejected
        }
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}
