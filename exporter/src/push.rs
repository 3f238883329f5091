//! Sends points to InfluxDB, and loses none.
//!
//! ```text
//!  stats log -> feeder -> outbox -> engine -> InfluxDB
//!               (thread)  (disk)    (task)
//! ```
//!
//! The [`feeder`] reads the stats log beside the exporter's own reader, turns what ended into lines and
//! puts them into the [`outbox`]; the [`engine`] sends them and moves the outbox's position. Three things
//! on the disk say how far it came: the log itself, the [`mark`] of the last record in the outbox, and the
//! position of the last line that the server has. Each moves only when the one behind it is safe, so a
//! crash at any point sends some lines twice, and to send a point twice changes nothing.

pub mod answer;
pub mod api;
pub mod client;
pub mod config;
pub mod courier;
pub mod credential;
pub mod engine;
pub mod feeder;
pub mod health;
pub mod mark;
pub mod outbox;
pub mod payload;
pub mod plan;
pub mod secret;

use std::io;
use std::path::PathBuf;
use std::thread;

use tokio::sync::{mpsc, watch};

use crate::event::Event;
use crate::inputs;
use config::InfluxConfig;
use engine::{Engine, Pace};
use feeder::{Feeder, Shared};
use mark::MarkFile;
use outbox::Outbox;

/// Most bytes that wait for the server.
pub const CAP: u64 = 64 << 20;

/// Batches of events that wait for the outbox before their sender waits too.
const QUEUE: usize = 4;

/// What to send where.
pub struct Options {
    /// The server.
    pub config: InfluxConfig,
    /// The stats log.
    pub stats_file: PathBuf,
    /// Directory of the outbox; it is made if it is missing.
    pub directory: PathBuf,
    /// Most bytes that wait there.
    pub cap: u64,
    /// Name of this machine, for the tag `server`.
    pub server: String,
    /// How long it waits after failures.
    pub pace: Pace,
}

/// The running push.
pub struct Push {
    feeder: mpsc::Sender<Vec<Event>>,
    config: watch::Sender<InfluxConfig>,
}

impl Push {
    /// Hands over what is not in the stats log, such as measured sizes; it is passed over when the
    /// outbox can not keep up, so this is for what is measured again anyway.
    pub fn offer(&self, events: Vec<Event>) -> bool {
        self.feeder.try_send(events).is_ok()
    }

    /// From the next request on the points go where this says; a wait after a failure ends.
    pub fn configure(&self, config: InfluxConfig) {
        self.config.send_replace(config);
    }
}

/// Starts the threads and the task; call it within a runtime. What they do is told to `events`.
pub fn start(options: Options, events: mpsc::Sender<Vec<Event>>) -> io::Result<Push> {
    let Options { config, stats_file, directory, cap, server, pace } = options;
    let shared = Shared::new(Outbox::open(&directory, cap));
    let feeder = Feeder::new(shared.clone(), MarkFile::new(&directory), server);
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::Builder::new().name("push".to_owned()).spawn(move || feeder.run(receiver))?;
    let stats = sender.clone();
    thread::Builder::new()
        .name("push-stats".to_owned())
        .spawn(move || inputs::stats::run(&stats_file, &stats, None))?;
    let (config, configs) = watch::channel(config);
    tokio::spawn(Engine::new(shared, configs, pace, events).run());
    Ok(Push { feeder: sender, config })
}

/// The name of this machine.
pub fn server_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
