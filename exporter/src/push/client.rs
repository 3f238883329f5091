//! Edge: one HTTP/1.1 connection to the server.
//!
//! The name is resolved anew for each connection, its addresses are tried in turn, redirects are not
//! followed, and nothing but HTTP/1.1 is spoken: no ALPN is offered, so TLS can not lead to HTTP/2.

pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::answer::Class;
use super::config::Server;

/// Most bytes of an answer that says little, such as the one to a write.
pub const SHORT: usize = 64 * 1024;

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body, cut where the limit was reached.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text for a message: cleaned and short.
    pub fn message(&self) -> String {
        backup_common::text::clean_bytes(self.body.trim_ascii(), backup_common::text::MESSAGE_BYTES)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name leads nowhere.
    #[error("cannot find the host {0}")]
    Resolve(String, #[source] io::Error),
    /// Nothing listens there, or nothing is there.
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    /// The file with certificates can not be used.
    #[error("cannot use the certificates in {0}")]
    Certificates(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection can not be made safe.
    #[error("cannot make a safe connection to {0}")]
    Tls(String, #[source] native_tls::Error),
    /// It took too long.
    #[error("cannot wait longer than {} s for {what}", .limit.as_secs_f64())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("cannot read an answer of HTTP")]
    Http(#[source] hyper::Error),
}

impl ClientError {
    /// What it is counted as.
    pub fn class(&self) -> Class {
        match self {
            Self::Resolve(..) => Class::NameNotFound,
            Self::Connect(..) => Class::Unreachable,
            Self::Certificates(..) | Self::Tls(..) => Class::Tls,
            Self::Timeout { .. } | Self::Http(_) => Class::Timeout,
        }
    }
}

/// Anything that bytes can be read from and written to.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client that keeps its connection for the next request.
#[derive(Debug)]
pub struct Client {
    server: Server,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects when the first request is sent.
    pub fn new(server: Server) -> Self {
        Self { server, sender: None }
    }

    /// The server that it talks to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a request, and reads at most `limit` bytes of the answer's body, all within the time limit.
    pub async fn send(&mut self, request: Request<Full<Bytes>>, limit: usize) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.server.timeout;
        let reused = self.sender.is_some();
        let result = match self.attempt(request.clone(), limit, deadline).await {
            // The server may have closed a connection that was idle; what it was sent changes nothing twice.
            Err(ClientError::Http(_)) if reused => self.attempt(request, limit, deadline).await,
            result => result,
        };
        if result.is_err() {
            self.sender = None;
        }
        result
    }

    async fn attempt(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect(deadline).await?,
        };
        let late = |_| self.late("an answer");
        timeout_at(deadline, sender.ready()).await.map_err(late)?.map_err(ClientError::Http)?;
        let response = timeout_at(deadline, sender.send_request(request))
            .await
            .map_err(late)?
            .map_err(ClientError::Http)?;
        let (head, body) = response.into_parts();
        let read = read(body, limit);
        let (body, whole) = timeout_at(deadline, read).await.map_err(late)?.map_err(ClientError::Http)?;
        // A connection with the rest of a long answer in it is of no use.
        self.sender = whole.then_some(sender);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self, deadline: Instant) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let addresses = self.resolve(deadline).await?;
        let stream = self.open(&addresses, deadline).await?;
        let stream: Box<dyn Stream> =
            if self.server.tls { Box::new(self.secure(stream, deadline).await?) } else { Box::new(stream) };
        let handshake = http1::Builder::new().max_buf_size(64 * 1024).handshake(TokioIo::new(stream));
        let (sender, connection) = timeout_at(deadline, handshake)
            .await
            .map_err(|_| self.late("HTTP"))?
            .map_err(ClientError::Http)?;
        // It ends with the sender; what goes wrong in it is told to the request.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// The addresses of the server's name, as the system orders them.
    pub async fn resolve(&self, deadline: Instant) -> Result<Vec<SocketAddr>, ClientError> {
        let Server { host, port, .. } = &self.server;
        let failed = |error| ClientError::Resolve(host.clone(), error);
        let found = timeout_at(deadline, tokio::net::lookup_host((host.as_str(), *port)))
            .await
            .map_err(|_| self.late("the name"))?
            .map_err(failed)?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
    }

    /// Connects to the first address that answers; each gets a share of the time that is left.
    pub async fn open(&self, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ClientError> {
        let mut failure = self.late("a connection");
        for (index, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = ClientError::Connect(*address, error),
                Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Puts TLS over a connection.
    pub async fn secure(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<tokio_native_tls::TlsStream<TcpStream>, ClientError> {
        let connector = tokio_native_tls::TlsConnector::from(tls::connector(self.server.ca_file.as_deref())?);
        timeout_at(deadline, connector.connect(&self.server.host, stream))
            .await
            .map_err(|_| self.late("TLS"))?
            .map_err(|error| ClientError::Tls(self.server.authority(), error))
    }

    fn late(&self, what: &'static str) -> ClientError {
        ClientError::Timeout { what, limit: self.server.timeout }
    }
}

/// Reads a body; the answer says whether that was all.
async fn read(body: hyper::body::Incoming, limit: usize) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut body = Limited::new(body, limit);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.data_ref().into_iter().flatten()),
            Err(error) => {
                return match error.downcast::<hyper::Error>() {
                    Ok(error) => Err(*error),
                    Err(other) => {
                        debug_assert!(other.is::<LengthLimitError>());
                        Ok((bytes, false))
                    }
                };
            }
        }
    }
    Ok((bytes, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_passed_over() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let server = Server {
            host: "localhost".to_owned(),
            port: good.port(),
            tls: false,
            ca_file: None,
            timeout: Duration::from_secs(30),
        };
        let client = Client::new(server);
        let deadline = Instant::now() + Duration::from_secs(30);
        // As a system with IPv6 orders the addresses of a server that listens on IPv4 alone.
        let addresses = [SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, good.port())), good];
        assert_eq!(client.open(&addresses, deadline).await.unwrap().peer_addr().unwrap(), good);
        let error = client.open(&addresses[..1], deadline).await.unwrap_err();
        assert_eq!(error.class(), Class::Unreachable);
    }
}
