//! Wires inputs, state and outputs, and runs the one loop that owns the state.

mod sources;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backup_common::config::{Checked, Config};
use backup_common::error_chain::ErrorChain;
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
use crate::inputs::journal;
use crate::inputs::sizes::{Extents, Store};
use crate::inputs::timer::Timer;
use crate::notify::{self, Watchdog};
use crate::outputs::scrape::Scrape;
use crate::push::config::InfluxConfig;
use crate::push::credential::{self, CredentialError};
use crate::state::State;
use sources::Sources;

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
    /// The journal of the unit that runs the backups.
    pub journal: journal::Source,
    /// The configuration of the push to InfluxDB; if there is no such file, there is no push.
    pub influxdb_config: PathBuf,
    /// Where the exporter keeps what it wants to know after a restart.
    pub state_directory: PathBuf,
    /// How sizes are measured; not at all with an interval of 0.
    pub sizes: inputs::sizes::Options,
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

impl Options {
    /// The stats log: the one that was given, else that of the configuration.
    fn stats_log(&self, config: &Config) -> PathBuf {
        self.stats_file.clone().unwrap_or_else(|| config.stats_file.clone())
    }
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
    let influxdb = influxdb(&options)?;
    let mut state = State::default();
    for event in configured(&config) {
        state.apply(event);
    }
    let store = Store::open(&options.state_directory);
    let extents = Extents::open(&options.state_directory);
    store.events().chain(extents.events()).for_each(|event| state.apply(event));
    let (published, scrapes) = watch::channel(Arc::new(Scrape::new(state.clone())));

    let (stop, stopped) = watch::channel(false);
    let (ask_reload, mut reloads) = mpsc::channel(1);
    let web = options.web_config_file.as_deref().map_or_else(|| Ok(Source::none()), Source::open)?;
    let server = Server::new(scrapes, options.site.clone(), web, options.max_requests, ask_reload, stopped)?;
    let listeners = listen(&options).await?;
    let mut servers: JoinSet<()> =
        listeners.into_iter().map(|listener| http::serve(listener, server.clone())).collect();

    let mut sources = Sources::start(&options, &config, (store, extents), influxdb)?;
    let mut watchdog = Watchdog::from_environment();
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    let (mut waits, mut news, mut unpublished, mut ready) = (true, true, false, false);
    loop {
        let mut batch = tokio::select! {
            received = sources.events.recv() => received.ok_or(ServeError::Input)?,
            () = &mut patience, if waits => {
                waits = false;
                let others = Input::ALL.into_iter().filter(|input| !input.is_replayed());
                others.map(Event::CaughtUp).collect()
            }
            _ = &mut sources.stats_ended => return Err(ServeError::Input),
            () = watchdog.due() => {
                watchdog.feed();
                continue;
            }
            _ = signals.hangup.recv() => reload(&options, &mut sources),
            Some(answer) = reloads.recv() => reload_and_answer(&options, &mut sources, answer),
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
        };
        // Most looks of the stats input find nothing, and change nothing.
        news |= !state.has_caught_up()
            || state.is_settling()
            || batch.iter().any(|event| !matches!(event, Event::CaughtUp(_) | Event::Process(_)));
        unpublished |= news || batch.iter().any(|event| matches!(event, Event::Process(_)));
        batch.retain_mut(|event| {
            sources.pass_on(event, state.has_caught_up());
            if let Event::Recorded(input, record) = event {
                state.apply_record(*input, record);
                return true;
            }
            state.apply(std::mem::replace(event, Event::ConfigRejected));
            false
        });
        sources.give_back(batch);
        // A log that is read for the first time is shown when it is read, and a burst when it is over.
        if unpublished && state.has_caught_up() && sources.events.is_empty() {
            let scrape =
                if news { Scrape::new(state.clone()) } else { published.borrow().with_own(state.clone()) };
            (news, unpublished) = (false, false);
            published.send_replace(Arc::new(scrape));
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

/// Where points are sent, if anywhere; systemd hands over secrets in a directory, systemd.exec(5).
fn influxdb(options: &Options) -> Result<Option<InfluxConfig>, CredentialError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    credential::read_config(&options.influxdb_config, credentials.as_deref())
}

async fn listen(options: &Options) -> Result<Vec<TcpListener>, ListenError> {
    if options.systemd_socket {
        return sockets::inherited();
    }
    let mut listeners = Vec::with_capacity(options.listen_addresses.len());
    for address in &options.listen_addresses {
        listeners.push(sockets::listen(address).await?);
    }
    Ok(listeners)
}

/// What a configuration says, as events.
fn configured(config: &Config) -> Vec<Event> {
    vec![
        Event::Configured(Listing::from(config)),
        Event::SnapshotsConfigured(SnapshotListing::from(config)),
        Event::ConfigLoaded(jiff::Timestamp::now()),
    ]
}

/// A configuration with errors changes nothing but what the exporter says of itself.
fn reload(options: &Options, sources: &mut Sources) -> Vec<Event> {
    match read_again(options, sources) {
        Ok(events) => events,
        Err(error) => {
            warn!(error = %ErrorChain(&error), "configuration not taken over; the one before stays in use");
            vec![Event::ConfigRejected]
        }
    }
}

/// Both files are read before either is taken over.
fn read_again(options: &Options, sources: &mut Sources) -> Result<Vec<Event>, ServeError> {
    let Checked { config, .. } = inputs::config::read(&options.config_file)?;
    let influxdb = influxdb(options)?;
    sources.push(options, influxdb)?;
    sources.measure(&config);
    let file = options.config_file.display();
    info!(%file, hosts = config.hosts.len(), "configuration read again");
    Ok(configured(&config))
}

/// Tells the client whether the configuration was taken over.
fn reload_and_answer(options: &Options, sources: &mut Sources, answer: oneshot::Sender<bool>) -> Vec<Event> {
    let events = reload(options, sources);
    // A client that has gone wants no answer.
    let _ = answer.send(!events.contains(&Event::ConfigRejected));
    events
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
