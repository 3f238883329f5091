//! Edge: sockets to listen on, of our own or from systemd.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tracing::info;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or none.
    #[error("cannot listen on {0}")]
    Address(String, #[source] io::Error),
    /// A socket that systemd handed over is no listening TCP socket.
    #[error("cannot use the socket from systemd: set ListenStream=ADDRESS:PORT in the socket unit")]
    Inherited(#[source] io::Error),
    /// `--web.systemd-socket` without one.
    #[error(
        "cannot listen: --web.systemd-socket is set and systemd handed over no socket; start backup-exporter.socket"
    )]
    NoneInherited,
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
    let listener = bound.map_err(|error| ListenError::Address(address.to_owned(), error))?;
    announce(&listener);
    Ok(listener)
}

/// The sockets that systemd opened for us, `sd_listen_fds(3)`.
pub fn inherited() -> Result<Vec<TcpListener>, ListenError> {
    let mut sockets = listenfd::ListenFd::from_env();
    let mut listeners = Vec::with_capacity(sockets.len());
    for index in 0..sockets.len() {
        let Some(socket) = sockets.take_tcp_listener(index).map_err(ListenError::Inherited)? else {
            continue;
        };
        socket.set_nonblocking(true).map_err(ListenError::Inherited)?;
        let listener = TcpListener::from_std(socket).map_err(ListenError::Inherited)?;
        announce(&listener);
        listeners.push(listener);
    }
    if listeners.is_empty() { Err(ListenError::NoneInherited) } else { Ok(listeners) }
}

/// The next connection, on which nothing waits to be sent together with more, `TCP_NODELAY` of tcp(7): an answer leaves
/// in one write, and the last piece of it would else wait until the client has acknowledged the one before.
pub async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    // Fails on a connection that is gone already, which its reader will see.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer))
}

fn announce(listener: &TcpListener) {
    if let Ok(local) = listener.local_addr() {
        info!(address = %local, "listening");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_piece_of_an_answer_does_not_wait() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, _client) = tokio::join!(accept(&listener), TcpStream::connect(address));
        assert!(accepted.unwrap().0.nodelay().unwrap());
    }
}
