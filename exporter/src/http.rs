//! Edge: the listener. It serves what was published last and never waits for anything else.

pub mod auth;
pub mod connections;
pub mod front;
pub mod negotiation;
pub mod rate_limit;
pub mod routes;
pub mod sockets;
pub mod tls;
pub mod views;
pub mod web_config;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_common::error_chain::ErrorChain;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::outputs::scrape::Scrape;
use auth::{Authenticator, Verdict};
use connections::{Connections, Seat};
use front::{Admission, Front, Source};
use routes::Site;
use views::Asked;

/// Connections that are held at a time; see [`connections`] for what happens to the next one.
const CONNECTIONS: usize = 64;
/// Longest time for the head of a request or a TLS handshake, and longest rest between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest head of a request, in bytes; a longer one is answered with 431.
const HEADER_BYTES: usize = 16 * 1024;
/// Longest time in which a client takes none of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a connection, so that a client that reads a byte now and then gives its place back.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Longest time for an answer that is under way when the connection has to end.
const GRACE: Duration = Duration::from_secs(3);
/// Rest after a failed accept: with no descriptor left, the next one would fail at once.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What every connection needs; a clone is cheap.
#[derive(Clone)]
pub struct Server {
    scrapes: watch::Receiver<Arc<Scrape>>,
    site: Arc<Site>,
    reload: mpsc::Sender<oneshot::Sender<bool>>,
    stop: watch::Receiver<bool>,
    web: Arc<Source>,
    authenticator: Arc<Authenticator>,
    connections: Arc<Connections>,
    requests: Option<Arc<Semaphore>>,
    renderings: Arc<Semaphore>,
}

impl Server {
    /// A server of what is published last in `scrapes`, until `stop` turns true. What is sent over `reload` asks for
    /// the configuration to be read again; the answer says whether it was taken over.
    ///
    /// `max_requests` are answered at a time, 0 is no limit; the error is that the system has no random bytes.
    pub fn new(
        scrapes: watch::Receiver<Arc<Scrape>>,
        site: Site,
        web: Source,
        max_requests: usize,
        reload: mpsc::Sender<oneshot::Sender<bool>>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        Ok(Self {
            scrapes,
            site: Arc::new(site),
            reload,
            stop,
            web: Arc::new(web),
            authenticator: Arc::new(Authenticator::new()?),
            connections: Connections::new(CONNECTIONS),
            requests: (max_requests > 0).then(|| Arc::new(Semaphore::new(max_requests))),
            renderings: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Serves until it is told to stop; what is under way then may still end.
pub async fn serve(listener: TcpListener, server: Server) {
    let mut connections = JoinSet::new();
    let mut stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = sockets::accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let seat = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break,
                    seat = server.connections.seat() => seat,
                };
                connections.spawn(connection(stream, peer, seat, server.clone()));
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

/// One connection, in the clear or after a TLS handshake.
async fn connection(stream: TcpStream, peer: SocketAddr, seat: Seat, server: Server) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Box::pin(stream);
    let Some(tls) = server.web.current().tls else {
        return requests(stream, peer, &seat, server, None).await;
    };
    let handshake = tokio::time::timeout(HEADER_TIMEOUT, TlsAcceptor::from(tls.server).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = seat.taken_away() => return,
    };
    match shaken {
        Ok(Ok(stream)) => requests(stream, peer, &seat, server, Some(tls.admission)).await,
        Ok(Err(error)) => debug!(%peer, error = %ErrorChain(&error), "TLS handshake failed"),
        Err(_) => debug!(%peer, "TLS handshake took too long"),
    }
}

/// The requests of a connection, one after the other.
async fn requests<S>(stream: S, peer: SocketAddr, seat: &Seat, server: Server, admitted: Option<Admission>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let serving = seat.serving();
        let (server, admitted) = (&server, admitted.as_ref());
        async move {
            let response = answer(&request, server, admitted).await;
            Ok::<_, Infallible>(response.map(|body| routes::Tracked::new(body, serving)))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let mut stop = server.stop.clone();
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = seat.taken_away() => {
            debug!(%peer, "connection closed to make room");
            return;
        }
        () = ended(&mut stop) => {
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

/// What stands before the pages, in the order of exporter-toolkit: the file, the rate, the user.
async fn answer(
    request: &Request<Incoming>,
    server: &Server,
    admitted: Option<&Admission>,
) -> Response<Full<Bytes>> {
    let Some(front) = server.web.current().front else {
        return routes::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The web configuration has errors; see the log.\n",
        );
    };
    let mut response = if front.tls.as_ref().map(|tls| &tls.admission) != admitted {
        // The connection began under other rules, perhaps before there was TLS at all.
        routes::last(StatusCode::MISDIRECTED_REQUEST, "The web configuration has changed; connect again.\n")
    } else if !front.within_rate(Instant::now()) {
        routes::plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n")
    } else {
        authenticated(request, server, &front).await
    };
    for (name, value) in &front.config.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn authenticated(request: &Request<Incoming>, server: &Server, front: &Front) -> Response<Full<Bytes>> {
    let given = request.headers().get(header::AUTHORIZATION);
    match server.authenticator.check(&front.config.users, given).await {
        Verdict::Allowed => {}
        Verdict::Denied => {
            let mut response = routes::plain(StatusCode::UNAUTHORIZED, "A user and a password are needed.\n");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            return response;
        }
        Verdict::Busy => return routes::busy("Too many passwords are being checked; try again later.\n"),
    }
    let Ok(_turn) = server.requests.as_ref().map(|requests| requests.try_acquire()).transpose() else {
        return routes::busy("Too many requests at a time; try again later.\n");
    };
    if routes::is_reload(request) {
        return routes::reloaded(ask(server.reload.clone()).await);
    }
    let scrape = Arc::clone(&server.scrapes.borrow());
    if let Some(asked) = Asked::of(request, &server.site) {
        let (site, turns) = (Arc::clone(&server.site), Arc::clone(&server.renderings));
        return views::respond(asked, request, scrape, site, turns).await;
    }
    routes::respond(request, &scrape, &server.site)
}
