//! Wires inputs, state and outputs, and runs the one loop that owns the state.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use backup_common::config::{Checked, Config};
use backup_common::error_chain::ErrorChain;
use backup_common::record::Body;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::event::{Event, Input, Listing, SnapshotListing};
use crate::http::front::{Source, WebConfigError};
use crate::http::routes::Site;
use crate::http::sockets::{self, ListenError};
use crate::http::{self, Server};
use crate::inputs;
use crate::inputs::config::ConfigError;
use crate::inputs::timer::Timer;
use crate::notify::{self, Watchdog};
use crate::outputs::scrape::Scrape;
use crate::state::State;

/// Batches of events that wait at most before their sender waits too.
const QUEUE: usize = 16;

/// Longest time that the first scrape is held up by an input that has no counters, such as a directory on
/// a file system that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to serve, and where it comes from.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration of the backups.
    pub config_file: PathBuf,
    /// The timer that starts the runs.
    pub timer: Timer,
    /// Where systemd looks for unit files, the first directory that has one counting.
    pub unit_path: Vec<PathBuf>,
    /// The stats log, if not the one that the configuration names at the start.
    pub stats_file: Option<PathBuf>,
    /// Addresses to listen on.
    pub listen_addresses: Vec<String>,
    /// Listen on the sockets from systemd instead.
    pub systemd_socket: bool,
    /// TLS, users and headers, in the format of exporter-toolkit.
    pub web_config_file: Option<PathBuf>,
    /// Requests that are answered at a time; 0 is no limit.
    pub max_requests: usize,
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
    /// The web configuration can not be used.
    #[error(transparent)]
    Web(#[from] WebConfigError),
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
    for event in configured(&config) {
        state.apply(event);
    }
    let (published, scrapes) = watch::channel(Arc::new(Scrape::new(state.clone())));

    let (stop, stopped) = watch::channel(false);
    let web = options.web_config_file.as_deref().map_or_else(|| Ok(Source::none()), Source::open)?;
    let server = Server::new(scrapes, options.site, web, options.max_requests, stopped)?;
    let listeners = if options.systemd_socket {
        sockets::inherited()?
    } else {
        listen(&options.listen_addresses).await?
    };
    let mut servers: JoinSet<()> =
        listeners.into_iter().map(|listener| http::serve(listener, server.clone())).collect();

    let (sender, mut events) = mpsc::channel(QUEUE);
    let log = options.stats_file.unwrap_or_else(|| config.stats_file.clone());
    let (timer_wake, woken) = std_mpsc::sync_channel(1);
    let (timer, unit_path, events_of_timer) = (options.timer, options.unit_path, sender.clone());
    thread::Builder::new()
        .name("timer".to_owned())
        .spawn(move || inputs::timer::run(&timer, &unit_path, &woken, &events_of_timer))?;
    let (snapshots_wake, woken) = std_mpsc::sync_channel(1);
    let (directory, directories) = watch::channel(SnapshotListing::from(&config).directory);
    let events_of_snapshots = sender.clone();
    thread::Builder::new()
        .name("snapshots".to_owned())
        .spawn(move || inputs::snapshots::run(&directories, &woken, &events_of_snapshots))?;
    // A full channel has woken its thread already.
    let wake = |thread: &std_mpsc::SyncSender<()>| {
        let _ = thread.try_send(());
    };
    // Dropped when the thread ends, even by a panic: the other inputs would keep the events' channel open.
    let (alive, mut ended) = oneshot::channel::<()>();
    thread::Builder::new().name("stats".to_owned()).spawn(move || {
        inputs::stats::run(&log, &sender);
        drop(alive);
    })?;

    let mut watchdog = Watchdog::from_environment();
    let mut ready = false;
    let mut slow = pin!(tokio::time::sleep(PATIENCE));
    let mut waits = true;
    loop {
        let batch = tokio::select! {
            received = events.recv() => received.ok_or(ServeError::Input)?,
            () = &mut slow, if waits => {
                waits = false;
                let others = Input::ALL.into_iter().filter(|input| !input.is_replayed());
                others.map(Event::CaughtUp).collect()
            }
            _ = &mut ended => return Err(ServeError::Input),
            () = watchdog.due() => {
                watchdog.feed();
                continue;
            }
            _ = signals.hangup.recv() => reload(&options.config_file),
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
        };
        for event in batch {
            match &event {
                Event::SnapshotsConfigured(listing) => {
                    directory.send_replace(listing.directory.clone());
                    wake(&snapshots_wake);
                }
                Event::Recorded(_, record) => match record.body {
                    Body::RunStarted(_) | Body::RunFinished(_) => wake(&timer_wake),
                    Body::Snapshot(_) => wake(&snapshots_wake),
                    _ => {}
                },
                _ => {}
            }
            state.apply(event);
        }
        // A log that is read for the first time is shown when it is read, and a burst when it is over.
        if state.has_caught_up() && events.is_empty() {
            published.send_replace(Arc::new(Scrape::new(state.clone())));
            if !ready {
                ready = true;
                notify::ready();
            }
        }
    }

    info!("ending");
    notify::stopping();
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    Ok(())
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(sockets::listen(address).await?);
    }
    Ok(listeners)
}

/// What a configuration tells the state.
fn configured(config: &Config) -> Vec<Event> {
    vec![Event::Configured(Listing::from(config)), Event::SnapshotsConfigured(SnapshotListing::from(config))]
}

/// A configuration with errors changes nothing but what the exporter says of itself.
fn reload(file: &Path) -> Vec<Event> {
    match inputs::config::read(file) {
        Ok(Checked { config, .. }) => {
            info!(file = %file.display(), hosts = config.hosts.len(), "configuration read again");
            configured(&config)
        }
        Err(error) => {
            warn!(error = %ErrorChain(&error), "configuration not taken over; the one before stays in use");
            vec![Event::ConfigRejected]
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
