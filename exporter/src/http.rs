//! Edge: the listener. It serves what was published last and never waits for anything else.

pub mod negotiation;
pub mod routes;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backup_common::error_chain::ErrorChain;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::outputs::scrape::Scrape;
use routes::Site;

/// Connections that are served at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Longest time for the head of a request, and longest rest between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest head of a request, in bytes; a longer one is answered with 431.
const HEADER_BYTES: usize = 16 * 1024;
/// Longest life of a connection, so that a client that never reads gives its place back.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Longest time for an answer that is under way when the connection has to end.
const GRACE: Duration = Duration::from_secs(3);
/// Rest after a failed accept: with no descriptor left, the next one would fail at once.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    address: String,
    source: io::Error,
}

/// What every connection needs.
#[derive(Clone)]
pub struct Server {
    /// What was published last.
    pub scrapes: watch::Receiver<Arc<Scrape>>,
    /// What is served where.
    pub site: Arc<Site>,
    /// Asks for the configuration to be read again; the answer says whether it was taken over.
    pub reload: mpsc::Sender<oneshot::Sender<bool>>,
    /// Turns true when the program ends.
    pub stop: watch::Receiver<bool>,
}

/// Binds an address such as `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`, or `:9100` for all
/// addresses of the machine.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    let bound = match address.strip_prefix(':') {
        // One socket for both families, see ipv6(7); a machine without IPv6 has only the other.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        },
        None => TcpListener::bind(address).await,
    };
    let listener = bound.map_err(|source| ListenError { address: address.to_owned(), source })?;
    if let Ok(local) = listener.local_addr() {
        info!(address = %local, "listening");
    }
    Ok(listener)
}

/// Serves until it is told to stop; what is under way then may still end.
pub async fn serve(listener: TcpListener, server: Server) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let server = server.clone();
                connections.spawn(async move {
                    connection(stream, peer, server).await;
                    drop(place);
                });
            }
            // Every cause passes: a peer that hung up, no descriptor or no memory left. See accept(2).
            Err(error) => {
                warn!(error = %ErrorChain(&error), "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    connections.join_all().await;
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn connection(stream: TcpStream, peer: SocketAddr, mut server: Server) {
    let service = service_fn(|request| {
        let reload = routes::is_reload(&request).then(|| server.reload.clone());
        let scrape = Arc::clone(&server.scrapes.borrow());
        let response = routes::respond(&request, &scrape, &server.site);
        async move {
            Ok::<_, Infallible>(match reload {
                Some(reload) => routes::reloaded(ask(reload).await),
                None => response,
            })
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = ended(&mut server.stop) => {
            serving.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%peer, error = %ErrorChain(&error), "connection ended early");
    }
}

/// Whether the configuration was read again and taken over; nothing if the program is ending.
async fn ask(reload: mpsc::Sender<oneshot::Sender<bool>>) -> Option<bool> {
    let (sender, answer) = oneshot::channel();
    reload.send(sender).await.ok()?;
    answer.await.ok()
}

/// Returns when the connection has to end: the program stops, or its time is over.
async fn ended(stop: &mut watch::Receiver<bool>) {
    let stopped = stop.wait_for(|stop| *stop);
    let _ = tokio::time::timeout(CONNECTION_LIFE, stopped).await;
}
