//! The name's addresses, and whether one of them takes a connection. All are tried at once.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::route::Family;

/// Most addresses that are tried; a host has two or three.
const ADDRESSES: usize = 8;
/// Enough for the resolver's modules.
const STACK_BYTES: usize = 512 * 1024;

/// Why a name gave no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says no.
    #[error("{0}")]
    Unknown(String),
    /// No answer in time.
    #[error("no answer from the resolver in time")]
    Late,
    /// The run is to stop.
    #[error("stopped")]
    Stopped,
}

/// Looks a name up. The system's resolver knows no deadline, so it works in a thread that may be left behind.
pub fn resolve(
    hostname: &str,
    port: u16,
    family: Family,
    limit: Duration,
    stop: BorrowedFd<'_>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(address) = hostname.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unknown = |error: io::Error| ResolveError::Unknown(error.to_string());
    let (ready, done) = UnixStream::pair().map_err(unknown)?;
    let (answer, answers) = mpsc::sync_channel(1);
    let name = hostname.to_owned();
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let _ = answer.send(found);
            // Its end is what the other side waits for.
            drop(done);
        })
        .map_err(unknown)?;
    match wait(&[&ready], stop, Instant::now() + limit) {
        Woken::Stopped => return Err(ResolveError::Stopped),
        Woken::Late => return Err(ResolveError::Late),
        Woken::Ready => {}
    }
    let found = answers.try_recv().map_err(|_| ResolveError::Late)?.map_err(|error| {
        // std puts its own words before those of getaddrinfo(3).
        let text = error.to_string();
        ResolveError::Unknown(text.rsplit(": ").next().unwrap_or(&text).to_owned())
    })?;
    let fits = |address: &SocketAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.into_iter().filter(fits) {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(ResolveError::Unknown("no address of the family that ssh is to use".to_owned()));
    }
    Ok(addresses)
}

/// Connections under way.
#[derive(Debug)]
pub struct Connecting {
    pending: Vec<(SocketAddr, OwnedFd)>,
    failed: Vec<(SocketAddr, Errno)>,
    open: bool,
}

/// How far the connections are.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// One stands; all are closed again.
    Open,
    /// None can be made: each address with its error.
    Failed(Vec<(SocketAddr, Errno)>),
    /// No answer so far.
    Silent,
    /// The run is to stop.
    Stopped,
}

impl Connecting {
    /// Begins with all addresses at once.
    pub fn begin(addresses: &[SocketAddr]) -> Self {
        let mut connecting = Self { pending: Vec::new(), failed: Vec::new(), open: false };
        for &address in addresses {
            match start(address) {
                Ok((_, true)) => connecting.open = true,
                Ok((socket, false)) => connecting.pending.push((address, socket)),
                Err(error) => connecting.failed.push((address, error)),
            }
        }
        connecting
    }

    /// Waits for the first connection that stands, or for the end of all, or until `until`.
    pub fn wait(&mut self, until: Instant, stop: BorrowedFd<'_>) -> Progress {
        loop {
            if self.open {
                self.pending.clear();
                return Progress::Open;
            }
            if self.pending.is_empty() {
                return Progress::Failed(self.failed.clone());
            }
            let sockets: Vec<_> = self.pending.iter().map(|(_, socket)| socket).collect();
            match wait_writable(&sockets, stop, until) {
                Woken::Stopped => return Progress::Stopped,
                Woken::Late => return Progress::Silent,
                Woken::Ready => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let (open, failed) = (&mut self.open, &mut self.failed);
        self.pending.retain(|(address, socket)| {
            let mut watched = [PollFd::new(socket, PollFlags::OUT)];
            if poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(1) {
                return true;
            }
            match sockopt::socket_error(socket) {
                Ok(Ok(())) => *open = true,
                Ok(Err(error)) | Err(error) => failed.push((*address, error)),
            }
            false
        });
    }
}

/// A socket on its way; true where the connection stands at once.
fn start(address: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Woken {
    Ready,
    Stopped,
    Late,
}

fn wait(readable: &[&UnixStream], stop: BorrowedFd<'_>, until: Instant) -> Woken {
    let watched = readable.iter().map(|stream| PollFd::new(*stream, PollFlags::IN)).collect();
    wait_for(watched, stop, until)
}

fn wait_writable(sockets: &[&OwnedFd], stop: BorrowedFd<'_>, until: Instant) -> Woken {
    let watched = sockets.iter().map(|socket| PollFd::new(*socket, PollFlags::OUT)).collect();
    wait_for(watched, stop, until)
}

fn wait_for<'a>(mut watched: Vec<PollFd<'a>>, stop: BorrowedFd<'a>, until: Instant) -> Woken {
    watched.push(PollFd::from_borrowed_fd(stop, PollFlags::IN));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut watched, Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return Woken::Late,
            Ok(_) if watched.last().is_some_and(|stop| !stop.revents().is_empty()) => return Woken::Stopped,
            Ok(_) => return Woken::Ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// A stop that never comes, as long as both ends are held.
    fn no_stop() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("a pair")
    }

    #[test]
    fn an_open_port_a_closed_one_and_both_together() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("its address");
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let (stop, _held) = no_stop();
        assert_eq!(Connecting::begin(&[open]).wait(soon(), stop.as_fd()), Progress::Open);
        assert_eq!(Connecting::begin(&[closed, open]).wait(soon(), stop.as_fd()), Progress::Open);
        assert_eq!(
            Connecting::begin(&[closed]).wait(soon(), stop.as_fd()),
            Progress::Failed(vec![(closed, Errno::CONNREFUSED)])
        );
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let (stop, other) = no_stop();
        let (silent, _held) = no_stop();
        drop(other);
        assert_eq!(wait(&[&silent], stop.as_fd(), soon()), Woken::Stopped);
    }

    #[test]
    fn addresses_need_no_resolver_and_names_do() {
        let (stop, _held) = no_stop();
        let resolve = |name: &str, family| resolve(name, 22, family, Duration::from_secs(30), stop.as_fd());
        assert_eq!(resolve("::1", Family::Any), Ok(vec!["[::1]:22".parse().expect("an address")]));
        assert_eq!(resolve("localhost", Family::V4), Ok(vec!["127.0.0.1:22".parse().expect("an address")]));
        assert!(matches!(resolve("no-such-host.invalid", Family::Any), Err(ResolveError::Unknown(_))));
    }
}
