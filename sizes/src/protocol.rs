//! What the exporter and `backup-sizes` say to each other: one JSON object a line, version 2.
//!
//! ```text
//! -> {"v":2,"directories":["server1/etc","server1/home"],"full":false}
//! <- {"directory":{"index":0,"totals":{"disk_bytes":4096,…},"quota":null}}
//! <- {"directory":{"index":1,"totals":null,"quota":null}}             there is no such directory
//! <- {"end":{"method":"incremental","duration_seconds":0.01,"differences":null}}
//! <- {"failed":{"message":"cannot open the volume /share/backup: …"}}   instead, when there are no (further) figures
//! ```
//! A directory is answered as soon as its figures are known, in any order; they are right also when the
//! scan fails after them.
//!
//! Neither end trusts the other: lines and lists have limits, unknown fields are errors, a directory
//! is a relative path of plain names, and an answer must be one to what was asked.

use std::io::{self, BufRead, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::btrfs::Quota;
use crate::totals::Totals;

/// The version of the protocol.
pub const VERSION: u32 = 2;

/// Directories in a request.
pub const DIRECTORIES: usize = 10_000;

/// Longest request, in bytes.
pub const REQUEST_BYTES: usize = 4 << 20;

/// Longest answer, in bytes.
pub const ANSWER_BYTES: usize = 16 << 10;

/// Longest path, in bytes; Linux takes none longer.
const PATH_BYTES: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    v: u32,
    /// Paths below the volume's directory.
    pub directories: Vec<PathBuf>,
    /// Read everything, whatever is known.
    pub full: bool,
}

/// One line of what is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The figures of one directory.
    Directory {
        /// Its place in the request.
        index: usize,
        /// None where there is no such directory.
        totals: Option<Totals>,
        /// Of a directory that is a subvolume, where quotas are on.
        quota: Option<Quota>,
    },
    /// All directories were answered.
    End {
        /// How it was done.
        method: Method,
        /// How long it took.
        duration_seconds: f64,
        /// Directories of which incremental scans had known something else than the full scan shows.
        differences: Option<u64>,
    },
    /// There are no figures.
    Failed {
        /// Why.
        message: String,
    },
}

/// How a scan was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every tree was read.
    Full,
    /// Only what had changed.
    Incremental,
}

/// Why a line is no request or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The line does not come to its end, or not in time.
    #[error("cannot read a line from the other end")]
    Read(#[source] io::Error),
    /// It is longer than allowed, or the other end went away within it.
    #[error("cannot take a line from the other end: it is longer than {0} bytes or not whole")]
    Line(usize),
    /// It is not what is expected.
    #[error("cannot understand a line from the other end")]
    Json(#[source] serde_json::Error),
    /// Another version of the protocol.
    #[error("cannot speak version {0} of the protocol, only {VERSION}; update both programs")]
    Version(u32),
    /// More directories than allowed.
    #[error("cannot measure more than {DIRECTORIES} directories at a time")]
    TooMany,
    /// A directory that is not below the volume.
    #[error("cannot measure {0:?}: it is not a plain path below the volume")]
    Directory(PathBuf),
    /// An answer to something that was not asked.
    #[error("cannot take an answer that does not fit the request")]
    Answer,
}

impl Request {
    /// Asks for directories.
    pub fn new(directories: Vec<PathBuf>, full: bool) -> Self {
        Self { v: VERSION, directories, full }
    }

    /// As a line, with its newline.
    ///
    /// # Errors
    /// When the other end would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut line = serde_json::to_vec(self).map_err(ProtocolError::Json)?;
        Self::decode(&line)?;
        line.push(b'\n');
        Ok(line)
    }

    /// From a line without its newline.
    ///
    /// # Errors
    /// When it is none, or asks for something that no client may ask for.
    pub fn decode(line: &[u8]) -> Result<Self, ProtocolError> {
        if line.len() > REQUEST_BYTES {
            return Err(ProtocolError::Line(REQUEST_BYTES));
        }
        let request: Self = serde_json::from_slice(line).map_err(ProtocolError::Json)?;
        if request.v != VERSION {
            return Err(ProtocolError::Version(request.v));
        }
        if request.directories.len() > DIRECTORIES {
            return Err(ProtocolError::TooMany);
        }
        match request.directories.iter().find(|directory| !is_below(directory)) {
            Some(directory) => Err(ProtocolError::Directory(directory.clone())),
            None => Ok(request),
        }
    }
}

impl Answer {
    /// As a line, with its newline.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and a string always are JSON.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// From a line without its newline.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(line: &[u8]) -> Result<Self, ProtocolError> {
        serde_json::from_slice(line).map_err(ProtocolError::Json)
    }
}

/// Plain names only; the empty path is the volume's directory itself.
fn is_below(directory: &Path) -> bool {
    let bytes = directory.as_os_str().as_encoded_bytes();
    bytes.len() <= PATH_BYTES
        && !bytes.contains(&0)
        && directory.components().all(|component| matches!(component, Component::Normal(_)))
}

/// Reads a line of at most so many bytes, without its newline; none at the end.
///
/// # Errors
/// When it is longer, or ends without a newline.
pub fn read_line(reader: &mut impl BufRead, limit: usize) -> Result<Option<Vec<u8>>, ProtocolError> {
    let mut line = Vec::new();
    let read = reader.take(limit as u64 + 1).read_until(b'\n', &mut line).map_err(ProtocolError::Read)?;
    match line.pop() {
        None if read == 0 => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        _ => Err(ProtocolError::Line(limit)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_a_line() {
        let request = Request::new(vec!["server1/etc".into(), "".into()], true);
        let line = request.encode().unwrap();
        assert_eq!(line, b"{\"v\":2,\"directories\":[\"server1/etc\",\"\"],\"full\":true}\n");
        assert_eq!(Request::decode(&line[..line.len() - 1]).unwrap(), request);
    }

    #[test]
    fn what_reaches_beyond_is_refused() {
        for directory in ["/etc", "..", "a/../b", "./a/..", "a\0b", &"x".repeat(5000)] {
            let request = Request::new(vec![directory.into()], false);
            assert!(matches!(request.encode(), Err(ProtocolError::Directory(_))), "{directory:?}");
        }
        let many = Request::new(vec!["a".into(); DIRECTORIES + 1], false);
        assert!(matches!(many.encode(), Err(ProtocolError::TooMany)));
        let line = br#"{"v":3,"directories":[],"full":false}"#;
        assert!(matches!(Request::decode(line), Err(ProtocolError::Version(3))));
        let line = br#"{"v":2,"directories":[],"full":false,"more":1}"#;
        assert!(matches!(Request::decode(line), Err(ProtocolError::Json(_))));
    }

    #[test]
    fn lines_have_a_limit() {
        let mut reader: &[u8] = b"abc\nlonger\nx";
        assert_eq!(read_line(&mut reader, 3).unwrap().unwrap(), b"abc");
        assert!(matches!(read_line(&mut reader, 3), Err(ProtocolError::Line(3))));
        let mut reader: &[u8] = b"cut";
        assert!(matches!(read_line(&mut reader, 9), Err(ProtocolError::Line(9))));
        assert!(read_line(&mut &b""[..], 9).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = Request::decode(&line) {
                prop_assert!(request.directories.iter().all(|directory| is_below(directory)));
            }
            let _ = Answer::decode(&line);
        }

        #[test]
        fn a_damaged_line_is_understood_or_refused(at in 0usize..60, byte: u8) {
            let mut line = Request::new(vec!["server1/etc".into(), "a/b".into()], false).encode().unwrap();
            line.pop();
            let at = at % line.len();
            line[at] = byte;
            if let Ok(request) = Request::decode(&line) {
                prop_assert!(request.directories.iter().all(|directory| is_below(directory)));
            }
        }

        #[test]
        fn answers_come_back_as_they_were(index: usize, disk_bytes: u64, names: u64, found: bool) {
            let totals = found.then_some(Totals { disk_bytes, names, ..Totals::default() });
            let quota = found.then_some(Quota { referenced_bytes: names, exclusive_bytes: disk_bytes });
            let answer = Answer::Directory { index, totals, quota };
            let line = answer.encode();
            prop_assert!(line.len() <= ANSWER_BYTES);
            prop_assert_eq!(Answer::decode(&line[..line.len() - 1]).unwrap(), answer);
        }
    }
}
