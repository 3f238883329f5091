//! Clients of the web servers: one that times a single answer, wrk, and hostile ones.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backup_testkit::process;

/// An answer and how long it took.
pub struct Answer {
    /// Seconds from before the connection to the last byte.
    pub seconds: f64,
    /// The body.
    pub body: Vec<u8>,
}

/// Gets a page once.
pub fn get(address: &str, path: &str, headers: &str) -> Answer {
    // In one piece, as real clients send it.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.") && answer[8..].starts_with(b" 200"), "{path} is not served");
    Answer { seconds, body: answer.split_off(head) }
}

/// Samples in an exposition.
pub fn series(body: &[u8]) -> usize {
    body.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(|byte| *byte != b'#')).count()
}

/// What wrk has seen.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers in a second.
    pub rate: f64,
    /// Milliseconds that 99 of 100 answers took at most.
    pub p99: f64,
    /// Requests that failed.
    pub failed: f64,
}

/// Asks again and again from so many connections.
pub fn wrk(address: &str, path: &str, connections: usize, seconds: usize, gzip: bool) -> Load {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", "--timeout", "30s", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    if gzip {
        wrk.args(["-H", "Accept-Encoding: gzip"]);
    }
    let text = process::run(wrk.arg(format!("http://{address}{path}"))).stdout;
    let word = |key: &str, place: usize| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key))?;
        line.split_whitespace().nth(place).map(|word| word.trim_end_matches(',').to_owned())
    };
    let rate = word("Requests/sec:", 1).and_then(|text| text.parse().ok());
    let numbers =
        |line: &str| line.split([' ', ',']).filter_map(|word| word.parse::<f64>().ok()).sum::<f64>();
    let errors = text.lines().filter(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    Load {
        rate: rate.unwrap_or_else(|| panic!("wrk said: {text}")),
        p99: word("99%", 1).and_then(|text| milliseconds(&text)).unwrap_or(f64::NAN),
        failed: errors.map(numbers).sum(),
    }
}

/// A time of wrk, such as `1.07ms`, `640.00us` or `1.20s`.
fn milliseconds(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        _ => return None,
    };
    Some(number * factor)
}

/// Fifty sockets that mean no good, until this is dropped.
///
/// Half of them send a head that never ends, byte by byte; the others ask for everything and read nothing. One that
/// is thrown out comes back at once.
pub struct Hostile {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Opens the sockets.
    pub fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (address.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut sockets: Vec<Option<TcpStream>> = (0..50).map(|_| None).collect();
            while !stopped.load(Ordering::Relaxed) {
                for (number, socket) in sockets.iter_mut().enumerate() {
                    let opener: &[u8] = if number.is_multiple_of(2) {
                        b"GET /metrics HTTP/1.1\r\nX-Slow: "
                    } else {
                        b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
                    };
                    act(socket, &address, opener, number.is_multiple_of(2));
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

/// Opens the socket if there is none, or sends one more byte.
fn act(socket: &mut Option<TcpStream>, address: &str, opener: &[u8], drips: bool) {
    let Some(stream) = socket else {
        *socket = TcpStream::connect(address).ok();
        if let Some(stream) = socket {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write_all(opener);
        }
        return;
    };
    let is_lost = if drips {
        stream.write(b"x").is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    } else {
        stream.take_error().is_ok_and(|error| error.is_some())
    };
    if is_lost {
        *socket = None;
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk() {
        assert_eq!(milliseconds("1.50ms"), Some(1.5));
        assert_eq!(milliseconds("640.00us"), Some(0.64));
        assert_eq!(milliseconds("1.20s"), Some(1200.0));
        assert_eq!(milliseconds("soon"), None);
    }

    #[test]
    fn samples_are_counted() {
        assert_eq!(series(b"# HELP a b\n# TYPE a gauge\na 1\na{b=\"c\"} 2\n# EOF\n"), 2);
    }
}
