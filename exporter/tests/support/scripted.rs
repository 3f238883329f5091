//! A server that answers as a test tells it to: a stand-in for InfluxDB 2 and 3, which no Debian package
//! has, and for answers that no real server gives on demand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST /api/v2/write?…`
    pub target: String,
    /// Lines of the head behind the first.
    pub head: String,
    /// The body, unpacked.
    pub body: String,
}

/// A listener that lives as long as the test program.
pub struct Scripted {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Answers each request by `answer`, whose text goes out as it is; an empty one closes the connection.
    pub fn start(answer: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { port, asked }
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// An answer with a status line and header lines, each without its CRLF.
pub fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    format!("{text}\r\n{body}")
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> String, log: &Mutex<Vec<Asked>>) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = Vec::new();
    while let Some(asked) = read(&mut stream, &mut bytes) {
        let text = answer(&asked);
        log.lock().unwrap().push(asked);
        if text.is_empty() || stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    let mut more = |bytes: &mut Vec<u8>| {
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend(&buffer[..count]);
        Some(())
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (first, head) = text.split_once("\r\n").unwrap_or((&text, ""));
    let value = |name: &str| {
        let pair = head.lines().filter_map(|line| line.split_once(": "));
        pair.into_iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let length: usize = value("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        more(bytes)?;
    }
    let body: Vec<u8> = bytes.drain(..end + 4 + length).skip(end + 4).collect();
    let body = if value("content-encoding").as_deref() == Some("gzip") {
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut unpacked).unwrap();
        unpacked
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    Some(Asked { target: first.trim_end_matches(" HTTP/1.1").to_owned(), head: head.to_owned(), body })
}
