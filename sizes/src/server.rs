//! Edge: the privileged end of the socket. One request at a time, one for each connection.

use std::io::{self, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use backup_common::error_chain::ErrorChain;
use backup_common::text;

use crate::btrfs::{self, Found, Volume};
use crate::protocol::{ANSWER_BYTES, Answer, Method, ProtocolError, REQUEST_BYTES, Request, read_line};

/// Longest time that a peer may take to say or to hear something: a silent one keeps the others waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who may ask, beside root.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peers {
    /// The group of the socket: it is what a process must run with.
    pub group: Option<u32>,
}

/// Answers for ever.
pub fn serve(listener: &UnixListener, volume: &mut Volume, peers: Peers) -> ! {
    loop {
        let handled = listener.accept().and_then(|(stream, _)| handle(&stream, volume, peers));
        if let Err(error) = handled {
            eprintln!("backup-sizes: cannot answer a request: {error}");
            // Out of descriptors, or a peer that goes away at once again and again.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn handle(stream: &UnixStream, volume: &mut Volume, peers: Peers) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if !peers.allow(peer.uid.as_raw(), peer.gid.as_raw()) {
        eprintln!("backup-sizes: refused a request of user {}", peer.uid.as_raw());
        return answer(stream, &failed("only root and the group of the socket may ask"));
    }
    let line = read_line(&mut BufReader::new(stream), REQUEST_BYTES);
    let request = line.and_then(|line| line.map(|line| Request::decode(&line)).transpose());
    match request {
        Ok(None) => Ok(()),
        Ok(Some(request)) => measure(stream, volume, &request),
        Err(error) => refuse(stream, &error),
    }
}

fn refuse(stream: &UnixStream, error: &ProtocolError) -> io::Result<()> {
    let message = ErrorChain(error).to_string();
    eprintln!("backup-sizes: {message}");
    answer(stream, &failed(&message))
}

fn measure(stream: &UnixStream, volume: &mut Volume, request: &Request) -> io::Result<()> {
    let begun = Instant::now();
    // A peer that is gone does not end the scan: what it learns is good for the next one.
    let mut told = Ok(());
    let mut tell = |Found { index, totals, quota }: Found| {
        if told.is_ok() {
            told = answer(stream, &Answer::Directory { index, totals, quota });
        }
    };
    let measured = match volume.measure_each(&request.directories, request.full, &mut tell) {
        Ok(measured) => measured,
        Err(error) => {
            let message = ErrorChain(&error).to_string();
            eprintln!("backup-sizes: {message}");
            return told.and_then(|()| answer(stream, &failed(&message)));
        }
    };
    if let Some(differences) = measured.differences.filter(|differences| *differences > 0) {
        eprintln!(
            "backup-sizes: a full scan of {} differs from the incremental ones in {differences} directories; \
             its figures are used",
            volume.directory().display()
        );
    }
    let method = match measured.method {
        btrfs::Method::Full => Method::Full,
        btrfs::Method::Incremental => Method::Incremental,
    };
    let duration_seconds = begun.elapsed().as_secs_f64();
    let end = Answer::End { method, duration_seconds, differences: measured.differences };
    told.and_then(|()| answer(stream, &end))
}

fn failed(message: &str) -> Answer {
    Answer::Failed { message: text::clean(message, ANSWER_BYTES / 8) }
}

fn answer(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.write_all(&answer.encode())
}

impl Peers {
    fn allow(self, user: u32, group: u32) -> bool {
        user == 0 || self.group == Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_group_may_ask() {
        assert!(Peers { group: None }.allow(0, 5));
        assert!(!Peers { group: None }.allow(5, 5));
        assert!(Peers { group: Some(7) }.allow(5, 7));
        assert!(!Peers { group: Some(7) }.allow(7, 5));
    }
}
