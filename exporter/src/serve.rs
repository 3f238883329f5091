//! Wires inputs, state and outputs, and runs the one loop that owns the state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as orders;
use std::thread;
use std::time::Duration;

use backup_common::config::Checked;
use backup_common::error_chain::ErrorChain;
use backup_common::record::{Body, Record};
use backup_common::status::Status;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::event::sizes::Place;
use crate::event::{Event, Listing};
use crate::http::routes::Site;
use crate::http::{self, ListenError, Server};
use crate::inputs;
use crate::inputs::config::ConfigError;
use crate::inputs::sizes::{Order, Store, Targets};
use crate::outputs::scrape::Scrape;
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
    /// Where the exporter keeps what it wants to know after a restart.
    pub state_directory: PathBuf,
    /// How sizes are measured; not at all with an interval of 0.
    pub sizes: inputs::sizes::Options,
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
    let mut state = State::default();
    state.apply(Event::Configured(Listing::from(&config)));
    let store = Store::open(&options.state_directory);
    store.events().for_each(|event| state.apply(event));
    let (published, scrapes) = watch::channel(Arc::new(Scrape::new(state.clone())));

    let (stop, stopped) = watch::channel(false);
    let server = Server { scrapes, site: Arc::new(options.site), stop: stopped };
    let listeners = listen(&options.listen_addresses).await?;
    let mut servers: JoinSet<()> =
        listeners.into_iter().map(|listener| http::serve(listener, server.clone())).collect();

    let (sender, mut events) = mpsc::channel(QUEUE);
    let (orders, ordered) = orders::channel();
    if options.sizes.interval > Duration::ZERO {
        let (sizes, targets, events) = (options.sizes, Targets::from(&config), sender.clone());
        let measure = move || inputs::sizes::run(sizes, targets, store, &ordered, &events);
        thread::Builder::new().name("sizes".to_owned()).spawn(measure)?;
    }
    let log = options.stats_file.unwrap_or(config.stats_file);
    thread::Builder::new().name("stats".to_owned()).spawn(move || inputs::stats::run(&log, &sender))?;

    loop {
        let batch = tokio::select! {
            received = events.recv() => received.ok_or(ServeError::Input)?,
            _ = signals.hangup.recv() => vec![reload(&options.config_file, &orders)],
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
        };
        for event in batch {
            if let Some(place) = just_backed_up(&event).filter(|_| state.has_caught_up()) {
                // Nobody listens when sizes are not measured.
                let _ = orders.send(Order::Finished(place));
            }
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
fn reload(file: &Path, orders: &orders::Sender<Order>) -> Event {
    match inputs::config::read(file) {
        Ok(Checked { config, .. }) => {
            info!(file = %file.display(), hosts = config.hosts.len(), "configuration read again");
            let _ = orders.send(Order::Targets(Targets::from(&config)));
            Event::Configured(Listing::from(&config))
        }
        Err(error) => {
            warn!(error = %ErrorChain(&error), "configuration not taken over; the one before stays in use");
            Event::ConfigRejected
        }
    }
}

/// The path that an event says was written to.
fn just_backed_up(event: &Event) -> Option<Place> {
    match event {
        Event::Recorded(_, Record { body: Body::PathFinished(finished), .. })
            if finished.status != Status::Skipped =>
        {
            Some(Place { host: finished.host.clone(), path: finished.path.clone() })
        }
        _ => None,
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
